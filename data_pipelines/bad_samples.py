"""Training samples whose images are missing or damaged: others take their place, up to a share of each data set.

The replacement of a sample is the sample of the next attempt, drawn from random numbers of its own (sampling.generator)
and so a pure function of (seed, split, step, row, attempt): the same on any number of hosts that read the same files,
and in a run that was resumed. What was counted starts anew with every stream of batches.
"""

import collections
import sys
import threading

from data_pipelines import sampling
from trackers import errors
from trackers.io.numbers import counted

# Largest share where the config does not have max_bad_fraction.
MAX_BAD_FRACTION = 0.05
# Samples that the share is taken of at least, so that the first few bad ones of a run don't end it.
MIN_SAMPLES = 1000
# Attempts at one sample. Only where nearly every image is bad and that is allowed are so many needed.
_MAX_ATTEMPTS = 100


class BadSample(errors.InputError):
    """An image of a sample is missing or damaged; the message names it."""


class MissingFrames(BadSample):
    """A video has fewer frames than boxes.

    sequence: the Sequence whose frames include the missing ones, by name; None where they cannot be told.
    """

    def __init__(self, message, sequence=None):
        super().__init__(message)
        self.sequence = sequence


def read(load, image):
    """load(image), pixels of an image or its path. Raises: BadSample where they cannot be read."""
    try:
        return load(image)
    except errors.InputError as error:
        raise BadSample(str(error)) from None


def tolerant(source):
    """The Source for training, in whose sequences single frames may be missing: reading those raises BadSample."""

    def load(index):
        try:
            return source[index]
        except MissingFrames as error:
            if error.sequence is None:
                raise
            return error.sequence

    return source.loading(load)


class Replacing:
    """Samples by (step, row), bad ones replaced. Called by several threads.

    Args:
      draw: function of (step, row, attempt) -> sample, the first random number of whose generator picks the data set;
        raises BadSample.
      names, weights: the data sets' names and shares, in the order that it picks from.
      config: whole config; data.max_bad_fraction is the largest share of a data set's samples that may be bad, of
        MIN_SAMPLES at least.
      seed, split: of the stream.

    Raises: UsageError for a share that is none.
    """

    # Samples are drawn by several streams one after another: what one has told is not told again.
    _told = set()

    def __init__(self, draw, names, weights, config, seed, split):
        self._draw, self._names, self._weights, self._seed, self._split = draw, list(names), weights, seed, split
        self._largest = config.data.get("max_bad_fraction", MAX_BAD_FRACTION)
        if isinstance(self._largest, bool) or not 0 <= self._largest <= 1:
            raise errors.UsageError(f"config.data.max_bad_fraction {self._largest}: give a share from 0 to 1")
        self._drawn, self._bad, self._lock = collections.Counter(), collections.Counter(), threading.Lock()

    def __call__(self, step, row):
        for attempt in range(_MAX_ATTEMPTS):
            name = self._name(step, row, attempt)
            try:
                sample = self._draw(step, row, attempt)
            except BadSample as error:
                self._count(name, error)
                last = error
            else:
                self._count(name)
                return sample
        raise errors.InputError(f"{_MAX_ATTEMPTS} samples in a row had bad images, the last: {last}")

    def _name(self, step, row, attempt):
        """The data set that a sample is of."""
        if len(self._names) == 1:
            return self._names[0]
        number = sampling.generator(self._seed, step, row, self._split, attempt).random()
        return self._names[sampling.pick(self._weights, number)]

    def _count(self, name, error=None):
        with self._lock:
            self._drawn[name] += 1
            if error is None:
                return
            self._bad[name] += 1
            bad, drawn, message = self._bad[name], self._drawn[name], str(error)
            new = message not in self._told
            self._told.add(message)
        if bad > self._largest * max(drawn, MIN_SAMPLES):
            raise errors.InputError(
                f"{name}: {bad} of {self._samples(name)} had bad images, more than"
                f" config.data.max_bad_fraction={self._largest} of {MIN_SAMPLES} or more samples; the last: {message};"
                " see them all with python -m data_pipelines check --decode all"
            )
        if new:
            _say(f"{name}: {message}; other samples take its place ({bad} of {self._samples(name)} so far)")

    def _samples(self, name):
        """How many there were of a data set, in words."""
        return counted(self._drawn[name], f"{self._split} sample")

    def summary(self):
        """Says on standard error how many samples of each data set were replaced, where any were."""
        for name, bad in self._bad.items():
            _say(f"{name}: {bad} of {self._samples(name)} were replaced, their images being bad")


def _say(line):
    # In one piece, as several threads write.
    sys.stderr.write(" ".join(line.split()) + "\n")
    sys.stderr.flush()
