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

    split: str = setting("test", "Split of the index to evaluate on.")


@dataclass(frozen=True)
class BenchmarkConfig(Config):
    """`deepkd benchmark`: size and speed of a teacher and a student, in turn."""

    command: ClassVar[str] = "benchmark"

    runs: int = setting(50, "Timed runs of each model.", low=3)
    data: Path | None = setting(None, "Index of crops to measure AUC on.")
