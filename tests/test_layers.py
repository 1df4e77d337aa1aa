"""The rooms of the house, from the ground up: what stands on a floor imports from lower floors only."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# A room is a package, or a module of `trackers`. Rooms of one floor don't know of each other.
FLOORS = (
    ("trackers.platforms", "trackers.progress", "trackers.quiet", "trackers.signals", "trackers.io.numbers"),
    ("trackers.errors",),
    ("configs",),
    ("trackers.ops", "trackers.io"),
    ("trackers.nn",),
    ("trackers.models",),
    ("trackers",),
    ("trackers.convert", "trackers.objectives"),
    ("trackers.weights",),
    ("trackers.tracking", "trackers.training"),
    ("data_pipelines",),
    ("trackers.evaluation",),
    ("trackers.planning", "trackers.specialise", "trackers.export"),
    ("train", "refer", "__main__"),
    ("eval", "track"),
    ("plan",),
    ("benchmarks", "experiments"),
)
FLOOR_OF = {room: number for number, floor in enumerate(FLOORS) for room in floor}
LONGEST, LONGEST_TRAIN = 450, 320
DEFINITIONS = (ast.FunctionDef, ast.ClassDef)
# What `trackers` needs besides jax, flax, optax, orbax and numpy is imported where it is used.
HEAVY = ("tensorflow", "tensorflow_datasets", "ml_collections", "torch", "matplotlib", "tqdm", "cv2", "PIL")


def room_of(module):
    """The room that a module of the house stands in, None for others. Every __main__.py is a program."""
    parts = module.split(".")
    if parts[-1] == "__main__":
        return "__main__"
    names = [".".join(parts[: i + 1]) for i in range(len(parts))]
    return next((name for name in reversed(names) if name in FLOOR_OF), None)


def sources():
    """{module: its syntax tree} of everything but tests."""
    folders = {room.split(".")[0] for room in FLOOR_OF}
    files = [file for folder in folders for file in ((ROOT / folder).rglob("*.py"), [ROOT / f"{folder}.py"])]
    found = {}
    for file in {file for group in files for file in group if file.exists()}:
        name = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found[name] = ast.parse(file.read_text())
    return found


def imported(tree, modules):
    """Modules that a syntax tree names in its imports, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in modules else node.module


def test_every_module_stands_in_a_room():
    homeless = [module for module in sources() if room_of(module) is None]
    assert not homeless, f"name their floor in FLOORS: {homeless}"


def test_imports_point_down_only():
    modules, upward = sources(), []
    for module, tree in sorted(modules.items()):
        here = room_of(module)
        for target in set(imported(tree, modules)):
            there = room_of(target)
            if there not in (None, here) and FLOOR_OF[there] >= FLOOR_OF[here]:
                upward.append(f"{module} (floor {FLOOR_OF[here]}) -> {target} (floor {FLOOR_OF[there]})")
    assert not upward, "\n".join(upward)


def test_heavy_packages_wait_until_they_are_needed():
    early = [
        f"{module}: {name}"
        for module, tree in sources().items()
        if room_of(module).startswith("trackers")
        for name in imported(ast.Module([node for node in tree.body if not isinstance(node, DEFINITIONS)], []), ())
        if name.split(".")[0] in HEAVY
    ]
    assert not early, f"import these inside the functions that need them: {early}"


def test_no_file_is_too_long_to_read():
    lengths = {file: len(file.read_text().splitlines()) for file in ROOT.rglob("*.py") if ".venv" not in file.parts}
    long = {str(file.relative_to(ROOT)): length for file, length in lengths.items() if length > LONGEST}
    assert not long
    assert len((ROOT / "train.py").read_text().splitlines()) <= LONGEST_TRAIN
