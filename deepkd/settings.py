"""The settings of every command. Light on purpose: `--help` reads it and nothing heavier."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from deepkd.config import Config, setting

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class ExtractConfig(Config):
    """`deepkd extract`: clips to face crops."""

    command: ClassVar[str] = "extract"

    frames: int = setting(32, "Frames sampled from each clip, evenly in time.", low=1)
    face_px: int = setting(224, "Side of the crops written, pixels.", low=32, high=1024)


@dataclass(frozen=True)
class DetectConfig(Config):
    """`deepkd detect`: clips to verdicts."""

    command: ClassVar[str] = "detect"

    frames: int = setting(16, "Frames sampled from each clip, evenly in time.", low=1)


@dataclass(frozen=True)
class EvaluateConfig(Config):
    """`deepkd evaluate`: models on a labelled index of crops."""

    command: ClassVar[str] = "evaluate"

    data: Path | None = setting(None, "Folder of crops with its index.csv (folder or tar shards).")
    split: str = setting("test", "Split of the index to evaluate on.")
    limit: int | None = setting(None, "Only the first so many crops of the split.", low=1)
    threshold: float = setting(0.5, "Probability from which a crop counts as FAKE, for the accuracy.", low=0, high=1)
    batch: int = setting(64, "Crops decoded and scored together.", low=1)
    resamples: int = setting(1000, "Bootstrap resamples behind the 95% intervals; 0 leaves them out.", low=0)
    seed: int = setting(0, "Seed of the resampling.", low=0)
    device: str = setting("auto", "Where PyTorch models run.", choices=DEVICES)


@dataclass(frozen=True)
class BenchmarkConfig(Config):
    """`deepkd benchmark`: size and speed of a teacher and a student, in turn."""

    command: ClassVar[str] = "benchmark"

    runs: int = setting(50, "Timed runs of each model.", low=3)
    data: Path | None = setting(None, "Index of crops to measure AUC on.")
