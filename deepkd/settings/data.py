"""Settings of `deepkd extract` and `deepkd forge`."""

from dataclasses import dataclass
from typing import ClassVar

from deepkd.config import Config, setting
from deepkd.errors import ConfigError
from deepkd.settings.choices import DETECTORS, DEVICES, LAYOUTS


@dataclass(frozen=True)
class ExtractConfig(Config):
    """`deepkd extract`: clips to face crops."""

    command: ClassVar[str] = "extract"

    dataset: str = setting(
        "auto", "Layout of the source folders; auto detects it.", choices=("auto", *LAYOUTS)
    )
    frames: int = setting(32, "Frames to sample from each clip, evenly spaced.", low=1)
    face_px: int = setting(224, "Side of the crops, pixels.", low=32, high=1024)
    crop_rule: str | None = setting(
        None,
        "How the square around a face is cut; by default dfdc.",
        choices=("dfdc", "tight", "margin"),
    )
    margin: float | None = setting(
        None,
        "Instead of --crop-rule: a centred square, 1 + MARGIN times the longer side of the face's"
        " box.",
        low=0,
        high=4,
    )
    detector: str = setting("mtcnn", "Face detector.", choices=DETECTORS.names)
    device: str = setting("auto", "Device of the face detector mtcnn-torch.", choices=DEVICES)
    min_face_px: int = setting(
        40,
        "Smallest face to detect, pixels of the frame that --max-side-px has shrunk.",
        low=12,
        rare=True,
    )
    max_side_px: int = setting(
        640, "Shrink frames to this longer side to detect faces, pixels.", low=64, rare=True
    )
    min_probability: float = setting(
        0.0, "Drop faces to which the detector gives a lower probability.", low=0, high=1, rare=True
    )
    sure_probability: float = setting(
        0.97,
        "Drop people who stay below this face probability, if another person in the same frame "
        "reaches it; 0 keeps all.",
        low=0,
        high=1,
        rare=True,
    )
    faces_per_frame: int = setting(
        4,
        "Largest number of faces to keep in a frame; smaller faces are dropped first.",
        low=1,
        rare=True,
    )
    people: str = setting(
        "all",
        "People to keep in a clip: all, or only the one with the largest face.",
        choices=("all", "largest"),
        rare=True,
    )
    image_format: str = setting("jpeg", "Format of the crops.", choices=("jpeg", "png"), rare=True)
    jpeg_quality: int = setting(95, "Quality of JPEG crops.", low=1, high=100, rare=True)
    val_share: float = setting(
        0.1, "Share of the originals for the split val, if the data set has none.", low=0, high=1
    )
    test_share: float = setting(
        0.1, "Share of the originals for the split test, if the data set has none.", low=0, high=1
    )
    split_by: str = setting(
        "auto",
        "Keep in one split all clips of an original (original), or also of a person (identity); "
        "auto is identity, unless one group of people is too large.",
        choices=("auto", "identity", "original"),
        rare=True,
    )
    workers: int | None = setting(
        None, "Worker processes; by default one per core; 0 uses this process only.", low=0
    )
    timeout_s: float = setting(
        600.0,
        "Longest time for one clip, seconds; a slower clip counts as unreadable. 0 is no limit.",
        low=0,
    )

    def check(self) -> None:
        """Refuse two crop rules at once, and shares that leave nothing to train on."""
        if self.margin is not None and self.crop_rule is not None:
            raise ConfigError(
                f"--margin {self.margin:g} and --crop-rule {self.crop_rule} contradict; give one of"
                " them"
            )
        _check_shares(self.val_share, self.test_share)


@dataclass(frozen=True)
class ForgeConfig(Config):
    """`deepkd forge`: real faces to labelled forgeries."""

    command: ClassVar[str] = "forge"

    kind: str = setting(
        "crops", "What to write: crops with an index, or clips.", choices=("crops", "clips")
    )
    method: str = setting(
        "self-blend",
        "Blend a face with a changed copy of itself, or with a face from another source.",
        choices=("self-blend", "face-swap"),
    )
    count: int = setting(1, "Forgeries to make from each crop or clip.", low=1)
    dataset: str = setting(
        "auto",
        "Layout of the source folders; auto detects it. Clips with the label FAKE are left out.",
        choices=("auto", *LAYOUTS),
    )
    frames: int = setting(8, "Frames to sample from each source for crops, evenly spaced.", low=1)
    face_px: int = setting(224, "Side of the crops, pixels.", low=32, high=1024)
    crop_rule: str = setting(
        "dfdc",
        "How the square around a face is cut.",
        choices=("dfdc", "tight", "margin"),
        rare=True,
    )
    seconds: float = setting(
        5.0,
        "Longest clip to write, seconds; an image becomes a clip of this length.",
        low=0.1,
        high=600,
    )
    val_share: float = setting(0.1, "Share of the sources for the split val.", low=0, high=1)
    test_share: float = setting(0.1, "Share of the sources for the split test.", low=0, high=1)
    seed: int = setting(0, "Seed of the random numbers.", low=0)
    detector: str = setting("mtcnn", "Face detector.", choices=DETECTORS.names, rare=True)
    device: str = setting(
        "auto", "Device of the face detector mtcnn-torch.", choices=DEVICES, rare=True
    )

    def check(self) -> None:
        """Refuse shares that leave nothing to train on."""
        _check_shares(self.val_share, self.test_share)


def _check_shares(val: float, test: float) -> None:
    if val + test >= 1:
        raise ConfigError(
            "--val-share and --test-share leave nothing for training; their sum must be below 1"
        )
