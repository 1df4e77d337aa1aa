"""One program at a time writes into a folder: FOLDER/owner.lock names its host and process while it runs.

The lock of a process that has ended, however it did, is taken over. On the owner's own host the process is looked up,
by its number and the time at which it started. From another host, or another container, the lock is watched: an owner
touches it every BEAT_SECONDS, and one that is silent for SILENT_SECONDS is taken for dead. Where the two share no lock
file the rule holds no more: two programs that claim a folder of an object store (gs://) in the same moment may both get
it.
"""

import contextlib
import fcntl
import json
import os
import secrets
import signal
import socket
import sys
import threading
import time

from etils import epath

from trackers import signals
from trackers.errors import InputError, os_reason
from trackers.io import outputs

FILE = "owner.lock"
BEAT_SECONDS, SILENT_SECONDS = 10.0, 60.0


@contextlib.contextmanager
def hold(folder, sigterm=True):
    """Owns a folder, made if need be, as a context manager; SIGTERM then ends the program by way of its exit.

    Args:
      folder: path (gs:// too). sigterm: False where the caller sees to SIGTERM, or another process does.

    Raises: InputError where another program owns the folder, or nothing can be written there.
    """
    folder = epath.Path(folder)
    lock = _Lock(folder / FILE)
    former = None
    here = sigterm and threading.current_thread() is threading.main_thread()
    # Also where a program has that handler: with several processes jax has put its own behind it.
    if here and signal.getsignal(signal.SIGTERM) in (signal.SIG_DFL, signals.stop):
        former = signal.signal(signal.SIGTERM, signals.stop)
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock.take()
        except OSError as error:
            raise InputError(
                f"{folder} cannot be written ({error.strerror or error}): make it a folder with room that you may"
                " write to, or name another one"
            ) from None
        beating = threading.Thread(target=lock.beat, daemon=True)
        beating.start()
        yield
    finally:
        lock.release()
        if former is not None:
            signal.signal(signal.SIGTERM, former)


def check_new(folder, flag="--out"):
    """Looks at a folder that `hold_new` is to own later, and changes nothing.

    Args: folder: path (gs:// too). flag: what it was given with, for the message.

    Raises: InputError where another program owns it, where it holds something, or is a file.
    """
    folder = epath.Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{flag} {folder}: a file stands where a folder is meant: name another path")
    try:
        _Lock(folder / FILE).check_free()
        _check_empty(folder, flag)
    except OSError as error:
        raise InputError(f"{flag} {folder} cannot be read: {os_reason(error)}") from None


@contextlib.contextmanager
def hold_new(folder, flag="--out"):
    """Owns a folder that is new or empty, as `hold` does. Raises: InputError as `check_new` and `hold`."""
    with hold(folder):
        _check_empty(epath.Path(folder), flag)
        yield


def _check_empty(folder, flag):
    outputs.check_finished(folder)
    if folder.is_dir() and any(path.name != FILE for path in folder.iterdir()):
        raise InputError(f"{flag} {folder} is not empty: name a new folder, or empty it")


class _Lock:
    def __init__(self, path):
        self._path, self._local = path, "://" not in str(path)
        self._released, self._held = threading.Event(), False
        self._text = json.dumps(_this_process() | {"time": time.strftime("%F %T %z"), "token": secrets.token_hex(8)})

    def take(self):
        while not self._placed():
            kept = self.check_free()
            if kept is not None and self._replaced(kept):
                break
        self._held = True

    def check_free(self):
        """What the lock of a dead owner says, None where there is no lock. Raises: InputError where one lives."""
        kept = self._read()
        if kept is not None and self._is_alive(kept):
            raise InputError(
                f"{self._path.parent} belongs to a running program (process {kept.get('pid')} on"
                f" {kept.get('host')}, since {kept.get('time')}): wait for it or name another folder; if it does"
                f" not run any more, remove {self._path}"
            )
        return kept

    def _placed(self):
        """Whether the lock was free and is now ours."""
        if not self._local:
            if self._path.exists():
                return False
            self._path.write_text(self._text)
            return True
        part = outputs.part_of(self._path)
        try:
            part.write_text(self._text)
            # A lock appears with its whole text, or not at all.
            os.link(part, self._path)
        except FileExistsError:
            return False
        except PermissionError:  # file systems without hard links
            if not os.access(self._path.parent, os.W_OK):
                raise
            with contextlib.suppress(FileExistsError), open(self._path, "x") as file:
                file.write(self._text)
                return True
            return False
        finally:
            part.unlink(missing_ok=True)
        return True

    def _read(self):
        """What the lock says, None where it is gone; {} where it is not readable: nobody's."""
        try:
            kept = json.loads(self._path.read_bytes().decode("utf-8-sig"))
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError):
            return {}
        return kept if isinstance(kept, dict) else {}

    def _is_alive(self, kept):
        here = _this_process()
        if all(kept.get(key, here[key]) == here[key] for key in ("host", "numbers")) and type(kept.get("pid")) is int:
            started = _started(kept["pid"])
            return started is not None and started == kept.get("started")
        if not kept:
            return False
        print(
            f"{self._path} is of {kept.get('host')}: watching for up to {SILENT_SECONDS:.0f} s whether it is alive",
            file=sys.stderr,
            flush=True,
        )
        before, until = self._sign(), time.monotonic() + SILENT_SECONDS
        while time.monotonic() < until:
            time.sleep(min(1.0, SILENT_SECONDS / 10))
            if self._sign() != before:
                return self._read() is not None
        return False

    def _sign(self):
        """Changes whenever the owner has touched the lock."""
        try:
            # Opened, since network file systems look at the server's copy only then.
            with self._path.open("rb") as file:
                text = file.read()
                return text, os.fstat(file.fileno()).st_mtime_ns if self._local else None
        except FileNotFoundError:
            return None

    def _replaced(self, dead):
        """Whether the lock of a dead process is now ours, and not that of another who found it dead as well."""
        part = outputs.part_of(self._path)
        if not self._local:
            self._path.write_text(self._text)
            return True
        try:
            with open(self._path, "rb") as file:
                with contextlib.suppress(OSError):  # file systems that do not lock
                    fcntl.flock(file, fcntl.LOCK_EX)
                same = os.fstat(file.fileno()).st_ino == os.stat(self._path).st_ino
                if not same or (self._read() or {}).get("token") != dead.get("token"):
                    return False
                part.write_text(self._text)
                part.replace(self._path)
                return True
        except FileNotFoundError:
            return False
        finally:
            part.unlink(missing_ok=True)

    def beat(self):
        """Touches the lock until it is released; ends the program where somebody else has taken it."""
        count = 0
        while not self._released.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):  # a network's pause; the next beat may come through
                if not self._is_ours():
                    fate = "was taken by another program" if self._path.exists() else "is gone: somebody removed it"
                    signals.interrupt(f"{self._path} {fate}")
                    return
                count += 1
                if self._local:
                    os.utime(self._path)
                else:
                    self._path.write_text(json.dumps(json.loads(self._text) | {"beat": count}))

    def _is_ours(self):
        return (self._read() or {}).get("token") == json.loads(self._text)["token"]

    def release(self):
        self._released.set()
        if self._held:
            with contextlib.suppress(OSError):
                if self._is_ours():
                    self._path.unlink()


def _this_process():
    return {"host": socket.gethostname(), "numbers": _numbering(), "pid": os.getpid(), "started": _started(os.getpid())}


def _numbering():
    """What the numbers of processes are counted in: containers of one host name may each have their own."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _started(pid):
    """What tells a process from a later one of the same number; None where there is no such process."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as boot, open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
            return None if fields[0] in "ZX" else f"{boot.read().strip()} {fields[19]}"
    except OSError:
        pass
    if os.path.exists("/proc/self/stat"):
        return None
    try:
        os.kill(pid, 0)  # systems without /proc
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "running"
