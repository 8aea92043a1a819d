"""What `deepkd extract` and `deepkd forge` take."""

from dataclasses import dataclass
from typing import ClassVar

from deepkd.config import Config, setting
from deepkd.errors import ConfigError
from deepkd.settings.choices import DETECTORS, DEVICES, LAYOUTS


@dataclass(frozen=True)
class ExtractConfig(Config):
    """`deepkd extract`: clips to face crops."""

    command: ClassVar[str] = "extract"

    dataset: str = setting("auto", "Layout of the source folders.", choices=("auto", *LAYOUTS))
    frames: int = setting(32, "Frames sampled from each clip, evenly in time.", low=1)
    face_px: int = setting(224, "Side of the crops written, pixels.", low=32, high=1024)
    crop_rule: str | None = setting(
        None,
        "How the square around a face is framed; dfdc unless --margin is given.",
        choices=("dfdc", "tight", "margin"),
    )
    margin: float | None = setting(
        None,
        "Frame a centred square of (1 + this) times the longer side of the face's box.",
        low=0,
        high=4,
    )
    detector: str = setting("mtcnn", "Face detector.", choices=DETECTORS.names)
    device: str = setting("auto", "Where a PyTorch face detector runs.", choices=DEVICES)
    min_face_px: int = setting(
        40, "Smallest face to detect, pixels of the frame after shrinking.", low=12
    )
    max_side_px: int = setting(
        640, "Longer side to which frames are shrunk to detect faces, pixels.", low=64
    )
    min_probability: float = setting(
        0.0, "Faces with a lower probability are dropped.", low=0, high=1
    )
    sure_probability: float = setting(
        0.97,
        "People who never reach this probability are dropped if somebody in the same frame does;"
        " 0 keeps all.",
        low=0,
        high=1,
    )
    faces_per_frame: int = setting(4, "Most faces kept in a frame, the largest first.", low=1)
    people: str = setting(
        "all", "Keep all people of a clip, or only the largest.", choices=("all", "largest")
    )
    image_format: str = setting("jpeg", "Format of the crops.", choices=("jpeg", "png"))
    jpeg_quality: int = setting(95, "Quality of JPEG crops.", low=1, high=100)
    val_share: float = setting(
        0.1, "Share of the originals for val, where the data set has no val split.", low=0, high=1
    )
    test_share: float = setting(
        0.1, "Share of the originals for test, where the data set has no test split.", low=0, high=1
    )
    split_by: str = setting(
        "auto",
        "What lies in one split only: originals, or also people; auto: people, unless one group is"
        " too large.",
        choices=("auto", "identity", "original"),
    )
    workers: int | None = setting(
        None, "Worker processes; by default one per core; 0 works in this process.", low=0
    )
    timeout_s: float = setting(
        600.0,
        "Longest time for one clip, seconds; then it counts as unreadable. 0 for no limit.",
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
        "Blend a face with a changed copy of itself, or with the face of another source.",
        choices=("self-blend", "face-swap"),
    )
    count: int = setting(1, "Forgeries made of each crop or clip.", low=1)
    dataset: str = setting(
        "auto",
        "Layout of the source folders; clips labelled FAKE are left out.",
        choices=("auto", *LAYOUTS),
    )
    frames: int = setting(8, "Frames sampled from each source for crops, evenly in time.", low=1)
    face_px: int = setting(224, "Side of the crops written, pixels.", low=32, high=1024)
    crop_rule: str = setting(
        "dfdc", "How the square around a face is framed.", choices=("dfdc", "tight", "margin")
    )
    seconds: float = setting(
        5.0,
        "Longest clip written, seconds; a still becomes a clip of this length.",
        low=0.1,
        high=600,
    )
    val_share: float = setting(0.1, "Share of the sources for val.", low=0, high=1)
    test_share: float = setting(0.1, "Share of the sources for test.", low=0, high=1)
    seed: int = setting(0, "Seed of everything that is drawn.", low=0)
    detector: str = setting("mtcnn", "Face detector.", choices=DETECTORS.names)
    device: str = setting("auto", "Where a PyTorch face detector runs.", choices=DEVICES)

    def check(self) -> None:
        """Refuse shares that leave nothing to train on."""
        _check_shares(self.val_share, self.test_share)


def _check_shares(val: float, test: float) -> None:
    if val + test >= 1:
        raise ConfigError(
            "--val-share and --test-share leave nothing for training; their sum must be below 1"
        )
