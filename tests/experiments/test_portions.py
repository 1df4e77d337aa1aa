"""experiments.portions and experiments.relations: the search for portions, and wrong usage."""

import pytest

import trackers
from configs import grm
from experiments import portions
from tests import forked


def test_portions_are_tuned_for_all_layers_and_then_one_by_one(monkeypatch):
    """On a made-up IoU whose best are 0.25 in the first and 0.75 in the second dividing layer."""

    def validate(config, variables, chosen, tried):
        del config, variables, chosen
        return {"iou": 1 - (tried[0] - 0.25) ** 2 - 2 * (tried[1] - 0.75) ** 2}

    monkeypatch.setattr(portions, "validate", validate)
    config = grm.get_config("tiny_prototype")
    assert trackers.build(config.model).division.layer_relations(3).count("learned") == 2
    best, tried = portions.tune(config, None, None, (0.25, 0.5, 0.75, 1.0))
    assert best == (0.25, 0.75)
    uniform = {(portion, portion) for portion in (0.25, 0.5, 0.75, 1.0)}
    # From 0.5 for both, which is the best for all.
    assert set(tried) == uniform | {(p, 0.5) for p in (0.25, 0.75, 1.0)} | {(0.25, p) for p in (0.75, 1.0)}
    assert all(iou == validate(None, None, None, pair)["iou"] for pair, iou in tried.items())


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (["experiments.portions"], "--config: only a prototype has portions"),
        (["experiments.portions", "--grid=0.5,1.5"], "--grid 1.5"),
        (["experiments.relations", "--workdir=DIR", "--rows=one_stream,three_stream"], "--rows three_stream"),
    ],
)
def test_wrong_usage_is_one_line(command, named):
    done = forked.run(*command)
    assert done.returncode == 2 and named in done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
