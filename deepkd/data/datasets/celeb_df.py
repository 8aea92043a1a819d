"""Celeb-DF, by the folders of the official download.

Celeb-real/, YouTube-real/, Celeb-synthesis/
List_of_testing_videos.txt     optional: the official test videos; here 1 means REAL
"""

import re
from pathlib import Path, PurePosixPath

from deepkd.data.clips import FAKE, REAL, Clip, Layout, Warn, find_videos
from deepkd.errors import DataError
from deepkd.text import open_text

LABELS = {"celeb-real": REAL, "youtube-real": REAL, "celeb-synthesis": FAKE}
"""Name of a folder in lower case -> label of the clips in it."""
TEST_LIST = "List_of_testing_videos.txt"


def find_folders(root: Path) -> list[Path]:
    """Find the folders of the data set in `root`; none where it cannot be read."""
    try:
        return sorted(
            path for path in root.iterdir() if path.name.lower() in LABELS and path.is_dir()
        )
    except OSError:
        return []


def read_celeb_df(root: Path, warn: Warn) -> list[Clip]:
    """Read the clips of the data set; warn of test videos that are not on disk."""
    folders = find_folders(root)
    if not folders:
        raise DataError(
            f"{root}: has no Celeb-real, YouTube-real or Celeb-synthesis; give the Celeb-DF folder"
        )
    tests = _read_tests(root)
    clips = [_make_clip(path, root, tests) for path in find_videos(folders, warn)]
    here = {clip.video.partition("/")[0].lower() + "/" + clip.path.name for clip in clips}
    missing = [name for name in ("/".join(key) for key in tests) if name not in here]
    if missing:
        warn(
            f"{root / TEST_LIST}: {len(missing)} of {len(tests)} clips are not on disk, e.g."
            f" {missing[0]}; they are left out"
        )
    return clips


def _make_clip(path: Path, root: Path, tests: dict[tuple[str, str], str]) -> Clip:
    folder, name = path.relative_to(root).parts[0], path.name
    label = LABELS[folder.lower()]
    listed = tests.get((folder.lower(), name))
    if listed not in (None, label):
        raise DataError(
            f"{root / TEST_LIST}: {folder}/{name} is listed as {listed}; in this list 1 means REAL"
        )
    fake = re.fullmatch(r"(id\d+)_(id\d+)_(\d+)", path.stem) if label == FAKE else None
    people = fake.group(1, 2) if fake else re.findall(r"^(id\d+)_", path.stem)
    return Clip(
        path,
        label,
        video=f"{folder}/{name}",
        original=f"Celeb-real/{fake[1]}_{fake[3]}{path.suffix}" if fake else f"{folder}/{name}",
        dataset="celeb-df",
        method="Celeb-synthesis" if label == FAKE else "",
        split="test" if listed else "",
        identities=tuple(people),
    )


def _read_tests(root: Path) -> dict[tuple[str, str], str]:
    """(folder in lower case, file name) -> label, of the official test videos."""
    path = root / TEST_LIST
    if not path.is_file():
        return {}
    try:
        with open_text(path) as listing:
            lines = listing.read().splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    tests = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            flag, _, name = line.strip().partition(" ")
            if flag not in ("0", "1") or "/" not in name:
                raise DataError(f"{path}:{number}: not a line such as `1 YouTube-real/00170.mp4`")
            file = PurePosixPath(name.strip())
            tests[(file.parts[0].lower(), file.name)] = REAL if flag == "1" else FAKE
    return tests


CELEB_DF = Layout(fits=lambda folder: bool(find_folders(folder)), read=read_celeb_df)
