import numpy as np

from trackers.evaluation import scores, tables

STILL = np.tile([[10.0, 10, 20, 20]], (5, 1))
GONE = STILL + [300, 0, 0, 0]


def _scored(boxes):
    toolkits = {
        "got10k": lambda p, t: scores.got10k(p, t, (640, 480)),
        "pytracking": scores.pytracking,
    }
    result = {}
    for name, one in toolkits.items():
        parts = {sequence: one(prediction, STILL) for sequence, prediction in boxes.items()}
        result[name] = {"sequences": parts, "overall": scores.combine(list(parts.values()))}
    return result


def _cells(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_overall_rows_are_trackers_in_per_cent():
    scored = {"grm": _scored({"a": STILL, "b": GONE}), "static": _scored({"a": GONE, "b": GONE})}
    speed = {name: {"tracker_fps": 31.25, "end_to_end_fps": 9.0} for name in scored}
    table = tables.overall(scored, speed)
    assert len({len(line) for line in table.splitlines()}) == 1
    heads, _, own, static = _cells(table)
    assert heads == ["tracker", "AO", "SR0.5", "SR0.75", "AUC", "P", "NP", "fps", "end to end"]
    assert own[:4] == ["grm", "50.0", "50.0", "50.0"]
    assert own[5:] == ["60.0", "60.0", "31.2", "9.0"]
    assert static[1] == "0.0"


def test_sequence_rows_end_in_their_mean():
    scored = {"grm": _scored({"a": STILL, "b": GONE}), "static": _scored({"a": GONE, "b": STILL})}
    heads, _, first, second, mean = _cells(tables.sequences(scored))
    assert heads[-1] == "static AO"
    assert (first[0], first[1], first[2], first[-1]) == ("a", "4", "100.0", "0.0")
    assert (second[0], second[2], second[-1]) == ("b", "0.0", "100.0")
    assert (mean[0], mean[1], mean[2], mean[-1]) == ("mean of sequences", "8", "50.0", "50.0")


def test_what_a_toolkit_refuses_is_a_dash():
    scored = _scored({"a": STILL})
    scored["pytracking"] = {"error": "sequence a: NaN"}
    assert _cells(tables.overall({"grm": scored}))[2] == ["grm", "100.0", "100.0", "100.0", "-", "-", "-"]


def test_names_do_not_break_a_table():
    text = tables.markdown(["sequence", "AO"], [["a|b", "1"], ["c\nd", "2"], ["e\r\u2028f", "3"]])
    lines = text.split("\n")
    assert len(lines) == 5 and len(text.splitlines()) == 5
    assert lines[2].startswith("| a\\|b ") and "c\\nd" in lines[3] and "e\\r\\u2028f" in lines[4]
