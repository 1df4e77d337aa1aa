"""One program at a time writes into a folder, whatever became of the one before."""

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from etils import epath

from tests import programs
from trackers.errors import InputError
from trackers.io import outputs, ownership

HOLD = """
import sys, time
from trackers.io import ownership
with ownership.hold(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


# Says that it is there, and that it owns the folder; goes on when it reads a line.
RACE = """
import sys
from trackers import errors
from trackers.io import ownership
def main(_):
    print("ready", flush=True)
    sys.stdin.readline()
    with ownership.hold(sys.argv[1]):
        print("held", flush=True)
        sys.stdin.readline()
errors.run(main, sys.argv[:1])
"""


def holder(folder):
    """A running process that owns `folder`."""
    running = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert running.stdout.readline() == "held\n"
    return running


def test_a_living_owner_is_named_and_its_folder_refused(tmp_path):
    running = holder(tmp_path / "out")
    try:
        with pytest.raises(InputError) as caught, ownership.hold(tmp_path / "out"):
            pass
        assert f"process {running.pid} on {socket.gethostname()}" in str(caught.value)
        assert f"remove {tmp_path}/out/owner.lock" in str(caught.value) and "\n" not in str(caught.value)
    finally:
        running.send_signal(signal.SIGTERM)
    # SIGTERM ends it by way of the exit.
    assert running.wait(30) == 143
    assert not list((tmp_path / "out").iterdir())
    with ownership.hold(tmp_path / "out"):
        pass


def test_the_folder_of_a_killed_owner_is_taken_over(tmp_path):
    running = holder(tmp_path)
    running.kill()
    running.wait()
    assert (tmp_path / ownership.FILE).exists()
    with ownership.hold(tmp_path):
        assert json.loads((tmp_path / ownership.FILE).read_text())["pid"] == os.getpid()
    assert not list(tmp_path.iterdir())


def test_of_processes_that_start_at_once_one_owns_also_after_it_was_killed(tmp_path):
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    for _ in range(2):  # the second time the lock of a killed owner lies there
        command = [sys.executable, "-c", RACE, str(tmp_path / "run")]
        racing = [subprocess.Popen(command, env=programs.environ(), text=True, **pipes) for _ in range(4)]
        assert [process.stdout.readline() for process in racing] == ["ready\n"] * 4
        for process in racing:
            process.stdin.write("\n")
            process.stdin.flush()
        owners = [process for process in racing if process.stdout.readline() == "held\n"]
        others = [process for process in racing if process not in owners]
        assert len(owners) == 1
        named = f"process {owners[0].pid} on {socket.gethostname()}"
        for process in others:
            _, said = process.communicate(timeout=60)
            assert process.returncode == 1 and named in said and said.count("\n") == 1, said
        owners[0].kill()
        owners[0].communicate()
    assert (tmp_path / "run" / ownership.FILE).exists()
    with ownership.hold(tmp_path / "run"):
        pass


class _Bucket(type(epath.backend.os_backend)):
    """gs:// as a folder: no links, no locks of files, what is written is there whole."""

    def __init__(self, folder):
        self._folder = folder

    def __getattribute__(self, name):
        found = super().__getattribute__(name)
        if name.startswith("_") or not callable(found):
            return found
        return lambda path, *rest, **named: found(str(path).replace("gs://", f"{self._folder}/"), *rest, **named)


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    monkeypatch.setattr(type(epath.Path("gs://a")), "_backend", property(lambda _: _Bucket(tmp_path)))
    return epath.Path("gs://bucket/run")


def test_a_folder_in_an_object_store_has_one_owner(bucket, tmp_path, monkeypatch):
    """As far as it goes there: a living owner is refused, also one on another host; a dead one's lock is taken over."""
    monkeypatch.setattr(ownership, "SILENT_SECONDS", 0.6)
    monkeypatch.setattr(ownership, "BEAT_SECONDS", 0.05)
    lock = tmp_path / "bucket" / "run" / ownership.FILE
    with ownership.hold(bucket):
        assert json.loads(lock.read_text())["pid"] == os.getpid()
        with pytest.raises(InputError, match=f"process {os.getpid()} on"), ownership.hold(bucket):
            pass
        monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")  # and sees the beat
        with pytest.raises(InputError, match=f"process {os.getpid()} on"), ownership.hold(bucket):
            pass
    assert not lock.exists()
    lock.write_text(json.dumps({"host": "gone", "pid": 1, "started": "x", "token": "y"}))
    with ownership.hold(bucket):
        assert json.loads(lock.read_text())["host"] == "elsewhere"
    assert not lock.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"host": "HERE", "pid": 1, "started": "long ago"}'])
def test_a_torn_lock_and_the_number_of_another_process_are_no_owner(tmp_path, text):
    (tmp_path / ownership.FILE).write_text(text.replace("HERE", socket.gethostname()))
    with ownership.hold(tmp_path):
        pass


@pytest.mark.parametrize("alive", [True, False])
@pytest.mark.parametrize("where", [{"host": "elsewhere"}, {"host": socket.gethostname(), "numbers": "pid:[1]"}])
def test_an_owner_on_another_host_or_in_another_container_is_watched(tmp_path, monkeypatch, capsys, alive, where):
    monkeypatch.setattr(ownership, "SILENT_SECONDS", 0.6)
    lock, over = tmp_path / ownership.FILE, threading.Event()
    lock.write_text(json.dumps(where | {"pid": os.getpid(), "started": "x", "token": "y"}))

    def beat():
        while not over.wait(0.05):
            os.utime(lock)

    beating = threading.Thread(target=beat)
    try:
        if alive:
            beating.start()
            with pytest.raises(InputError, match=f"on {where['host']}"), ownership.hold(tmp_path):
                pass
        else:
            with ownership.hold(tmp_path):
                assert json.loads(lock.read_text())["pid"] == os.getpid()
    finally:
        over.set()
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_of_many_that_find_a_dead_owner_one_gets_the_folder(tmp_path):
    ready, over, owners = threading.Barrier(16), threading.Event(), []

    def compete():
        ready.wait()
        try:
            with ownership.hold(tmp_path):
                owners.append(True)
                over.wait()
        except InputError:
            owners.append(False)

    for _ in range(10):
        dead = {"host": socket.gethostname(), "pid": 2**22 + 1, "token": "z"}
        (tmp_path / ownership.FILE).write_text(json.dumps(dead))
        running = [threading.Thread(target=compete) for _ in range(16)]
        for thread in running:
            thread.start()
        while len(owners) < 16:
            time.sleep(0.01)
        over.set()
        for thread in running:
            thread.join()
        assert sum(owners) == 1
        assert not list(tmp_path.iterdir())
        over.clear()
        owners.clear()


@pytest.mark.parametrize("text, said", [('{"token": "another"}', "was taken by another program"), (None, "is gone")])
def test_a_lock_that_others_removed_ends_the_program(tmp_path, monkeypatch, capsys, text, said):
    monkeypatch.setattr(ownership, "BEAT_SECONDS", 0.05)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background programs start without
    lock = tmp_path / "run" / ownership.FILE
    with pytest.raises(KeyboardInterrupt), ownership.hold(lock.parent):
        if text is None:
            shutil.rmtree(lock.parent)
        else:
            lock.write_text(text)
        time.sleep(10)
    assert said in capsys.readouterr().err
    assert lock.exists() == (text is not None)


LOST = """
import signal, sys, time
from trackers import errors
from trackers.io import ownership
def main(_):
    ownership.BEAT_SECONDS = 0.05
    with ownership.hold(sys.argv[1]):
        (ownership.epath.Path(sys.argv[1]) / ownership.FILE).unlink()
        time.sleep(20)
signal.signal(signal.SIGINT, getattr(signal, sys.argv[2]))
errors.run(main, sys.argv[:1])
"""


@pytest.mark.parametrize("before", ["default_int_handler", "SIG_IGN"])
def test_a_program_whose_lock_is_gone_ends_with_one_line(tmp_path, before):
    """Also one that a shell started in the background, which Ctrl-C does not reach."""
    command = [sys.executable, "-c", LOST, str(tmp_path), before]
    done = subprocess.run(command, env=programs.environ(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 130
    assert done.stderr == f"error: {tmp_path}/owner.lock is gone: somebody removed it\n"


def test_a_new_folder_is_owned_only_where_nothing_lies_in_it(tmp_path):
    out = tmp_path / "new"
    ownership.check_new(out)
    assert not out.exists()
    with ownership.hold_new(out):
        with pytest.raises(InputError, match=f"process {os.getpid()} on"):  # and never to empty the folder
            ownership.check_new(out)
        (out / "mine").write_text("")
    for look in (ownership.check_new, lambda *given: ownership.hold_new(*given).__enter__()):
        with pytest.raises(InputError, match=f"--to {out} is not empty: name a new folder"):
            look(out, "--to")
    assert [path.name for path in out.iterdir()] == ["mine"]
    (out / "mine").unlink()
    (out / ownership.FILE).write_text("{}")  # of a killed program
    ownership.check_new(out)
    with ownership.hold_new(out):
        pass
    (out / outputs.UNFINISHED).touch()
    with pytest.raises(InputError, match="was not written to its end: .* remove it and write it again"):
        ownership.check_new(out)
    with pytest.raises(InputError, match="a file stands where a folder is meant"):
        ownership.check_new(__file__)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file/out cannot be written"), ownership.hold(tmp_path / "file" / "out"):
        pass


def test_a_new_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def refuse(lock):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(tmp_path / ownership.FILE))

    monkeypatch.setattr(ownership._Lock, "_read", refuse)
    with pytest.raises(InputError, match=f"--out {tmp_path} cannot be read: Permission denied: name a place"):
        ownership.check_new(tmp_path)
