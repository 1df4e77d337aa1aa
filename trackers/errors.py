"""What the command lines say when the input is wrong: one line that names the thing and the remedy."""

import sys

from absl import flags


class InputError(ValueError):
    """The data, a file or a checkpoint is not usable; the message is one line. Exit code 1."""


class UsageError(ValueError):
    """The command was given wrongly (flag, config key, box syntax); the message is one line. Exit code 2."""


def _one_line(error):
    return " ".join(str(error).split())


def run(main, argv=None):
    """Parses absl flags, runs `main(argv)` and exits.

    Args:
      main: function of the remaining positional arguments (argv[0] is the program).
      argv: list of str; sys.argv when None.

    Exit codes: what main returns (None = 0), 1 for InputError, 2 for UsageError, a wrong flag or an unknown config key.
    """
    argv = sys.argv if argv is None else argv
    try:
        rest = flags.FLAGS(argv)
        if flags.FLAGS.is_parsed() and len(rest) > 1:
            raise UsageError(f"unexpected argument {rest[1]!r}: options are written --name=value")
    except (flags.Error, UsageError) as error:
        _leave(error, 2)
    except (AttributeError, KeyError, TypeError, ValueError, FileNotFoundError) as error:
        # ml_collections answers an unknown key, a wrong type or a missing config file with these.
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


def _leave(error, code):
    print(f"error: {_one_line(error)}", file=sys.stderr, flush=True)
    sys.exit(code)
