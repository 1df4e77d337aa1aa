"""Command lines that are wrong, over all programs: each ends with its exit code and one line that names what is wrong.

A line is: exit code, what the message names, and after the colon the command line, in which P is a folder of inputs.
What a program would make there (MADE) is each line's own: several run at once, and a folder belongs to one of them.
"""

import re
import shlex

import numpy as np
import pytest

from tests import forked, programs
from tests.data_pipelines import layouts

SHORT = {
    "GRM": "--config=configs/grm.py:tiny",
    "IKUN": "--config=configs/ikun.py:tiny",
    "KALMAN": "--config=configs/neural_kalman.py:tiny",
    "TRAIN": "train.py --config=configs/grm.py:tiny --workdir=P/run",
    "EVAL": "eval.py --benchmark=frames:P/frames --out=P/out",
    "TRACK": "track.py --images=P/frames/first --out=P/out",
    "REFER": "refer.py --config=configs/ikun.py:tiny --images=P/frames/first --tracks=P/tracks.txt --out=P/out",
    "PLAN": "plan.py --config=configs/grm.py:tiny",
    "LONG": "x" * 300,
    "UMLAUTS": "ä" * 140,
}

MADE = re.compile(r"\bP/(out|run|shards|tfds|words|converted)\b")

LINES = """
2 command '': trackers.evaluation.vot
2 --workspace: trackers.evaluation.vot init
2 ikun chooses: trackers.evaluation.vot init IKUN --workspace=P/out
2 --low 9 and --high 4: trackers.evaluation.vot init --workspace=P/out --low=9 --high=4
2 --name 'a b': trackers.evaluation.vot init --workspace=P/out '--name=a b'
1 P/absent: trackers.evaluation.vot init --workspace=P/out --checkpoint=P/absent
2 --results: trackers.evaluation.vot score
2 --sequences is of --benchmark: trackers.evaluation.vot init --workspace=P/out --sequences=first
1 P/absent: trackers.evaluation.vot score --results=P/absent
2 --workspace has no use with score: trackers.evaluation.vot score --workspace=P/out
2 --low is of a stack with EAO: trackers.evaluation.vot init --workspace=P/out --stack=vots2024/main --low=9
2 --settings vto20: trackers.evaluation.vot init --workspace=P/out --settings=vto20
1 /sequences/list.txt is missing: trackers.evaluation.vot score --results=/
1 list.txt is missing: trackers.evaluation.vot score --results=P/frames/first --sequences_folder=P/frames
2 --repeat: EVAL --repeat=0
2 --config: train.py
2 --workdir: train.py GRM
2 --workdir=: train.py GRM --workdir=
2 configs/absent.py: train.py --config=configs/absent.py:tiny --workdir=P/run
2 huge: train.py --config=configs/grm.py:huge --workdir=P/run
2 --config: train.py --config.train.batch_size=8 --workdir=P/run
2 Path to config file is an empty string: train.py --config= --workdir=P/run
2 P/frames: train.py --config=P/frames --workdir=P/run
2 page.pth: train.py --config=P/page.pth --workdir=P/run
2 --config.model.nope: TRAIN --config.model.nope=1
2 --config.nope: TRAIN --config.nope=1
2 --config.data=1: TRAIN --config.data=1
2 --config.train.batch_size=1_0: TRAIN --config.train.batch_size=1_0
2 --config.train.batch_size=８: TRAIN --config.train.batch_size=８
2 --config.train.batch_size=2.5: TRAIN --config.train.batch_size=2.5
2 --config.train.batch_size=0: TRAIN --config.train.batch_size=0
2 --config.seed=-1: TRAIN --config.seed=-1
2 --config.train.learning_rate=nan: TRAIN --config.train.learning_rate=nan
2 --config.train.learning_rate=1_0e-3: TRAIN --config.train.learning_rate=1_0e-3
2 --config.model.division.layers=(1_0,): TRAIN '--config.model.division.layers=(1_0,)'
2 --max_steps=0x10: TRAIN --max_steps=0x10
2 --max_steps=０５: TRAIN --max_steps ０５
2 --max_steps=nan: TRAIN --max_steps=nan
2 --allow_config_change=maybe: TRAIN --allow_config_change=maybe
2 unknown: TRAIN --unknown=1
2 unknown: TRAIN --config.model.width=32 --unknown=1
2 'extra': TRAIN extra
2 P/absent: TRAIN --flagfile=P/absent
2 P/frames: TRAIN --flagfile=P/frames
2 config.profile: TRAIN --config.profile=x
2 config.train.frozen: TRAIN '--config.train.frozen=("((",)'
1 model.depth: TRAIN --config.model.depth=0
1 model.heads: TRAIN --config.model.heads=5
1 model.name: TRAIN --config.model.name=nope
1 P/file: train.py GRM --workdir=P/file
1 P/file/below: train.py GRM --workdir=P/file/below
1 /proc/nothing: train.py GRM --workdir=/proc/nothing
1 File name too long: train.py GRM --workdir=P/UMLAUTS
2 --benchmark: eval.py --out=P/out
2 nope:P/frames: eval.py --benchmark=nope:P/frames --out=P/out
2 'frames': eval.py --benchmark=frames --out=P/out
2 --out=: eval.py --benchmark=frames:P/frames --out=
1 P/absent: eval.py --benchmark=frames:P/absent --out=P/out
1 P/empty: eval.py --benchmark=frames:P/empty --out=P/out
1 P/file: eval.py --benchmark=frames:P/file --out=P/out
1 P/file: eval.py --benchmark=frames:P/frames --out=P/file
1 P/badboxes/first/groundtruth.txt:1: eval.py --benchmark=frames:P/badboxes --out=P/out
1 P/badframes/first: eval.py --benchmark=frames:P/badframes --out=P/out
2 ~ was not expanded: eval.py --benchmark=frames:P/frames --out=~/results
2 ~ was not expanded: eval.py --benchmark=frames:~/frames --out=P/out
2 $HOME was not expanded: TRAIN '--config.data.frames=$HOME/frames'
2 is empty: eval.py --benchmark=frames:P/frames '--out= '
2 https:// is not opened: EVAL --checkpoint=https://example.org/grm.pth
2 https:// is not opened: TRAIN --config.data.frames=https://example.org/frames
2 file:// is not opened: eval.py --benchmark=frames:file:///frames --out=P/out
2 https:// is not opened: trackers.evaluation.compare https://example.org/results --out=P/out
2 get_config of the file: EVAL --config=P/plain.py
2 --batch=1_0: EVAL --batch=1_0
2 --batch=２: EVAL --batch=２
2 --frames_per_dispatch: EVAL --frames_per_dispatch=2
2 --frames_per_dispatch: EVAL --batch=2 --frames_per_dispatch=0
2 --starts=inf: EVAL --starts=inf
2 --length: EVAL --length=20
2 'nope': EVAL --sequences=nope
2 --sequences=first,: EVAL --sequences=first,
2 --baselines=,static: EVAL --baselines=,static
2 'nope': EVAL --baselines=static,nope
2 nano was given 1 file: EVAL --baselines=static,nano:P/absent
1 P/absent: EVAL --baselines=static,nano:P/absent,P/absent,kcf
1 P/page.pth is damaged: EVAL --baselines=vit:P/page.pth
2 --draw: EVAL --draw --starts=1
2 --checkpoint: EVAL --workdir=P/empty --checkpoint=P/page.pth
2 --checkpoint=: EVAL --checkpoint=
1 P/absent: EVAL --checkpoint=P/absent
1 P/page.pth: EVAL --checkpoint=P/page.pth
1 tracking.search_factor: EVAL --config.tracking.search_factor=0
2 --tracks: EVAL --tracks=truth
2 --batch is of tracking one object: EVAL IKUN --tracks=truth --batch=2
2 --starts is of tracking one object: EVAL IKUN --tracks=truth --starts=2
2 --box: TRACK
2 --box: TRACK --box=@
2 --trail is drawn: TRACK --box=1,1,20,20 --trail=5 --no-draw
2 --layer is drawn: TRACK --box=1,1,20,20 --layer=4 --no-draw
2 --box '1_0,1,20,20': TRACK --box=1_0,1,20,20
2 --box '１,１,５,５': TRACK --box=１,１,５,５
2 --box 'nan,1,20,20': TRACK --box=nan,1,20,20
1 -1e+308: TRACK --box=-1e308,0,1.7e308,5
2 --video: TRACK --box=1,1,20,20 --video=P/text.mp4
2 --layer 99: TRACK --box=1,1,20,20 --layer=99
2 --attention: TRACK --box=1,1,20,20 --attention=1_0
2 --phrases: TRACK --box=1,1,20,20 --phrases=man
2 --box is of tracking one object: TRACK IKUN --box=1,1,20,20 --tracks=P/tracks.txt --phrases=man
1 P/text.mp4: track.py --video=P/text.mp4 --box=1,1,20,20 --out=P/out
1 P/empty: track.py --images=P/empty --box=1,1,20,20 --out=P/out
1 boxes.csv: track.py --images=P/frames/first --box=1,1,20,20 --out=P/taken
2 stand alone: TRACK --box=1,1,20,20 --box=mouse
2 --layer is drawn of one target: TRACK --box=1,1,20,20 --box=2,2,20,20 --layer=4
2 --every=0: TRACK --box=1,1,20,20 --every=0
2 --camera: TRACK --box=1,1,20,20 --camera=0
2 --jsonl is of tracking one object: TRACK IKUN --jsonl --tracks=P/tracks.txt --phrases=man
1 P/absent: TRACK --box=@P/absent
1 P/page.pth: TRACK --box=@P/page.pth
2 --start_frame 2: TRACK --box=@P/late.csv --start_frame=2
2 --every 3: TRACK --box=@P/late.csv --every=3
1 P/past.csv, line 2: TRACK --box=@P/past.csv
1 frame '2.5' is not a whole number: TRACK --box=@P/half.csv
1 P/same.csv, line 2: TRACK --box=@P/same.csv
1 P/again.csv, line 3: TRACK --box=@P/again.csv
1 P/aside.csv, line 2: TRACK --box=@P/aside.csv
1 --start_frame 900: TRACK --box=1,1,20,20 --start_frame=900
1 tracking.found_above: TRACK --box=1,1,20,20 --lost_below=0.9 --found_above=0.5
1 camera 99: track.py --camera=99 --box=1,1,20,20 --out=P/out
2 stream 'nonsense': track.py --stream=nonsense --box=1,1,20,20 --out=P/out
1 P/absent: experiments.lost_and_found --sequences=P/absent
2 --found_above=1_0: experiments.lost_and_found --found_above=1_0
1 tracking.found_above: experiments.lost_and_found --lost_below=0.9 --found_above=0.5
1 P/absent: experiments.reliability --sequences=P/absent
1 P/file: experiments.reliability --out=P/file/below.png
2 --phrases: REFER
2 --phrases: REFER '--phrases=; ;'
1 P/absent: REFER --phrases=@P/absent
1 a-man: REFER '--phrases=a man;a  man'
2 --first_frame=-1: REFER --phrases=man --first_frame=-1
2 --first_frame=1_0: REFER --phrases=man --first_frame=1_0
2 --sequences: REFER --phrases=man --sequences=first
2 --calibration_data: REFER --phrases=man --calibration=P/page.pth
2 --benchmark: REFER --phrases=man --benchmark=synthetic_referring
1 P/page.pth: refer.py IKUN --images=P/frames/first --tracks=P/page.pth --phrases=man --out=P/out
2 --phrases has no use with model neural_kalman: refer.py KALMAN --tracks=P/tracks.txt --phrases=man --out=P/out
2 --topology: PLAN
2 'cpu:0': PLAN --topology=cpu:0
2 cpu:99999999: PLAN --topology=cpu:99999999
2 --per_chip_batch: PLAN --topology=cpu:1 --per_chip_batch=4
2 --find_batch: PLAN --sweep=cpu:1 --find_batch --out=P/out
2 'v9:3x3': PLAN --topology=v9:3x3
2 'cpu:1_0': PLAN --topology=cpu:1_0
2 'cpu:２': PLAN --topology=cpu:２
2 --mesh 'data=1,,': PLAN --topology=cpu:1 --mesh=data=1,,
2 --mesh 'data=1_0': PLAN --topology=cpu:1 --mesh=data=1_0
2 --global_batch=1_0: PLAN --topology=cpu:1 --global_batch=1_0
2 --out: PLAN --sweep=cpu:1
1 P/file: PLAN --sweep=cpu:1 --out=P/file
1 sweep.json: PLAN --sweep=cpu:1 --out=P/sweep
2 command 'nope': data_pipelines nope
2 --source: data_pipelines check GRM --source=frames:P/frames
2 --source=nope: data_pipelines check --source=nope:P
2 --pairs has no use with check: data_pipelines check --source=frames:P/frames --pairs=2
1 P/frames: data_pipelines sheet GRM --out=P/frames
2 --pairs=1_0: data_pipelines sheet GRM --out=P/sheet.png --pairs=1_0
2 --split=test: data_pipelines sheet GRM --out=P/sheet.png --split=test
1 P/file: data_pipelines synthetic --out=P/file/below
2 --length=1e3: data_pipelines synthetic --out=P/out --length=1e3
1 P/empty: data_pipelines phrases --source=refer_kitti:P/empty --out=P/phrases.png
1 P/absent: data_pipelines shards --source=frames:P/absent --out=P/shards
1 P/badframes/first: data_pipelines shards --source=frames:P/badframes --out=P/shards
1 P/absent: data_pipelines tfds --source=frames:P/absent --out=P/tfds
2 videos:P: data_pipelines tfds --source=videos:P --out=P/tfds
2 --out: data_pipelines tfds --source=frames:P/frames
2 --record_mib=0: data_pipelines tfds --source=frames:P/frames --out=P/tfds --record_mib=0
2 --file_format has no use with shards: data_pipelines shards --source=frames:P/frames --file_format=both
1 P/frames: data_pipelines referring --out=P/frames
2 --length=６: data_pipelines referring --out=P/words --length=６
2 --checkpoint: trackers.convert GRM --out=P/converted
1 P/page.pth: trackers.convert GRM --checkpoint=P/page.pth --out=P/converted
1 P/other.npz: trackers.convert GRM --checkpoint=P/other.npz --out=P/converted
1 P/empty: trackers.convert GRM --checkpoint=P/empty --out=P/converted
1 P/frames: trackers.convert GRM --checkpoint=P/page.pth --out=P/frames
2 --results=: trackers.evaluation --results=
1 P/empty: trackers.evaluation --results=P/empty
1 P/page.pth: trackers.evaluation --results=P/results --seqmap=P/page.pth
1 P/file: trackers.evaluation --results=P/results --seqmap=P/file
1 P/file: trackers.evaluation.mot --ground_truth=P/results --results=P/results --seqmap=P/file
2 --first_frame=-1: trackers.evaluation --results=P/results --first_frame=-1
2 --first_frame=1_0: trackers.evaluation --results=P/results --first_frame=1_0
2 --out: trackers track
2 --to: trackers.export
2 --formats=nope: trackers.export --formats=nope --to=P/out
2 --platforms=abacus: trackers.export --platforms=abacus --to=P/out
1 P/frames is not empty: trackers.export --to=P/frames
1 P/file: trackers.export --to=P/file
1 P/absent: trackers.export --checkpoint=P/absent --to=P/out
1 neural_kalman: trackers.export KALMAN --to=P/out
2 --sequence has no use with iKUN: trackers.export IKUN --sequence=P/frames/first --to=P/out
1 P/absent: trackers.export --sequence=P/absent --to=P/out
2 --frames: trackers.export --frames=1 --to=P/out
2 --results: trackers.evaluation.rules --benchmark=frames:P/frames
2 nope:P: trackers.evaluation.rules --results=P/empty --benchmark=nope:P
1 P/absent: trackers.evaluation.rules --results=P/absent --benchmark=frames:P/frames
1 P/empty/first.txt: trackers.evaluation.rules --results=P/empty --benchmark=frames:P/frames
1 P/file: trackers.evaluation.rules --results=P/empty --benchmark=frames:P/frames --out=P/file
2 give one file: trackers.evaluation.submission
2 P/empty: trackers.evaluation.submission P/empty
1 P/absent: trackers.evaluation.submission P/absent
1 P/page.pth: trackers.evaluation.submission P/page.pth
2 --kind=nope: trackers.evaluation.submission P/empty --kind=nope
2 --benchmark=otb:P/frames: trackers.evaluation.submission P/empty --benchmark=otb:P/frames
2 --kind: trackers.evaluation.servers --results=P/empty --out=P/out
1 P/empty: trackers.evaluation.servers --kind=mot --results=P/empty --out=P/out
1 P/frames: trackers.evaluation.servers --kind=mot --results=P/empty --out=P/frames
1 P/page.pth: trackers.evaluation.servers --kind=mot --results=P/page.pth --out=P/out
2 name the folders: trackers.evaluation.compare
1 P/file: trackers.evaluation.compare P/empty --out=P/file
1 P/absent: trackers.evaluation.compare P/absent --out=P/out
1 P/empty/results.json: trackers.evaluation.compare P/empty --out=P/out
1 P/absent: trackers.evaluation.compare P/empty --attributes=P/absent --out=P/out
1 P/file: experiments.relations --workdir=P/file
2 --steps=1_0: experiments.relations --workdir=P/run --steps=1_0
2 --rows nope: experiments.box_extents --workdir=P/run --rows=nope
2 --footage=P/empty,: experiments.own_footage --workdir=P/run --footage=P/empty, --benchmark=frames:P/frames
1 footage: experiments.own_footage --workdir=P/run --footage=P/empty --benchmark=frames:P/frames
1 P/file: experiments.distillation --workdir=P/file
2 --scales: experiments.wrong_scale --sequences=P/frames --scales=1_0
2 --scales=: experiments.wrong_scale --sequences=P/frames --scales=
2 --seed=-1: experiments.phrase_kinds --seed=-1
2 --width=7: benchmarks.masking --width=7 --heads=3
2 --share=nan: benchmarks.masking --share=nan
2 --tokens=1_0: benchmarks.attention --tokens=1_0
2 --size=６４０x４８０: benchmarks.tracking --size=６４０x４８０
2 --configs=: benchmarks.tracking --configs=
2 --seconds=inf: benchmarks.procedural_rate --seconds=inf
2 --seed=-1: benchmarks.referring_rate --seed=-1
2 --repeats=0: benchmarks.train_step configs/grm.py:tiny --repeats=0
"""

# Files of targets that start in frames of their own.
STARTS = {
    "late": "0,7,1,1,20,20\n1,3,2,2,20,20\n",
    "past": "0,7,1,1,20,20\n900,3,2,2,20,20\n",
    "half": "frame,id,x,y,w,h\n2.5,7,1,1,20,20\n",
    "same": "0,7,1,1,20,20\n0,7,2,2,20,20\n",
    "again": "0,7,1,1,20,20\n\n2,7,2,2,20,20\n",
    "aside": "0,7,1,1,20,20\n1,3,9000,2,20,20\n",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The folder P."""
    folder = tmp_path_factory.mktemp("lines")
    for name in ("frames", "badframes", "badboxes"):
        layouts.frames(folder / name)
    for file in (folder / "badframes").rglob("*.jpg"):
        file.write_text("not an image")
    for file in (folder / "badboxes").rglob("groundtruth.txt"):
        file.write_text("1,2,x,4\n" * 3)
    for name in ("empty", "results/v/p", "sweep", "taken/boxes.csv"):
        (folder / name).mkdir(parents=True)
    for name in ("gt.txt", "predict.txt"):
        (folder / "results" / "v" / "p" / name).write_text("1,1,1,1,20,20,1,1,1\n")
    (folder / "sweep" / "sweep.json").write_text("[1]")
    (folder / "tracks.txt").write_text("1,1,1,1,20,20,1,-1,-1,-1\n")
    (folder / "file").write_text("")
    (folder / "plain.py").write_text('def get_config():\n    return {"a": 2}\n')
    for name, text in STARTS.items():
        (folder / f"{name}.csv").write_text(text)
    (folder / "text.mp4").write_text("not a video\n" * 50)
    (folder / "page.pth").write_text("<!DOCTYPE html><title>Virus scan warning</title>" * 9)
    np.savez(folder / "other.npz", a=np.ones(3))
    return folder


def _parse(number, line, place):
    """(exit code, what is named, words) of a line of LINES, number among them."""
    head, command = line.split(": ", 1)
    for short, text in SHORT.items():
        command = command.replace(short, text)
    command = MADE.sub(rf"P/\g<1>{number}", command)
    code, named = head.split(" ", 1)
    words = [_placed(word, place) for word in shlex.split(command)]
    return int(code), _placed(named, place), words


def _placed(text, place):
    for before in ("=P/", ":P/", "@P/"):
        text = text.replace(before, f"{before[0]}{place}/")
    return f"{place}/{text[2:]}" if text.startswith("P/") else text


def _wrong(done, code, named):
    """What is wrong with the end of a program, None where nothing is."""
    lines = done.stderr.splitlines()
    if done.returncode == code and len(lines) == 1 and lines[0].startswith("error: ") and named in lines[0]:
        return None
    return f"{' '.join(done.args)[:300]}: exit code {done.returncode} for {code}, {named!r}: {done.stderr[-1500:]}"


def test_every_wrong_command_line_ends_in_one_line(place):
    parsed = [_parse(number, line, place) for number, line in enumerate(LINES.strip().splitlines())]
    ended = forked.run_all([words for _, _, words in parsed])
    wrong = [_wrong(done, code, named) for done, (code, named, _) in zip(ended, parsed, strict=True)]
    assert not any(wrong), "\n".join(filter(None, wrong))


@pytest.mark.parametrize(
    "program",
    ["train.py", "eval.py", "track.py", "data_pipelines synthetic", "trackers.convert"],
)
def test_forked_programs_say_what_real_ones_do(place, program):
    name, *words = program.split()
    words += ["--seed=1_0" if name == "data_pipelines" else "--config.seed=1_0", f"--out={place / 'file'}"]
    real, fork = programs.run(name, *words), forked.run(name, *words)
    assert (real.returncode, real.stderr) == (fork.returncode, fork.stderr)
    assert real.returncode == 2 and len(real.stderr.splitlines()) == 1
