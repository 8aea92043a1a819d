"""Folders of clips, labelled by names such as `real` and `fake`, or not labelled at all."""

import os
from pathlib import Path, PurePosixPath

from deepkd.data.clips import FOLDER_LABELS, LOOSE, SPLITS, UNKNOWN, Clip, Layout, Warn
from deepkd.video.sources import Source, find_sources

FOLDERS_ABOVE = 3
"""How many folders above a file that the user names can give its class and its split:
`test/real/PERSON/`."""


def read_folder(root: Path, warn: Warn) -> list[Clip]:
    """Read the clips below a folder; those in no folder named after a class have no label.

    `real/` and `fake/` can lie at any depth, also within `train/`, `val/` or `test/`.
    """
    top = root.resolve()
    above = top.parent.parts[1 - FOLDERS_ABOVE :]
    clips = []
    for source in find_sources([str(root)]):
        is_root = source.path == root
        name = PurePosixPath(top.name if is_root else source.path.relative_to(root))
        clips.append(make_clip(source, str(name), (top.name, *name.parent.parts), above))
    return clips


def read_file(source: Source) -> Clip:
    """The clip of a file that the user names by itself."""
    path = Path(os.path.abspath(source.path))
    return make_clip(source, source.path.name, (), path.parent.parts[-FOLDERS_ABOVE:])


def make_clip(source: Source, name: str, folders: tuple[str, ...], above: tuple[str, ...]) -> Clip:
    """Make a clip from a file, with the label and the split that its folders give.

    The nearest folder with the name of a class gives the label, the nearest with the name of a
    split the split.

    Args:
        source: the file.
        name: the clip's name.
        folders: the folders that the user gave or that lie below them, the nearest last.
        above: the folders above those. Of these, only the one right above the folder of a class can
            give the split: others say where the data lie, not what they are.
    """
    near = [folder.lower() for folder in reversed((*above, *folders))]
    known = next((at for at, folder in enumerate(near) if folder in FOLDER_LABELS), None)
    if known is None:
        return Clip(source.path, UNKNOWN, name, name, LOOSE, problem=source.problem)
    counted = near[: max(len(folders), known + 2)]
    split = next((SPLITS[folder] for folder in counted if folder in SPLITS), "")
    label = FOLDER_LABELS[near[known]]
    return Clip(source.path, label, name, name, LOOSE, split=split, problem=source.problem)


def has_class_folders(root: Path) -> bool:
    """Whether there is a folder in `root` with the name of a class."""
    try:
        return any(
            name.lower() in FOLDER_LABELS and (root / name).is_dir() for name in os.listdir(root)
        )
    except OSError:
        return False


FOLDER = Layout(fits=lambda folder: True, read=read_folder)
