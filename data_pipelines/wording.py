"""Phrases for a referring tracker that is used, not trained: token ids, and how frequent training made each of them."""

import collections

import jax
import jax.numpy as jnp
from etils import epath

import trackers
from data_pipelines import phrase_annotations, sources, text
from trackers import errors, weights
from trackers.io import mot_files
from trackers.tracking import calibration


def tokens(config, texts):
    """Token ids of phrases for config.model.

    Args: config: the whole config. texts: list of str, as the network is trained on (phrase_annotations.convert).

    Returns: (P, length) int32.
    Raises: InputError for a phrase that is too long, or a vocabulary that is missing or larger than the model's.
    """
    tokenizer = text.open_tokenizer(config)
    size = config.model.transformer.vocabulary
    if tokenizer.size > size:
        raise errors.InputError(
            f"the vocabulary has {tokenizer.size} tokens, model.transformer.vocabulary is {size}: give the merges file"
            " that the model was trained with, --config.data.vocabulary"
        )
    return tokenizer(texts, length=config.model.transformer.length)


def open_benchmark(config, spec, split="test"):
    """(name, list-like of Video) of "refer_kitti:FOLDER", "refer_dance:FOLDER" or "synthetic_referring".

    Raises: UsageError for another name, InputError for what is wrong in the folder.
    """
    name, _, path = spec.partition(":")
    facts = sources.find(name).FACTS if name in sources.MODULES else sources.Facts()
    if facts.kind != "clips" or facts.procedural == bool(path):
        raise errors.UsageError(
            f"benchmark {spec!r}: for tracking with words it is refer_kitti:FOLDER, refer_dance:FOLDER or"
            " synthetic_referring"
        )
    if path:
        return name, sources.open_source(name, path, split)
    return name, sources.open_from(config, name, "validation" if split == "test" else split)


def frequencies(videos):
    """{phrase: share of all meant boxes that it means} of training videos; phrases as the network reads them."""
    counts = collections.Counter()
    for video in videos:
        for phrase in video.phrases:
            counts[phrase.text] += len(phrase.meant)
    total = sum(counts.values())
    return {text: count / max(1, total) for text, count in counts.items()}


def calibration_shift(config, path, videos, texts):
    """What similarity calibration adds to the scores of phrases (iKUN, Sec. 3.3): (P,) float64.

    Args:
      config: the whole config; its section `calibration`, and data.vocabulary.
      path: the weights of config.calibration.model, CLIP's ViT-B-32.pt for the published one.
      videos: training videos. texts: the phrases, as the network reads them.

    Raises: InputError for missing or wrong weights or vocabulary.
    """
    settings = config.calibration
    encoder = trackers.build(settings.model)
    variables = weights.load(path, settings.model)
    shares = frequencies(videos)
    tokenizer = text.open_tokenizer(config)
    ids = tokenizer([*texts, *shares], length=encoder.transformer.length)
    encode = jax.jit(lambda rows: encoder.apply(variables, rows).sentence)
    features = jnp.concatenate([encode(ids[k : k + 1]) for k in range(len(ids))])
    features = features / jnp.linalg.norm(features, axis=-1, keepdims=True)
    count = len(texts)
    frequency = calibration.pseudo_frequency(features[:count], features[count:], list(shares.values()), settings.tau)
    return calibration.calibrate(0.0, frequency, settings.a, settings.b)


def read_tracks(folder, name, first_frame=1, length=None):
    """The tracks of one video: FOLDER/NAME.txt, FOLDER/NAME/gt/gt.txt, or NeuralSORT's FOLDER/NAME/{car,pedestrian}/
    predict.txt as one.

    Args: first_frame: number of the first image there. length: how many images the video has, None: not known.

    Returns: mot_files.Tracks, frames counted from 1, rows with confidence 0 of a gt.txt left out.
    Raises: InputError naming the video that has no tracks, or the line of a frame that it has not.
    """
    folder = epath.Path(folder)
    given = first_frame, length
    whole, truth = folder / f"{name}.txt", folder / name / "gt" / "gt.txt"
    parts = [folder / name / kind / "predict.txt" for kind in ("car", "pedestrian")]
    if whole.exists():
        tracks = mot_files.read(whole, *given)
    elif truth.exists():
        tracks = mot_files.read(truth, *given)
        tracks = tracks.select(tracks.confidence != 0)
    elif any(part.exists() for part in parts):
        tracks = mot_files.merge([mot_files.read(part, *given) for part in parts if part.exists()])
    else:
        raise errors.InputError(f"no tracks of video {name}: expected {whole}, {truth} or {parts[0]} and {parts[1]}")
    return mot_files.renumber(tracks, 1 - first_frame)


def sentence(phrase):
    """A user's phrase as the network reads it: as those of the data sets, with synonyms made one word."""
    return phrase_annotations.convert("-".join(phrase.split()))
