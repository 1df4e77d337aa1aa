"""One program at a time writes into a folder, whatever became of the one before."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from trackers.errors import InputError
from trackers.io import ownership

HOLD = """
import sys, time
from trackers.io import ownership
with ownership.hold(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
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


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"host": "HERE", "pid": 1, "started": "long ago"}'])
def test_a_torn_lock_and_the_number_of_another_process_are_no_owner(tmp_path, text):
    (tmp_path / ownership.FILE).write_text(text.replace("HERE", socket.gethostname()))
    with ownership.hold(tmp_path):
        pass


@pytest.mark.parametrize("alive", [True, False])
def test_an_owner_on_another_host_is_watched(tmp_path, monkeypatch, capsys, alive):
    monkeypatch.setattr(ownership, "SILENT_SECONDS", 0.6)
    lock, over = tmp_path / ownership.FILE, threading.Event()
    lock.write_text(json.dumps({"host": "elsewhere", "pid": os.getpid(), "started": "x", "token": "y"}))

    def beat():
        while not over.wait(0.05):
            os.utime(lock)

    beating = threading.Thread(target=beat)
    try:
        if alive:
            beating.start()
            with pytest.raises(InputError, match="on elsewhere"), ownership.hold(tmp_path):
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


def test_a_lock_that_others_removed_ends_the_program(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ownership, "BEAT_SECONDS", 0.05)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background programs start without
    with pytest.raises(KeyboardInterrupt), ownership.hold(tmp_path):
        (tmp_path / ownership.FILE).write_text('{"token": "another"}')
        time.sleep(10)
    assert "was taken by another program" in capsys.readouterr().err
    assert (tmp_path / ownership.FILE).exists()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file/out cannot be written"), ownership.hold(tmp_path / "file" / "out"):
        pass
