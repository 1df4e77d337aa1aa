"""VOT and VOTS through their official toolkit (vot-toolkit, GPL-3, requirements/vot.txt), and VOT's scores without it.

workspace.py and `python -m trackers.evaluation.vot init` write what the toolkit needs to run a tracker of this library;
targets.py is the class that it then runs; multistart.py runs where the toolkit's own experiment does not. These two
are imported by the toolkit's process. overlaps.py, multistart_scores.py and `python -m trackers.evaluation.vot score`
know the files alone: they need no toolkit, and nothing of it is in them.
"""
