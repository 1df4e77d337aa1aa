"""VOT's multi-start experiment, for stacks of the toolkit whose own one cannot run.

A stack names it `type: trackers.evaluation.vot.multistart.MultiStart`. It is the toolkit's experiment of the same name,
its results and analyses included, with another loop: that of vot-toolkit 0.9.0 stops at every sequence, for whatever
tracker ("ObjectQuery.state must be a Region"), and so does its realtime form. Imported by the toolkit's process only.
"""

from vot.dataset.proxy import FrameMapSequence
from vot.experiment import multistart
from vot.region import Special
from vot.tracker import Trajectory


class MultiStart(multistart.MultiStartExperiment):
    """From each anchor of a sequence to its end, or to its beginning (VOT2020, Sec. 2); `realtime` as in any stack."""

    def execute(self, tracker, sequence, force=False, callback=None):
        """Runs a tracker from every anchor of a sequence that has no result yet.

        Args:
          tracker: vot.tracker.Tracker. sequence: vot.dataset.Sequence.
          force: run from all anchors anew. callback: called with the share that is done, 0..1.

        Raises: RuntimeError for a sequence without anchors.
        """
        forward, backward = multistart.find_anchors(sequence, self.anchor)
        runs = [range(anchor, len(sequence)) for anchor in forward] + [range(anchor, -1, -1) for anchor in backward]
        if not runs:
            raise RuntimeError(f"sequence {sequence.name} has no anchors: its file {self.anchor}.value names none")
        results = self.results(tracker, sequence)
        with self._get_runtime(tracker, sequence) as runtime:
            for number, frames in enumerate(runs, 1):
                name = f"{sequence.name}_{frames[0]:08d}"
                if force or not Trajectory.exists(results, name):
                    self._run(runtime, FrameMapSequence(sequence, list(frames))).write(results, name)
                if callback:
                    callback(number / len(runs))

    def _run(self, runtime, piece):
        trajectory = Trajectory(len(piece))
        _, seconds = runtime.initialize(piece.frame(0), [self._get_initialization(piece, 0)])
        trajectory.set(0, Special(Trajectory.INITIALIZATION), {"time": seconds})
        for number in range(1, len(piece)):
            (found,), seconds = runtime.update(piece.frame(number))
            trajectory.set(number, found.region, {**found.properties, "time": seconds})
        return trajectory
