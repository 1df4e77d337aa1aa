import numpy as np
import pytest

from data_pipelines import contexts, crops
from tests.data_pipelines import layouts
from trackers.errors import InputError

WIDTH, HEIGHT = 400, 300


def ramp():
    """An image whose grey levels are its coordinates, to the halves of pixels: x / 2, y / 2, (x + y) / 4."""
    x, y = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    return np.rint(np.stack([x / 2, y / 2, (x + y) / 4], -1)).astype(np.uint8)


def packed(image, box, context, largest=512):
    place = contexts.place_around(np.array(box, float), context, (image.shape[1], image.shape[0]), largest)
    return contexts.Context(contexts.pack(image, place), place)


@pytest.mark.parametrize("aspect", [0.0, 0.9])
@pytest.mark.parametrize("box", [(180, 140, 30, 20), (3, 5, 30, 40), (370, 280, 40, 40)])
def test_unscaled_a_crop_is_that_of_the_image_also_at_its_border(box, aspect):
    # Smooth: where a window leaves the image the two blend with black in another order.
    context = packed(ramp(), box, 8)
    assert context.place.packed_size == context.place.region[2:] and context.shape == ramp().shape
    whole, whole_factor, whole_padding = crops.sample_target(ramp(), box, 4.0, 64, aspect)
    part, factor, padding = crops.sample_target(context, box, 4.0, 64, aspect)
    np.testing.assert_array_equal(factor, whole_factor)
    np.testing.assert_array_equal(padding, whole_padding)
    assert np.abs(part.astype(int) - whole).max() <= 2


@pytest.mark.parametrize("largest", [40, 97])
def test_scaled_down_a_crop_shows_the_same_points_of_the_image(largest):
    box = [170, 120, 37, 25]
    context = packed(ramp(), box, 6, largest)
    assert max(context.place.packed_size) == largest < max(context.place.region[2:])
    crop = context.cut(130, 90, (100, 80), 64)
    points = (np.arange(64) + 0.5) / 64
    # Half a grey level of rounding in the picture, as much in the crop, each level being 2 pixels.
    np.testing.assert_allclose(crop[..., 0], np.broadcast_to((130 + 100 * points) / 2, (64, 64)), atol=1.01)
    np.testing.assert_allclose(crop[..., 1], np.broadcast_to((90 + 80 * points)[:, None] / 2, (64, 64)), atol=1.01)
    # No shift on the whole.
    assert abs(np.mean(crop[..., 0].astype(float)) - (130 + 50) / 2) < 0.1


def test_beyond_the_part_its_edge_is_repeated_and_only_outside_the_image_is_black():
    image = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    context = packed(image, (100, 100, 20, 20), 2)
    crop, _, padding = crops.sample_target(context, (5, 100, 20, 20), 10.0, 100)
    assert padding.any() and not padding.all()
    assert (crop[~padding] == 200).all()
    assert (crop[:, 0] == 0).all()


def test_mirrored_as_the_image_is():
    image = ramp()
    part = packed(image, (100, 100, 30, 30), 5).mirrored()
    mirrored = [WIDTH - 130, 100, 30, 30]
    whole = crops.sample_target(image[:, ::-1], mirrored, 3.0, 48)[0]
    assert np.abs(crops.sample_target(part, mirrored, 3.0, 48)[0].astype(int) - whole).max() <= 1


@pytest.mark.parametrize("box", [(100, 100, 20, 20), (-500, 50, 9, 9), (900, 900, 5, 5), (0, 0, 4000, 3000)])
def test_a_place_is_inside_its_image_on_the_grid_of_jpeg_blocks(box):
    place = contexts.place_around(np.array(box, float), 9, (WIDTH, HEIGHT), 512)
    x, y, w, h = place.region
    assert x % 16 == y % 16 == 0 and min(w, h) >= 1 and x + w <= WIDTH and y + h <= HEIGHT
    if box[0] == 100:
        assert x <= 110 - 90 and x + w >= 110 + 90 and w <= 180 + 16


def test_a_picture_of_another_size_than_stated_is_named(tmp_path):
    layouts.write_image(tmp_path / "1.jpg")

    class Path(type(tmp_path)):
        place = contexts.Place((0, 0, 8, 8), (64, 48), 512)

    with pytest.raises(InputError, match=r"1.jpg is 64 x 48, its annotations say 8 x 8: write"):
        contexts.read(Path(tmp_path / "1.jpg"))
