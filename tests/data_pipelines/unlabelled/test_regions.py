import numpy as np
import pytest

from data_pipelines import sampling
from data_pipelines.unlabelled import UnlabelledConfig, regions
from tests.data_pipelines.unlabelled import pictures
from trackers.errors import UsageError


def test_regions_lie_inside_and_have_the_sizes_asked_for():
    image = pictures.texture(240, 320, 0)
    settings = UnlabelledConfig(candidates=1, smallest=0.1, largest=0.4, aspect=0.3)
    boxes = np.array([regions.choose(image, settings, sampling.generator(0, 0, row)) for row in range(200)])
    assert (boxes[:, :2] >= 0).all() and (boxes[:, :2] + boxes[:, 2:] <= [320, 240]).all()
    sizes = np.sqrt(boxes[:, 2] * boxes[:, 3]) / np.sqrt(240 * 320)
    assert sizes.min() > 0.09 and sizes.max() < 0.41
    # Log-uniform: half of them below the geometric mean of the ends.
    assert 0.4 < (sizes < 0.2).mean() < 0.6
    aspects = np.log(boxes[:, 2] / boxes[:, 3])
    assert abs(aspects.mean()) < 0.1 and 0.25 < aspects.std() < 0.35


def test_the_object_is_found_on_a_plain_wall():
    image = np.full((200, 300, 3), 100, np.uint8)
    image[80:120, 180:220] = pictures.texture(40, 40, 0, 1.0)
    settings = UnlabelledConfig(candidates=200, smallest=0.1, largest=0.3)
    for row in range(5):
        x, y, w, h = regions.choose(image, settings, sampling.generator(0, 0, row))
        inside = max(0, min(x + w, 220) - max(x, 180)) * max(0, min(y + h, 120) - max(y, 80))
        assert inside / (w * h + 1600 - inside) > 0.3
    one = UnlabelledConfig(candidates=1, smallest=0.1, largest=0.3)
    assert any(regions.choose(image, one, sampling.generator(0, 0, row)) is None for row in range(20))


def test_a_blank_picture_has_none_and_takes_as_many_numbers():
    generators = [sampling.generator(0, 0, 0) for _ in range(2)]
    assert regions.choose(np.zeros((64, 64, 3), np.uint8), UnlabelledConfig(), generators[0]) is None
    assert regions.choose(pictures.texture(40, 90, 0), UnlabelledConfig(), generators[1]) is not None
    assert generators[0].random() == generators[1].random()


@pytest.mark.parametrize("wrong", [{"gap": 0}, {"gap": 20}, {"change": -1}, {"smallest": 0.5, "largest": 0.2}])
def test_wrong_settings_are_named(wrong):
    with pytest.raises(UsageError, match=f"config.data.unlabelled.{next(iter(wrong))} "):
        UnlabelledConfig(**wrong)


def test_unknown_settings_are_named():
    with pytest.raises(UsageError, match=r"unlabelled\.gaps: no such field; there are aspect, candidates"):
        UnlabelledConfig.from_section({"gaps": 3})
