"""Finding the sequences of a data set on disk: splits, lists of names, folders of sequences.

Every failure is an InputError that names the data set, what was looked for, and the layout that is expected.
"""

import itertools

from data_pipelines import annotations
from trackers import errors
from trackers.io.numbers import counted


def root(path, name, split, splits, layout):
    """The folder of data set `name` as a path, the split being one of it.

    layout: what the folder should hold, in some words for the message.
    """
    if split not in splits:
        raise errors.InputError(f"{name} has no split {split!r}: use one of {', '.join(splits)}")
    return annotations.folder(path, name, layout)


def folders_with(path, files, deepest=1):
    """{name: folder} of the folders at most `deepest` below `path` that hold one of `files`, in natural order.

    A folder that does is not looked into. Raises: InputError for two of one name.
    """
    found, level = {}, [path]
    for _ in range(deepest):
        level = sorted((child for parent in level for child in folders(parent)), key=_in_order)
        inside = [any((folder / file).exists() for file in files) for folder in level]
        for folder in itertools.compress(level, inside):
            if folder.name in found:
                raise errors.InputError(f"{folder} and {found[folder.name]} have one name: keep one of the two")
            found[folder.name] = folder
        level = [folder for folder, is_sequence in zip(level, inside, strict=True) if not is_sequence]
    return dict(sorted(found.items(), key=lambda item: annotations.natural_key(item[0])))


def folders(path):
    """The folders directly in `path`, in natural order, but for hidden ones and what a Mac packs beside them."""
    return sorted((p for p in path.iterdir() if p.is_dir() and not p.name.startswith((".", "__MACOSX"))), key=_in_order)


def _in_order(path):
    return annotations.natural_key(path.name)


def box_files(path):
    """Names without .txt of the box files SEQUENCE.txt in folder `path`, in natural order; hidden files are none."""
    names = (file.name for file in path.iterdir())
    return sorted((n[:-4] for n in names if n.endswith(".txt") and not n.startswith(".")), key=annotations.natural_key)


def listed(name, listing, found, layout):
    """The names in file `listing`, in its order, each of which is in `found`. Raises: InputError naming the first."""
    names = annotations.read_list(listing, "the names of the split's sequences, one a line")
    missing = [one for one in names if one not in found]
    if missing:
        raise errors.InputError(
            f"{name}: {len(missing)} of the {counted(len(names), 'sequence')} in {listing} are not there, the first is"
            f" {missing[0]}; expected {layout} (unpack it, or shorten the list)"
        )
    return names


def folders_in(path):
    """`path` and the folders below it at any depth, in natural order; hidden ones are left out."""
    return [path, *(folder for child in folders(path) for folder in folders_in(child))]


def part(name, items, split, what, path, layout):
    """The last tenth of the items, at least one, for split "validation", the others for "train".

    Raises: InputError where there are no two items. what, path, layout: for the message, as of `some`.
    """
    if len(items) < 2:
        raise errors.InputError(
            f"{name}: {len(items)} {what} in {path}, at least 2 are needed to hold one out; expected {layout}"
        )
    held_out = max(1, len(items) // 10)
    return items[-held_out:] if split == "validation" else items[:-held_out]


def some(name, names, what, path, layout):
    """The names. Raises: InputError where there are none. what: as "sequences" or "train annotations"."""
    if not names:
        raise errors.InputError(f"{name}: no {what} in {path}; expected {layout}")
    return names
