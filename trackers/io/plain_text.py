"""What text and JSON may be, and the one line about files that are neither.

Text is UTF-8, with or without a byte order mark. JSON is as RFC 8259 has it: no NaN, no key twice in an object.
"""

import contextlib
import json
import re
import struct
import tokenize
import zipfile
import zlib

import numpy as np
from etils import epath

from trackers.errors import InputError
from trackers.io import limits, outputs

# What damaged or hostile content makes the decoders of Python and its libraries raise. RuntimeError covers
# RecursionError and NotImplementedError, ArithmeticError OverflowError, ValueError UnicodeDecodeError and JSON's.
DAMAGE = (
    *(OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError),
    *(MemoryError, SyntaxError, struct.error, zlib.error, zipfile.BadZipFile, zipfile.LargeZipFile),
    tokenize.TokenError,
)
_JSON_ESCAPE, _JSON_STRING = re.compile(rb"\\.", re.DOTALL), re.compile(rb'"[^"]*"?')
_NOT_STRUCTURE = bytes(set(range(256)) - set(b'"[]{}'))


@contextlib.contextmanager
def naming(source, remedy=""):
    """Turns what damage raises inside into an InputError "SOURCE is damaged (reason): REMEDY"."""
    try:
        yield
    except InputError:
        raise
    except DAMAGE as error:
        raise InputError(f"{source} is damaged ({reason(error)})" + (f": {remedy}" if remedy else "")) from error


def reason(error):
    """An exception as some words in one line."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, MemoryError):
        return "it asks for more memory than there is"
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    kind = type(error).__name__
    return (f"{kind}: {text}" if isinstance(error, LookupError) else text)[:160] or kind


def read_bytes(path, expected, limit=limits.TEXT):
    """The bytes of a file. expected: what it should hold, for the message.

    Raises: InputError where it is missing, a folder, unreadable, or longer than the limit.
    """
    try:
        with epath.Path(path).open("rb") as stream:
            return limits.read(stream, limit, path)
    except InputError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path} is missing: expected {expected}") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder: expected a file of {expected}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)!r} cannot be read ({reason(error)}): expected {expected}") from None


def read_text(path, expected, limit=limits.TEXT):
    """The text of a file, lines ended by \\n. Arguments and errors as read_bytes; also where it is not UTF-8."""
    return decode(read_bytes(path, expected, limit), path, expected)


def decode(data, path, expected):
    """Bytes of a UTF-8 file as text without byte order mark, lines ended by \\n. Raises: InputError."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not text (byte {error.start} is not UTF-8): expected {expected}; save it as UTF-8"
        ) from None
    if "\0" in text:
        raise InputError(f"{path} is not text (it holds zero bytes): expected {expected}; save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def read_lines(path, expected):
    """Non-empty lines of a text file, stripped. Raises: InputError as read_text."""
    return [line.strip() for line in read_text(path, expected).splitlines() if line.strip()]


def read_names(path, expected):
    """read_lines where each line names folders, NAME or VIDEO+PHRASE. Raises: InputError also for impossible names."""
    names = read_lines(path, expected)
    for number, name in enumerate(names, 1):
        if any(len(part.encode()) > outputs.LONGEST_NAME for part in re.split("/", name.replace("+", "/", 1))):
            raise InputError(f"{path}: name {number}, {name[:40]!r}..., is too long for a folder: expected {expected}")
    return names


def read_json(path, expected, limit=limits.TEXT):
    """The value in a JSON file. Arguments and errors as read_text; also where it is not JSON, naming the line."""
    return parse_json(read_text(path, expected, limit), path)


def parse_json(text, source):
    """The value of a JSON text.

    Raises: InputError naming `source` (and the line) where it is no JSON, nested deeper than the limit, has a key twice
      in an object, or NaN or Infinity for a number.
    """
    limits.JSON_DEPTH.check(source, _depth(text))
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
        if "\\ud" in text.lower():
            # Escaped halves of a character that are no whole one: nothing could print or write them.
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except json.JSONDecodeError as error:
        raise InputError(f"{source}:{error.lineno}: not JSON ({error.msg}); download it again") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"{source}: not JSON ({reason(error)})") from None


def _depth(text):
    """How many brackets of a JSON text stand inside one another at most."""
    data = text.encode(errors="surrogatepass")
    if b"\\" in data:
        data = _JSON_ESCAPE.sub(b"", data)
    brackets = np.frombuffer(_JSON_STRING.sub(b"", data.translate(None, _NOT_STRUCTURE)), np.uint8)
    opening = (brackets == ord("[")) | (brackets == ord("{"))
    return int(np.cumsum(np.where(opening, np.int8(1), np.int8(-1)), dtype=np.int32).max(initial=0))


def _unique(pairs):
    made = dict(pairs)
    if len(made) != len(pairs):
        seen = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"key {twice[:40]!r} stands twice in an object")
    return made


def _refuse(constant):
    raise ValueError(f"{constant} is not a number")


def printable(text):
    """The text with line breaks, control characters and bytes that are not UTF-8 written as escapes such as \\n."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
