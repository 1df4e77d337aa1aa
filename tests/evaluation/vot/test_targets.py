"""The class that the toolkit runs, called as the toolkit calls it."""

import cv2
import numpy as np
import pytest

from tests import families
from trackers import errors
from trackers.evaluation.vot import targets
from trackers.tracking import single_object

BOXES = [(40.0, 30.0, 32.0, 24.0), (90.0, 60.0, 20.0, 30.0)]


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    root, rng, paths = tmp_path_factory.mktemp("frames"), np.random.default_rng(0), []
    for number in range(4):
        paths.append(str(root / f"{number}.png"))
        cv2.imwrite(paths[-1], rng.integers(0, 256, (120, 160, 3), np.uint8))
    return paths


def _alone(frames, box):
    """Boxes (T, 4) of one target by the library's own tracker."""
    model, variables = families.tiny("grm")
    tracker, boxes = single_object.Tracker(model, {"window": 0.5}), [box]
    images = [cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB) for path in frames]
    state = tracker.init(variables, images[0], box)
    for image in images[1:]:
        state, output = tracker.step(variables, state, image)
        boxes.append(np.asarray(output.box))
    return np.array(boxes)


def test_boxes_are_those_of_the_library_for_every_target(arguments, frames):
    tracked = targets.Targets(**arguments)
    assert tracked.multiobject
    for _ in range(2):  # a run begins anew with init
        found = [tracked.init(frames[0], [(BOXES[0], {})], {})]
        found += [tracked.update(frames[1], [(BOXES[1], {})])]
        found += [tracked.update({"color": frame, "depth": "none"}) for frame in frames[2:]]
        assert [len(regions) for regions in found] == [1, 2, 2, 2]
        first, second = ([regions[i][0] for regions in found if len(regions) > i] for i in range(2))
        np.testing.assert_array_equal(first, _alone(frames, BOXES[0]))
        np.testing.assert_array_equal(second, _alone(frames[1:], BOXES[1]))
        assert all(0 <= properties["confidence"] <= 1 for properties in (found[2][0][1], found[3][1][1]))
        assert type(found[3][0][0]) is tuple and type(found[3][0][0][0]) is float  # what the toolkit can decode


def test_corners_of_a_mask_stand_for_the_box_around_it(arguments, frames):
    corners = [(40.0, 30.0), (71.0, 30.0), (71.0, 53.0), (40.0, 53.0)]
    assert targets.Targets(**arguments).init(frames[0], [(corners, {})]) == [(BOXES[0], {})]


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ((5.0, 5.0), "needs `convert = rectangle`"),
        (np.ones((3, 3)), "needs `convert = rectangle`"),
        ((400.0, 5.0, 4.0, 4.0), "the region of a target is 400,5,4,4, wholly outside"),
    ],
)
def test_what_cannot_be_tracked(arguments, frames, region, message):
    with pytest.raises(errors.InputError, match=message):
        targets.Targets(**arguments).init(frames[0], [(region, {})])
