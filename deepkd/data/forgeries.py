"""What all forging shares: the methods, the donors, and the tally of what was made."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deepkd.data.chance import chance
from deepkd.data.forgery import Landmarks, self_blend, swap_face
from deepkd.errors import DataError
from deepkd.images import Image
from deepkd.settings.data import ForgeConfig

Progress = Callable[[int, int], None]
"""Called with how many sources are done and how many there are."""


@dataclass(frozen=True)
class Portrait:
    """A face and where it is."""

    image: Image
    """RGB, uint8, (height, width, 3)."""
    landmarks: Landmarks
    """(5, 2), pixels."""


@dataclass(frozen=True)
class Method:
    """One way to forge a face."""

    needs_donor: bool
    """Whether it takes the face of another source."""
    apply: Callable[[Portrait, Portrait | None, np.random.Generator, bool], Image]
    """(face, donor, source of chance, whether all around the face has to stay) -> the forged
    picture."""


@dataclass
class Forged:
    """What a run has made."""

    out: Path
    real: int = 0
    """Crops or clips labelled REAL."""
    fake: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    """(source, why it could not be read)."""
    no_face: list[tuple[str, str]] = field(default_factory=list)
    """(source, why there was no face to forge)."""
    warnings: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0: all sources were read; 3: some were not."""
        return 3 if self.failed else 0


def check_people(splits: Mapping[str, str], config: ForgeConfig, made: Forged) -> None:
    """Refuse to go on without a face, or to swap faces without so many others in the same split.

    Args:
        splits: original with a face -> the split that it is in.
        config: method and count.
        made: what was found out about the sources.

    Raises:
        DataError: naming what the first sources lack.
    """
    if not splits:
        reasons = "; ".join(f"{name}: {why}" for name, why in [*made.failed, *made.no_face][:3])
        raise DataError(f"no face to forge: {reasons}")
    needed = 1 + config.count * METHODS[config.method].needs_donor
    counts = Counter(splits.values())
    split, people = min(counts.items(), key=lambda item: item[1])
    if people < needed:
        where = f" in the split {split}, so that nobody is in two splits" if len(counts) > 1 else ""
        less = "; give --val-share 0 --test-share 0" if where else ""
        raise DataError(
            f"--method {config.method} --count {config.count} needs the faces of {needed}"
            f" sources{where}, and {people} show{'s' if people == 1 else ''} one{less}; add others,"
            " or take --method self-blend"
        )


def donor_of(original: str, splits: Mapping[str, str], number: int, config: ForgeConfig) -> str:
    """The original whose face the forgery `number` (from 0) of another one gets: a different one each time.

    Args:
        original: the one that is forged.
        splits: all originals with a face -> the split that each is in; a face never goes to another
            one.
        number: of the forgery.
        config: its seed decides.
    """
    others = sorted(
        other for other, split in splits.items() if split == splits[original] and other != original
    )
    return str(chance(config.seed, "donor", original).permutation(others)[number % len(others)])


def variant(config: ForgeConfig, number: int) -> str:
    """What the forgeries of one pass are called: the method, with a number from the second on."""
    return config.method if number == 0 else f"{config.method}-{number + 1}"


def _self_blend(
    face: Portrait, donor: Portrait | None, rng: np.random.Generator, keep: bool
) -> Image:
    return self_blend(face.image, face.landmarks, rng, keep_surroundings=keep)


def _face_swap(
    face: Portrait, donor: Portrait | None, rng: np.random.Generator, keep: bool
) -> Image:
    assert donor is not None
    return swap_face(donor.image, donor.landmarks, face.image, face.landmarks)


METHODS = {"self-blend": Method(False, _self_blend), "face-swap": Method(True, _face_swap)}
"""Name -> how a face is forged."""
