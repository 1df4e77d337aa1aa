"""The fuzz driver in small, and the text files that it knows with the marks and ends of lines of other systems."""

import pytest

from tests import fuzz, fuzz_mutations
from tests.fuzz_readers import READERS
from trackers.errors import InputError

TEXT = [name for name, reader in READERS.items() if reader.kind == "text"]


def test_no_fault_in_some_inputs_of_every_reader():
    said = []
    results = fuzz.run(list(READERS), 10 * len(READERS), 7, said.append)
    assert not fuzz.faults(results), "\n".join(said) + "\n" + fuzz.table(results)
    assert sum(counts["refused"] for counts in results.values()) > 5 * len(READERS)


@pytest.mark.parametrize("name", TEXT)
@pytest.mark.parametrize("changed", ["mark", "mark and ends"])
def test_a_byte_order_mark_changes_nothing(tmp_path, name, changed):
    file, read = READERS[name].make(tmp_path)
    expected = fuzz._key(read())
    data = file.read_bytes()
    file.write_bytes(fuzz_mutations.BOM + (data.replace(b"\n", b"\r\n") if "ends" in changed else data))
    assert fuzz._key(read()) == expected


def test_faults_are_seen(tmp_path):
    """The driver itself: each kind of fault, by a reader that has it."""

    def outcome(read, wrong=lambda result, data: None):
        reader = fuzz.READERS["box file"]
        reader = type(reader)(reader.make, wrong=wrong)
        return fuzz._outcome(reader, tmp_path / "a.txt", read, b"", None)[0]

    def fail(error):
        def read():
            raise error

        return read

    assert outcome(lambda: 1) == "accepted"
    assert outcome(fail(InputError("a.txt:1: no"))) == "refused"
    assert outcome(fail(InputError("no"))) == outcome(fail(InputError("a.txt\nno"))) == "unnamed"
    assert outcome(fail(KeyError("a"))) == "traceback"
    assert outcome(lambda: len(b"1" * (400 * 2**20))) == "memory"
    assert outcome(fail(MemoryError())) == "memory"
    assert outcome(lambda: 1, lambda result, data: "wrong") == "silent"
