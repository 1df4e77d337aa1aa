"""What the command lines say when the input is wrong: one line that names the thing and the remedy."""

import sys

from absl import app, flags

from trackers import platforms, quiet


class InputError(ValueError):
    """The data, a file or a checkpoint is not usable; the message is one line. Exit code 1."""


class UsageError(ValueError):
    """The command was given wrongly (flag, config key, box syntax); the message is one line. Exit code 2."""


def _one_line(error):
    return " ".join(str(error).split())


def run(main, argv=None, positional=False):
    """Parses absl flags, runs `main(argv)` and exits. Every program starts here.

    Args:
      main: function of the remaining positional arguments (argv[0] is the program).
      argv: list of str; sys.argv when None.
      positional: whether the program takes positional arguments; they may stand before, between and after flags.

    Exit codes: what main returns (None = 0), 1 for InputError, 2 for UsageError, a wrong flag or an unknown config key.
    """
    quiet.libraries()
    argv = sys.argv if argv is None else argv
    platforms.leave_out_absent_tpu()
    app.define_help_flags()
    _list_all_flags()
    flags.FLAGS.set_gnu_getopt(positional)
    try:
        rest = flags.FLAGS(_from_files(argv))
        if len(rest) > 1 and not positional:
            raise UsageError(f"unexpected argument {rest[1]!r}: options are written --name=value")
        # A config file that could not be loaded says so only when it is asked for.
        if "config" in flags.FLAGS and flags.FLAGS.config is not None:
            flags.FLAGS.config.keys()
    except SystemExit:
        # The flags asked for help and got it: absl's exit code is 1.
        sys.exit(0)
    except (flags.Error, UsageError) as error:
        # A config file that fails is reported with its whole traceback, whose last line says what is wrong.
        text = str(error)
        _leave(f"--config: {text.strip().splitlines()[-1]}" if "Traceback" in text else text, 2)
    except (AttributeError, KeyError) as error:
        # ml_collections answers an override of a key that is not there with just that key.
        given = [a.split("=")[0].lstrip("-") for a in argv if a.lstrip("-").startswith("config.")]
        named = [flag for flag in given if flag.rsplit(".", 1)[-1] in str(error)] or given or [str(error)]
        _leave(f"--{named[0]} is not in the config: the file given with --config lists every key", 2)
    except (TypeError, ValueError, OSError, ImportError) as error:
        _leave(f"--config: {_one_line(error)}", 2)
    try:
        code = main(rest)
    except UsageError as error:
        _leave(error, 2)
    except InputError as error:
        _leave(error, 1)
    except KeyboardInterrupt:
        _leave("interrupted", 130)
    sys.exit(code)


def _from_files(argv):
    """argv with the lines of each --flagfile in its place; a file may start with a byte order mark."""
    try:
        return [argument.removeprefix("\ufeff") for argument in flags.FLAGS.read_flags_from_files(argv)]
    except UnicodeDecodeError:
        raise UsageError("--flagfile: a file is not text: save it as UTF-8") from None


# Packages and programs whose flags --help lists; other packages define flags, too.
_HOUSE = ("trackers", "data_pipelines", "benchmarks", "experiments", "train", "refer")


def _list_all_flags():
    """Makes --help list the flags of the house's modules beside those that stand in the program's own file."""
    for module, own in flags.FLAGS.flags_by_module_dict().items():
        if module.split(".")[0] in _HOUSE:
            for flag in own:
                flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)


def _leave(error, code):
    print(f"error: {_one_line(error)}", file=sys.stderr, flush=True)
    sys.exit(code)
