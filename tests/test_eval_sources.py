"""Benchmarks in their published layouts through eval.py and train.py, from the folder to scores and to a step."""

import json
import subprocess
import sys

import jax
import pytest

import trackers
from configs import grm, mixformer_v2
from data_pipelines import sources
from tests import forked, programs
from tests.data_pipelines import benchmark_layouts
from trackers import weights
from trackers.tracking import single_object

# One process tracks all of them: what takes time is to start.
_PROGRAM = """
import sys
from absl import flags
import eval as program
for spec in sys.argv[2:]:
    out = f"{sys.argv[1]}/{spec.partition(':')[0]}"
    flags.FLAGS(["eval.py", "--config=configs/grm.py:tiny", f"--checkpoint={sys.argv[1]}/weights",
                 "--baselines=static", f"--benchmark={spec}", f"--out={out}"])
    program.main([])
"""
_EVALUATED = {"lasot": "", "uav123": "", "otb": ",tiger1=6", "vot": ",box=area", "avist": "", "tnl2k": "", "videos": ""}


def test_published_layouts_are_tracked_and_scored(tmp_path):
    specs = {
        name: f"{name}:{benchmark_layouts.BENCHMARKS[name](tmp_path / 'data' / name)}{options}"
        for name, options in _EVALUATED.items()
    }
    flags = tmp_path / "data" / "uav123" / "anno" / "UAV123" / "att"
    uav = [sequence.name for sequence in sources.open_sequences(specs["uav123"])[1]]
    for name in uav:
        (flags / f"{name}.txt").write_text("0,1" + ",0" * 10 + "\n")
    config = grm.get_config("tiny")
    random = jax.jit(lambda key: trackers.init(trackers.build(config.model), key))(jax.random.key(0))
    weights.save(tmp_path / "weights", random, config.model)
    command = [sys.executable, "-c", _PROGRAM, str(tmp_path), *specs.values()]
    options = {"cwd": programs.ROOT, "env": programs.environ(), "capture_output": True, "text": True}
    done = subprocess.run(command, **options, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "model.division.threshold=0.55 for uav123" in done.stdout
    # Attributes of the set are kept beside the scores, for comparisons.
    assert json.loads((tmp_path / "uav123" / "attributes.json").read_text()) == {name: ["SV"] for name in uav}
    assert not (tmp_path / "lasot" / "attributes.json").exists()
    for name, spec in specs.items():
        sequences = sources.open_sequences(spec)[1]
        found = json.loads((tmp_path / name / "results.json").read_text())
        assert found["sequences"] == len(sequences)
        for tracker in ("grm", "static"):
            scores = found["trackers"][tracker]["scores"]
            assert not [score for score in scores.values() if "error" in score]
            frames = {key: value["frames"] for key, value in scores["got10k"]["sequences"].items()}
            assert frames == {s.name: int(s.visible[1:].sum()) for s in sequences}


def test_benchmarks_that_are_named_are_those_that_can_be_read():
    done = forked.run("eval.py", "--help")
    names = done.stdout.partition("NAME one of ")[2].partition(", PATH")[0]
    assert names.replace("\n", " ").replace(" ", "").split(",") == sorted(sources.LAYOUTS)
    assert set(sources.LAYOUTS.values()) <= set(sources.on_disk("pairs"))


def test_the_papers_settings_hold_for_each_benchmark_by_its_name(tmp_path):
    """GRM's thresholds and MixFormerV2's intervals (their experiment files), from --benchmark NAME:FOLDER on."""
    thresholds = {"lasot": 0.4, "avist": 0.4, "uav": 0.55, "uav123": 0.55, "nfs": 0.6}
    intervals = {"vot20": 10, "vot20lt": 200, "vot22stb": 10, "vot": 200, "lasot": 200}
    for name, build in benchmark_layouts.BENCHMARKS.items():
        opened, sequences = sources.open_sequences(f"{name}:{build(tmp_path / name)}")
        assert opened == name and sequences
        model, _, settings = single_object.for_benchmark(grm.get_config("b256"), opened)
        assert model["division"]["threshold"] == thresholds.get(name, 0.0)
        assert bool(settings) == (name in thresholds)
        for variant in ("l320", "b256_got10k"):
            assert single_object.for_benchmark(grm.get_config(variant), opened)[0]["division"]["threshold"] == 0.0
        for variant in ("b", "s"):
            tracking = single_object.for_benchmark(mixformer_v2.get_config(variant), opened)[1]
            assert tracking["update_interval"] == intervals.get(name, 200)


@pytest.mark.slow
def test_a_step_of_training_on_a_mixture(tmp_path):
    folders = {
        name: benchmark_layouts.BENCHMARKS[name](tmp_path / name, length=20)
        for name in ("lasot", "otb", "vot", "uav123")
    }
    folders["mot17"] = benchmark_layouts.mot17(tmp_path / "mot17", length=20)
    settings = [f"--config.data.{name}={folder}" for name, folder in folders.items()]
    settings[0] += ",origin=zero"
    settings += [f"--config.data.ratio.{name}={float(name != 'uav123')}" for name in folders]
    settings += ["--config.data.ratio.synthetic=0", "--config.data.pairs_per_epoch=8", "--config.train.total_epochs=1"]
    settings += ["--config.train.drop_factor=1"]
    settings += ["--config.train.validate_every_epochs=0"]
    done = forked.run("train.py", "--config=configs/grm.py:tiny", "--workdir", tmp_path / "run", *settings)
    assert done.returncode == 0, done.stderr[-2000:]
    said = f"uav123: nothing is drawn from {folders['uav123']}, as config.data.ratio.uav123 is 0: give --config.data"
    assert done.stderr.count(said) == 1
