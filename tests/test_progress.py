import pytest

from trackers import progress


@pytest.mark.parametrize(("terminal", "seconds"), [(True, 0.2), (False, 10.0)])
def test_a_log_is_not_flooded(monkeypatch, capsys, terminal, seconds):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: terminal, raising=False)
    with progress.bar(total=4, unit="pair", desc="drawing") as bar:
        bar.update(3)
        assert bar.mininterval == seconds
    assert "drawing" in (shown := capsys.readouterr().err) and "3/4" in shown and "pair" in shown


def test_it_passes_on_what_it_iterates_over(capsys):
    assert list(progress.bar("abc")) == ["a", "b", "c"]
    assert list(progress.bar(iter("abc"), total=3)) == ["a", "b", "c"]
    assert capsys.readouterr().err.count("3/3") >= 2


def test_it_ends_whole_where_less_came_than_was_announced(capsys):
    assert list(progress.bar(iter("abc"), total=8)) == ["a", "b", "c"]
    assert "3/3" in capsys.readouterr().err.splitlines()[-1]


def test_it_ends_whole_where_its_user_needs_no_more(capsys):
    with progress.bar("abcdefgh") as bar:
        for letter in bar:
            if letter == "d":
                break
        bar.end()
    assert "3/3" in capsys.readouterr().err.splitlines()[-1]
