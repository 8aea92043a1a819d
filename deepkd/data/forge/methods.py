"""The methods of forging, the choice of donors, and the summary of a run."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deepkd.data.chance import chance
from deepkd.data.forge.blending import Landmarks, self_blend, swap_face
from deepkd.errors import DataError
from deepkd.images import Image
from deepkd.settings.data import ForgeConfig

Progress = Callable[[int, int], None]
"""Called with how many sources are done and how many there are."""


@dataclass(frozen=True)
class Portrait:
    """A picture of a face with its landmarks."""

    image: Image
    """RGB, uint8, (height, width, 3)."""
    landmarks: Landmarks
    """(5, 2), pixels."""


@dataclass(frozen=True)
class Method:
    """One way to forge a face."""

    needs_donor: bool
    """Whether it needs the face of another source."""
    apply: Callable[[Portrait, Portrait | None, np.random.Generator, bool], Image]
    """(face, donor, random generator, whether to change nothing around the face) -> the forged
    picture."""


@dataclass
class Summary:
    """The result of a run."""

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


def check_people(splits: Mapping[str, str], config: ForgeConfig, summary: Summary) -> None:
    """Refuse a run without faces, or a swap with too few people in a split.

    Args:
        splits: original with a face -> the split that it is in.
        config: method and count.
        summary: of the run, to name sources without a face.

    Raises:
        DataError: there is no face, or too few people; it names the first reasons.
    """
    if not splits:
        reasons = "; ".join(
            f"{name}: {why}" for name, why in [*summary.failed, *summary.no_face][:3]
        )
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


def choose_donor(original: str, splits: Mapping[str, str], number: int, config: ForgeConfig) -> str:
    """Choose the original that gives its face to a forgery: another one for each number.

    Args:
        original: the original that is forged.
        splits: original -> its split, for all originals with a face; the donor is of the same
            split.
        number: of the forgery of this original, from 0.
        config: with the seed.
    """
    others = sorted(
        other for other, split in splits.items() if split == splits[original] and other != original
    )
    return str(chance(config.seed, "donor", original).permutation(others)[number % len(others)])


def name_variant(config: ForgeConfig, number: int) -> str:
    """Name the forgeries of one number: the method, with a number from the second on."""
    return config.method if number == 0 else f"{config.method}-{number + 1}"


def _forge_self_blend(
    face: Portrait, donor: Portrait | None, rng: np.random.Generator, keep: bool
) -> Image:
    return self_blend(face.image, face.landmarks, rng, keep_surroundings=keep)


def _forge_face_swap(
    face: Portrait, donor: Portrait | None, rng: np.random.Generator, keep: bool
) -> Image:
    assert donor is not None
    return swap_face(donor.image, donor.landmarks, face.image, face.landmarks)


METHODS = {
    "self-blend": Method(False, _forge_self_blend),
    "face-swap": Method(True, _forge_face_swap),
}
"""Name -> how a face is forged."""
