"""The progress bar of every program: it moves on a terminal, and leaves a line now and then in a log."""

import sys

_SECONDS_ON_TERMINAL, _SECONDS_IN_LOG = 0.2, 10.0


def bar(iterable=None, *, total=None, unit="frame", **settings):
    """A tqdm bar on standard error, drawn anew five times a second on a terminal and every ten seconds elsewhere.

    Use it as an iterator over `iterable`, or without one as a context manager whose `update(n)` counts. It ends whole:
    where `iterable` has an end before `total`, or its user says by `end()` that no more is needed, that is the total.

    Args:
      iterable: what is iterated over. total: its length, where len(iterable) does not say; None where it is not known.
      unit: what is counted. settings: of tqdm (desc, smoothing, initial, disable, ...).

    Raises: ImportError where tqdm is not installed.
    """
    from tqdm import tqdm

    class Bar(tqdm):
        def __iter__(self):
            for item in self.iterable:
                yield item
                self.update()
            self.end()

        def end(self):
            self.total = self.n
            self.close()

    seconds = _SECONDS_ON_TERMINAL if sys.stderr.isatty() else _SECONDS_IN_LOG
    return Bar(iterable, total=total, unit=unit, mininterval=seconds, dynamic_ncols=True, **settings)
