"""What the command lines say when the input is wrong: one line that names the thing and the remedy."""

import atexit
import contextlib
import errno
import importlib
import os
import re
import sys
import threading

from absl import app, flags

from trackers import platforms, quiet, signals
from trackers.io import numbers


class InputError(ValueError):
    """The data, a file or a checkpoint is not usable; the message is one line. Exit code 1."""


class UsageError(ValueError):
    """The command was given wrongly (flag, config key, box syntax); the message is one line. Exit code 2."""


# What helps where the system refuses a file.
_REMEDIES = {
    errno.ENOSPC: "free some space, or name another place",
    errno.EDQUOT: "free some space, or name another place",
    errno.EFBIG: "raise the limit on the size of files, or name another place",
    errno.EACCES: "name a place that you may read and write",
    errno.EPERM: "name a place that you may read and write",
    errno.EROFS: "name a place that can be written to",
    errno.ENAMETOOLONG: "give a shorter name (most disks take 255 bytes)",
    errno.ENOTDIR: "a file stands where a folder is meant: name another path",
    errno.EEXIST: "a file, or a link to nothing, stands where a folder is meant: name another path",
    errno.EISDIR: "a folder stands where a file is meant: name another path",
    errno.ENOENT: "check the path",
}


# Libraries that a program may lack where only a part of the house was installed, and the extra that brings them.
_EXTRAS = {
    "tensorflow": "data",
    "tensorflow_datasets": "data",
    "matplotlib": "eval",
    "scipy": "eval",
    "jax2onnx": "export",
    "onnxruntime": "export",
}


def missing(module):
    """What is to be said about a module of an optional library that is not installed, in one line; None where it is.

    For programs that look before long work, and leave out what they can do without.
    """
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if said := _not_installed(error):
            return said
        raise
    return None


def require(module):
    """Raises: InputError where an optional library is not installed. For before long work that ends with its use."""
    if said := missing(module):
        raise InputError(said)


def _not_installed(error):
    """The line about a ModuleNotFoundError, None where no extra brings the module."""
    extra = _EXTRAS.get((error.name or "").partition(".")[0])
    return extra and f"{error.name} is not installed: pip install 'one-stream-trackers[{extra}]'"


def os_reason(error):
    """What the system said about a file, and the remedy, without the file's name. error: OSError."""
    reason = error.strerror or _one_line(error) or type(error).__name__
    remedy = _REMEDIES.get(error.errno)
    return f"{reason}: {remedy}" if remedy else reason


def _one_line(error):
    return " ".join(str(error).split())


def run(main, argv=None, positional=False):
    """Parses absl flags, runs `main(argv)` and exits. Every program starts here, and ends here: see _end.

    Args:
      main: function of the remaining positional arguments (argv[0] is the program).
      argv: list of str; sys.argv when None.
      positional: whether the program takes positional arguments; they may stand before, between and after flags.

    Exit codes: what main returns (None = 0), 1 for InputError and OSError, 2 for UsageError, a wrong flag or an unknown
      config key, 130 for an interrupt from the keyboard, 143 for SIGTERM (trackers/signals.py).
    """
    quiet.libraries()
    signals.install()
    argv = sys.argv if argv is None else argv
    platforms.leave_out_absent()
    app.define_help_flags()
    _list_all_flags()
    flags.FLAGS.set_gnu_getopt(positional)
    try:
        given = _from_files(argv)
        rest = flags.FLAGS(given)
        if len(rest) > 1 and not positional:
            raise UsageError(f"unexpected argument {rest[1]!r}: options are written --name=value")
        # A config file that could not be loaded says so only when it is asked for.
        if "config" in flags.FLAGS and flags.FLAGS["config"].present:
            if not hasattr(flags.FLAGS.config, "lock"):
                raise UsageError("--config: get_config of the file returns no ConfigDict: end it with 'return config'")
            flags.FLAGS.config.keys()
        _check_values(given)
        _check_places([("", word) for word in rest[1:]] + [(f"--{name}=", text) for name, text in _given(given)])
    except SystemExit:
        # The flags asked for help and got it: absl's exit code is 1.
        _end(0)
    except (flags.Error, UsageError) as error:
        # A config file that fails is reported with its whole traceback, whose last line says what is wrong.
        text = str(error)
        override = next((arg for arg in argv if arg.lstrip("-").startswith("config.")), None)
        if override and isinstance(error, flags.UnrecognizedFlagError) and error.flagname.startswith("config."):
            text = f"{override} changes a config that is not given: add --config=FILE, such as configs/grm.py:b256"
        _leave(f"--config: {text.strip().splitlines()[-1]}" if "Traceback" in text else text, 2)
    except Exception as error:  # a config file is a program
        _leave_config(error, argv)
    _end(_outcome(main, rest))


def _outcome(main, rest):
    """Runs main; the exit code, what went wrong having been said."""
    try:
        try:
            return main(rest) or 0
        finally:
            signals.check()  # a signal ends a program in one way, whatever a library has made of its exception
    except UsageError as error:
        return _say(error, 2)
    except InputError as error:
        return _say(error, 1)
    except OSError as error:
        return _say(f"{error.filename}: {os_reason(error)}" if error.filename else os_reason(error), 1)
    except ModuleNotFoundError as error:
        if said := _not_installed(error):
            return _say(said, 1)
        sys.excepthook(*sys.exc_info())
        return 1
    except KeyboardInterrupt:
        return 130 if signals.said() else _say("interrupted", 130)
    except SystemExit as leaving:
        if signals.asked():
            return _say("terminated", leaving.code)
        if isinstance(leaving.code, str):
            return _say(leaving.code, 1)
        return leaving.code or 0
    except BaseException:  # a fault of ours: its traceback, and then out as always
        sys.excepthook(*sys.exc_info())
        return 1


# Seconds that what other modules do at exit may take: after a success, as the other hosts of a run may still write,
# and after a failure, which those may never hear of.
_PATIENCE_S, _PATIENCE_AFTER_FAILURE_S = 300.0, 10.0
# Success, and SIGTERM obeyed.
_WELL_ENDED = (0, 143)


def _end(code):
    """Ends the process, without finalizing Python under the threads of libraries.

    sys.exit would: then a thread of tf.data that still runs Python blocks forever, or aborts the process. Writers have
    been waited for by then: whoever has some is a context manager that main has left.
    """
    long = code in _WELL_ENDED and not signals.asked()
    signals.ending()
    watch = threading.Timer(_PATIENCE_S if long else _PATIENCE_AFTER_FAILURE_S, os._exit, (code,))
    watch.daemon = True
    watch.start()
    code = _flush(code)
    atexit._run_exitfuncs()  # what finalizing does: temporary folders, JAX's devices and hosts, logs
    os._exit(_flush(code))


def _flush(code):
    """Writes what is buffered; the exit code, 1 instead of 0 where that fails."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:  # whoever read has read enough
            code = code or 1
        except (OSError, ValueError) as error:
            code = _say(f"what was printed cannot be written: {error}", code or 1)
    return code


def _from_files(argv):
    """argv with the lines of each --flagfile in its place; a file may start with a byte order mark."""
    try:
        return [argument.removeprefix("\ufeff") for argument in flags.FLAGS.read_flags_from_files(argv)]
    except UnicodeDecodeError:
        raise UsageError("--flagfile: a file is not text: save it as UTF-8") from None


def define_config(help_text, default=None):
    """The flag --config, whose file and overrides (and any --flagfile) are read here already, before `run` begins.

    Args: help_text: of the flag. default: FILE:VARIANT, None for no config.
    """
    from ml_collections import config_flags

    try:
        config_flags.DEFINE_config_file("config", default, help_text, lock_config=True)
    except Exception as error:  # a config file is a program
        _leave_config(error, sys.argv)


def _leave_config(error, argv):
    """Ends the program with the line about a config file, or an override in argv, that raised an error."""
    if isinstance(error, (AttributeError, KeyError)):
        # An override of a key that is not there is answered with just that key.
        given = [a.split("=")[0].lstrip("-") for a in argv if a.lstrip("-").startswith("config.")]
        named = [flag for flag in given if flag.rsplit(".", 1)[-1] in str(error)] or given or [str(error)]
        _leave(f"--{named[0]} is not in the config: the file given with --config lists every key", 2)
    if isinstance(error, flags.CantOpenFlagFileError):
        _leave(f"--flagfile: {_one_line(error).removeprefix('ERROR:: ')}: check the path", 2)
    _leave(f"--config: {_one_line(error) or type(error).__name__}", 2)


def leave_out(names, why):
    """Refuses flags that would be ignored. names: of flags that some program may not have. why: the rest of the line.

    Raises: UsageError naming the first that was given with another value than its default.
    """
    for name in names:
        if name in flags.FLAGS and (flag := flags.FLAGS[name]).present and flag.value != flag.default:
            raise UsageError(f"--{name} {why}: leave it out")


def _check_values(argv):
    """Refuses what absl takes and the house does not: 1_0, 0x10, full-width digits or nan for a number, no text at all.

    Raises: UsageError naming the flag.
    """
    for name, text in _given(argv):
        flag = flags.FLAGS[name]
        if not text.strip() and flag.default not in ("", []) and not name.startswith("config."):
            raise UsageError(f"--{name}={text} is empty: give a value, or leave the flag out")
        if isinstance(flag.parser, flags.ListParser) and "" in flag.value:
            raise UsageError(f"--{name}={text}: nothing stands before or after a comma: give a value, or no comma")
        listed = isinstance(flag.value, (tuple, list)) and not text.count("(") > 1
        cells = [cell.strip() for cell in text.strip("()[] ").split(",")] if listed else [text.strip()]
        for cell, value in zip(cells, flag.value if listed else [flag.value], strict=False):
            rule = {int: numbers.whole, float: numbers.number}.get(type(value))
            try:
                rule and rule(cell)
            except ValueError as error:
                raise UsageError(f"--{name}={text}: {error}: write it in digits, such as 8 or 0.5") from None


# A home folder or a variable at the start of a path, which shells leave as it stands in --flag=~/..., in quotes and in
# files of flags; places that are written like URLs, and those that etils.epath opens.
_UNEXPANDED = re.compile(r"(?:^|(?<=[:@,]))(~|\$\w+|\$\{\w+\})(?=/|$)")
_SCHEME, _SCHEMES = re.compile(r"([A-Za-z][\w+.-]*)://"), ("gs", "s3", "az", "hf")


def _check_places(given):
    """Refuses paths that no shell has expanded, under which outputs would be made here, and URLs that no program opens.

    Args: given: (what is said before, text) of flags and arguments.

    Raises: UsageError naming the flag.
    """
    for name, text in given:
        if name in ("--stream=", "--phrases="):
            continue
        if unexpanded := _UNEXPANDED.search(text):
            raise UsageError(f"{name}{text}: {unexpanded[1]} was not expanded by the shell: write the whole path")
        scheme = _SCHEME.search(text)
        if scheme and scheme[1] not in _SCHEMES:
            raise UsageError(
                f"{name}{text}: {scheme[0]} is not opened: give a path on this machine, or gs://BUCKET/PATH"
            )


def _given(argv):
    """(name, text) of the flags of a command line that parsed."""
    words = iter(argv[1:])
    for word in words:
        if word == "--":
            return
        name, equals, text = word.lstrip("-").partition("=")
        if not word.startswith("-") or name not in flags.FLAGS:
            continue
        if equals:
            yield name, text
        elif not flags.FLAGS[name].boolean:
            yield name, next(words)


# Packages and programs whose flags --help lists; other packages define flags, too.
_HOUSE = ("trackers", "data_pipelines", "benchmarks", "experiments", "train", "refer")


def _list_all_flags():
    """Makes --help list the flags of the house's modules beside those that stand in the program's own file."""
    for module, own in flags.FLAGS.flags_by_module_dict().items():
        if module.split(".")[0] in _HOUSE:
            for flag in own:
                flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)


def _say(error, code):
    """Says what is wrong in one line -> code."""
    with contextlib.suppress(OSError, ValueError):
        print(f"error: {_one_line(error)}", file=sys.stderr, flush=True)
    return code


def _leave(error, code):
    _end(_say(error, code))
