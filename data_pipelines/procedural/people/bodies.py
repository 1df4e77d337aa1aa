"""Drawing the bodies of people: a list of strokes and shapes for each, painted with OpenCV.

A figure is built in heights of the person, x to the right, y up from the foot line, then moved into the picture.
"""

import dataclasses

import numpy as np

from data_pipelines.procedural.people.cast import COLORS, MOTIONS

# OpenCV draws in 16ths of a pixel.
_SHIFT = 4
_FAR = 0.78
_SHOE = (45, 40, 42)


@dataclasses.dataclass(frozen=True)
class Shape:
    """A polygon, or a line where `thick` is above 0, or a disc where there is one point. Lengths in pixels.

    points: (n, 2) x, y; color: RGB; thick: thickness of a line or radius of a disc.
    """

    points: np.ndarray
    color: tuple[int, int, int]
    thick: float = 0.0


def shapes_of(look, path, frame):
    """The shapes of one person in one frame, back to front. look: cast.Look. path: motion.Path. Returns [Shape]."""
    pose = _pose(MOTIONS[path.motion[frame]], path.phase[frame], int(path.direction[frame]))
    shapes = _body(look, pose)
    place = np.array([path.x[frame], path.foot[frame]])
    scale = np.array([path.tall, -path.tall])
    return [Shape(s.points * scale + place, s.color, s.thick * path.tall) for s in shapes]


def _pose(motion, phase, direction):
    """Angles from straight down, in radians, positive to the right: dict of hip, thighs, shins, arms, forearms, ..."""
    swing = np.sin(phase[0])
    if motion == "walking":
        legs, bend = 0.5 * swing, 0.5 * max(0.0, np.cos(phase[0]))
        return {
            "lift": 0.0, "side": direction, "thigh": (legs, -legs),
            "shin": (legs - direction * bend, -legs - direction * (0.5 - bend)),
            "arm": (-0.5 * swing, 0.5 * swing),
            "forearm": (-0.5 * swing + 0.3 * direction, 0.5 * swing + 0.3 * direction),
        }  # fmt: skip
    if motion == "dancing":
        wave, slow = np.sin(phase[1]), np.sin(phase[2])
        return {
            "lift": 0.02 * abs(wave), "side": 0, "sway": 0.05 * slow,
            "thigh": (-0.45 - 0.25 * wave, 0.45 - 0.25 * wave), "shin": (0.1 - 0.3 * wave, -0.1 - 0.3 * wave),
            "arm": (-1.6 - 0.5 * wave, 1.6 - 0.5 * wave), "forearm": (-2.6 + 0.7 * slow, 2.6 + 0.7 * slow),
        }  # fmt: skip
    if motion == "jumping":
        up = abs(np.sin(phase[0]))
        return {
            "lift": 0.22 * up, "side": 0, "thigh": (-0.25 - 0.4 * up, 0.25 + 0.4 * up),
            "shin": (0.3 + 0.5 * up, -0.3 - 0.5 * up), "arm": (-2.8, 2.8), "forearm": (-3.0, 3.0),
        }  # fmt: skip
    return {
        "lift": 0.0, "side": 0, "thigh": (-0.06, 0.06), "shin": (-0.03, 0.03),
        "arm": (-0.12 - 0.02 * swing, 0.12 + 0.02 * swing), "forearm": (-0.06, 0.06),
    }  # fmt: skip


def _limb(start, angle, length):
    return start + length * np.array([np.sin(angle), -np.cos(angle)])


def _body(look, pose):
    side = pose["side"]
    wide = 0.35 if side else 1.0
    hip = np.array([pose.get("sway", 0.0), 0.47 + pose["lift"]])
    chest = hip + np.array([0.02 * side - 0.6 * hip[0], 0.32])
    head = chest + np.array([0.015 * side, 0.12])
    shirt, below = COLORS[look.shirt], COLORS[look.garment_color]
    parts = [[], []]
    for limb, at in enumerate((-1, 1)):
        tone = _FAR if side and limb == 0 else 1.0
        parts[limb] += _leg(look, hip + [0.055 * wide * at, 0], pose, limb, tone, below)
    arms = [_arm(look, chest + [0.115 * wide * at, -0.02], pose, limb, shirt) for limb, at in enumerate((-1, 1))]
    torso = np.array([
        chest + [-0.13 * wide - 0.02, 0.03], chest + [0.13 * wide + 0.02, 0.03],
        hip + [0.095 * wide + 0.03, 0.0], hip + [-0.095 * wide - 0.03, 0.0],
    ])  # fmt: skip
    belt = [Shape(np.array([hip + [-0.07 * wide - 0.02, 0.01], hip + [0.07 * wide + 0.02, 0.01]]), below, 0.07)]
    if look.garment == "skirt":
        hem = 0.16 if side else 0.19
        belt = [Shape(np.array([
            hip + [-0.08 * wide - 0.03, 0.03], hip + [0.08 * wide + 0.03, 0.03], hip + [hem, -0.2], hip + [-hem, -0.2],
        ]), below)]  # fmt: skip
    front = [Shape(torso, shirt), *_head(look, head, side)]
    behind, before = (arms[:1], arms[1:]) if side else ([], arms)
    return [s for group in (*behind, *parts, belt, front, *before) for s in group]


def _leg(look, start, pose, limb, tone, below):
    knee = _limb(start, pose["thigh"][limb], 0.23)
    foot = _limb(knee, pose["shin"][limb], 0.23)
    toe = foot + [0.06 * (pose["side"] or (-0.4, 0.4)[limb]), -0.005]
    skin = _tone(look.skin, tone)
    cloth = _tone(below, tone)
    shapes = [Shape(np.array([knee, foot]), cloth if look.garment == "pants" else skin, 0.06)]
    shapes.append(Shape(np.array([start, knee]), skin if look.garment == "skirt" else cloth, 0.085))
    return [*shapes, Shape(np.array([foot, toe]), _SHOE, 0.05)]


def _arm(look, start, pose, limb, shirt):
    tone = _FAR if pose["side"] and limb == 0 else 1.0
    elbow = _limb(start, pose["arm"][limb], 0.15)
    hand = _limb(elbow, pose["forearm"][limb], 0.15)
    return [
        Shape(np.array([elbow, hand]), _tone(look.skin, tone), 0.042),
        Shape(np.array([start, elbow]), _tone(shirt, 0.9 * tone), 0.06),
    ]


def _head(look, head, side):
    shapes = [
        Shape(np.array([head - [0, 0.12], head]), look.skin, 0.05),
        Shape((head + [-0.012 * side, 0.012])[None], look.hair, 0.08),
        Shape((head + [0.02 * side, -0.015])[None], look.skin, 0.066),
    ]
    if side:
        shapes.append(Shape(np.array([head + [0.07 * side, -0.01], head + [0.095 * side, -0.02]]), look.skin, 0.025))
    if look.hat:
        color = COLORS[look.hat]
        brim = 0.12 if side else 0.11
        left, right = (-0.08, brim) if side >= 0 else (-brim, 0.08)
        shapes.append(Shape(np.array([head + [left, 0.04], head + [right, 0.04]]), color, 0.03))
        crown = np.array([[-0.075, 0.04], [0.075, 0.04], [0.06, 0.115], [-0.06, 0.115]])
        shapes.append(Shape(head + crown, color))
    return shapes


def _tone(color, factor):
    return tuple(int(channel * factor) for channel in color)


def extent(shapes):
    """(4,) x, y, w, h in pixels: the smallest box around the shapes, inside the picture or not."""
    reach = [(s.points, s.thick if len(s.points) == 1 else s.thick / 2) for s in shapes]
    low = np.min([points.min(axis=0) - r for points, r in reach], axis=0)
    high = np.max([points.max(axis=0) + r for points, r in reach], axis=0)
    return np.concatenate([low, high - low])


def paint(image, shapes, color=None):
    """Draws shapes into an image in place.

    Args:
      image: (H, W, 3) uint8, painted with smooth borders; or (H, W) uint8, painted with hard ones.
      shapes: list of Shape, back to front.
      color: number painted instead of the shapes' colors.
    """
    import cv2

    border = cv2.LINE_AA if image.ndim == 3 else cv2.LINE_8
    for shape in shapes:
        value = shape.color if color is None else color
        points = np.round(shape.points * (1 << _SHIFT)).astype(np.int32)
        if len(points) == 1:
            radius = int(shape.thick * (1 << _SHIFT))
            cv2.circle(image, points[0].tolist(), radius, value, cv2.FILLED, border, _SHIFT)
        elif shape.thick:
            ends = points[0].tolist(), points[1].tolist()
            cv2.line(image, *ends, value, max(1, round(shape.thick)), border, _SHIFT)
        else:
            cv2.fillPoly(image, [points], value, border, _SHIFT)
