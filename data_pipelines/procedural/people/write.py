"""The synthetic referring set as files, in Refer-Dance's layout."""

import contextlib
import json
from pathlib import Path

from data_pipelines import phrase_annotations
from data_pipelines.procedural.people import cast, scene
from trackers import progress
from trackers.io import mot_files, outputs, ownership

_PARTS = {"train": "train", "test": "val"}
_FRAME_RATE = 20
_JPEG_QUALITY = 92


def write_set(out, config, seed):
    """Writes both splits; `refer_dance` reads them back.

    OUT/{train,val}/VIDEO/{img1/00000001.jpg, gt/gt.txt, seqinfo.ini}, OUT/expression/VIDEO/PHRASE.json, OUT/seqmap.txt
    and OUT/gt_template/VIDEO/PHRASE/gt.txt of the test videos, OUT/merges.txt for the tokenizer.

    Args: out: folder, new or empty. config: ReferringSetConfig. seed: int >= 0.
    Raises: InputError where the folder has something in it, or another program owns it.
    """
    out = Path(out)
    lines = []
    videos = config.train_videos + config.test_videos
    with contextlib.ExitStack() as stack:
        stack.enter_context(ownership.hold_new(out))
        stack.enter_context(outputs.unfinished(out))
        bar = stack.enter_context(progress.bar(total=videos, unit="video", desc="referring", disable=None))
        for split, part in _PARTS.items():
            for video in scene.open_split(config, seed, split):
                _write_video(out / part / video.name, video)
                _write_phrases(out / "expression" / video.name, video)
                if split == "test":
                    lines += [f"{video.name}+{phrase.name}" for phrase in video.phrases]
                    _write_truth(out / "gt_template" / video.name, video)
                bar.update()
        outputs.write_text(out / "seqmap.txt", "\n".join(lines) + "\n")
        outputs.write_text(out / "merges.txt", cast.VOCABULARY.read_text())


def _write_video(folder, video):
    import cv2

    (folder / "img1").mkdir(parents=True)
    for number, frame in enumerate(video.frames, 1):
        image = video.load(frame)
        path = folder / "img1" / f"{number:08d}.jpg"
        encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
        outputs.write_bytes(path, encoded.tobytes())
    height, width = image.shape[:2]
    outputs.write_text(
        folder / "seqinfo.ini",
        f"[Sequence]\nname={video.name}\nimDir=img1\nframeRate={_FRAME_RATE}\nseqLength={len(video)}\n"
        f"imWidth={width}\nimHeight={height}\nimExt=.jpg\n",
    )
    mot_files.write_truth(folder / "gt" / "gt.txt", video.tracks)


def _write_phrases(folder, video):
    folder.mkdir(parents=True)
    for phrase in video.phrases:
        label = {}
        for frame, track in phrase.meant.tolist():
            label.setdefault(str(frame), []).append(track)
        content = {"label": label, "ignore": [], "video_name": video.name, "sentence": phrase.sentence}
        outputs.write_text(folder / f"{phrase.name}.json", json.dumps(content) + "\n")


def _write_truth(folder, video):
    for phrase in video.phrases:
        mot_files.write_truth(folder / phrase.name / "gt.txt", phrase_annotations.ground_truth(video, phrase))
