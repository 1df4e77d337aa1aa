"""What makes the sequences of a benchmark hard, where the set or its toolkit says so: attributes such as occlusion.

    lasot, lasot_ext    ROOT/annos/att/SEQUENCE.txt                     14 flags   the toolkit's annos, unpacked in ROOT
    tnl2k               ROOT/annos/att/SEQUENCE_attribute.txt           17 flags   the same
    vasttrack           ROOT/annos/att/SEQUENCE.txt                     10 flags   the same
    uav123              ROOT/anno/UAV123/att/SEQUENCE.txt               12 flags   in the data set
    uav20l              ROOT/anno/UAV20L/att/SEQUENCE.txt               12 flags   the same
    trek150             ROOT/SEQUENCE/attributes.txt                    codes, one a line

Flags are 0 or 1, separated by commas or lines. The other sets have none that are known here for whole sequences.
"""

import dataclasses

from etils import epath

from data_pipelines import annotations, sources


@dataclasses.dataclass(frozen=True)
class Flags:
    """file: of a sequence below the root, its name in place of {}.

    codes: what each flag stands for, in order; empty where the file lists the codes that hold.
    """

    file: str
    codes: tuple


_LASOT = "IV POC DEF MB CM ROT BC VC SV FOC FM OV LR ARC"
_TNL2K = "CM ROT DEF FOC IV OV POC VC SV BC MB ARC LR FM AS TC MS"
_VASTTRACK = "LR SV FM ARC IV INV DEF ROT BC MB"
_UAV = "IV SV POC FOC OV FM CM BC SOB ARC VC LR"
# Layout -> its flags.
FLAGS = {
    "lasot": Flags("annos/att/{}.txt", tuple(_LASOT.split())),
    "lasot_ext": Flags("annos/att/{}.txt", tuple(_LASOT.split())),
    "tnl2k": Flags("annos/att/{}_attribute.txt", tuple(_TNL2K.split())),
    "uav123": Flags("anno/UAV123/att/{}.txt", tuple(_UAV.split())),
    "uav20l": Flags("anno/UAV20L/att/{}.txt", tuple(_UAV.split())),
    "vasttrack": Flags("annos/att/{}.txt", tuple(_VASTTRACK.split())),
    "trek150": Flags("{}/attributes.txt", ()),
}
# Of the codes of flags; those that TREK-150 lists beyond them are in its paper's Table 2.
NAMES = {
    "ARC": "aspect ratio change",
    "AS": "adversarial sample",
    "BC": "background clutter",
    "CM": "camera motion",
    "DEF": "deformation",
    "FM": "fast motion",
    "FOC": "full occlusion",
    "INV": "invisibility",
    "IV": "illumination variation",
    "LR": "low resolution",
    "MB": "motion blur",
    "MS": "modality switch",
    "OV": "out of view",
    "POC": "partial occlusion",
    "ROT": "rotation",
    "SOB": "similar object",
    "SV": "scale variation",
    "TC": "thermal crossover",
    "VC": "viewpoint change",
}


def read(spec, names):
    """{code: [sequence, ...]} of a benchmark, in the order of its codes; empty where there are no attributes.

    Args: spec: "BENCHMARK:PATH" as sources.open_sequences takes it. names: of the sequences, those that count.

    Raises: InputError naming the file where some sequences have one and this is missing, or it has other flags.
    """
    benchmark, _, path = spec.partition(":")
    flags = FLAGS.get(sources.LAYOUTS.get(benchmark))
    if flags is None:
        return {}
    root = epath.Path(sources.folder_of(path))
    files = {name: root / flags.file.format(name) for name in names}
    if not any(file.exists() for file in files.values()):
        return {}
    if flags.codes:
        rows = {name: annotations.read_flags(file, len(flags.codes)) for name, file in files.items()}
        return {code: [name for name in names if rows[name][k]] for k, code in enumerate(flags.codes)}
    listed = {name: annotations.read_list(file, "codes of attributes, one a line") for name, file in files.items()}
    codes = sorted({code for some in listed.values() for code in some})
    return {code: [name for name in names if code in listed[name]] for code in codes}
