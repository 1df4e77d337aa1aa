"""Plain folders of frames with a box file, your own for example:

    ROOT/SEQUENCE/{00000001.jpg ..., groundtruth.txt}
    ROOT/SEQUENCE/{img/0001.jpg ..., groundtruth_rect.txt}

Either box file goes with either place of the images; a ROOT that is itself a sequence is a source of one. Boxes are
one x,y,w,h a line, separated by comma, semicolon, tab or space, in pixels, kept as they are. Sequences with several
targets (groundtruth_rect.1.txt, .2.txt) become NAME.1, NAME.2.
"""

from etils import epath

from data_pipelines import annotations, trees
from data_pipelines.sources import Facts, Source

FACTS = Facts()
SPLITS = ("train", "test")
_LAYOUT = "SEQUENCE/{00000001.jpg,groundtruth.txt} or SEQUENCE/{img/0001.jpg,groundtruth_rect.txt}"


def open(root, split="train"):
    """The sequence folders in `root` -> Source. Such folders have no splits: train and test are both everything.

    Visible frames: every box with an area; a line of NaN marks a frame without target.
    """
    path = trees.root(root, "frames", split, SPLITS, _LAYOUT)
    found = trees.some("frames", [*targets(path), *targets_in(path)], "sequences", path, _LAYOUT)
    return Source("frames", [name for name, _, _ in found], lambda index: _load(*found[index]))


def holds_sequences(root):
    """Whether `root` is a folder of sequence folders in this layout."""
    path = epath.Path(root)
    return path.is_dir() and bool(targets_in(path))


def targets_in(path):
    """`targets` of the folders in a folder, in natural order of their names."""
    return [target for child in trees.folders(path) for target in targets(child)]


def targets(path):
    """[(name, sequence folder, box file)] of the targets annotated in a sequence folder.

    Of numbered box files empty ones do not count; where one is left the target is named as the folder.
    """
    names = {p.name for p in path.iterdir() if p.name.startswith("groundtruth")}
    for single in ("groundtruth.txt", "groundtruth_rect.txt"):
        if single in names:
            return [(path.name, path, path / single)]
    numbered = sorted(n for n in names if n.startswith("groundtruth_rect.") and n.endswith(".txt"))
    files = [path / name for name in numbered if (path / name).read_bytes().strip()]
    if len(files) == 1 < len(numbered):
        return [(path.name, path, files[0])]
    return [(f"{path.name}.{file.name.split('.')[1]}", path, file) for file in files]


def images(path):
    """The folder of a sequence folder's frames."""
    return path / "img" if (path / "img").is_dir() else path


def _load(name, path, boxes_file):
    return annotations.video(name, images(path), boxes_file)
