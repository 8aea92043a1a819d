"""What `deepkd evaluate` and `deepkd benchmark` take."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar

from deepkd.config import Config, setting
from deepkd.errors import ConfigError
from deepkd.settings.choices import DEVICES, LAYOUTS, RUNTIMES


@dataclass(frozen=True)
class EvaluateConfig(Config):
    """`deepkd evaluate`: models on labelled crops or videos."""

    command: ClassVar[str] = "evaluate"

    data: Path | None = setting(
        None,
        "Folder of crops with its index.csv, of pictures in SPLIT/CLASS/, or of videos: a data set,"
        " folders real and fake, a list (CSV).",
    )
    dataset: str = setting(
        "auto",
        "Layout of a folder of videos; any but auto takes pictures without an index for stills, as"
        " detect would.",
        choices=("auto", *LAYOUTS),
    )
    split: str = setting(
        "test",
        "Split to evaluate on, as the index or data set has it; `all` takes everything. Where a"
        " data set of videos ships none of that name, it is drawn as extract draws it by default.",
    )
    limit: int | None = setting(
        None, "Evaluate on about so many crops or videos, whole families.", low=1
    )
    frames: int = setting(16, "Frames sampled from each video at least, evenly in time.", low=1)
    perturb: str | None = setting(
        None,
        "Measure robustness too, on damaged crops or videos: `all`, or NAME or NAME:LEVEL, parted"
        " by commas.",
    )
    allow_training_data: bool = setting(
        False, "Evaluate even on what a model was trained on; the report says so."
    )
    threshold: float | None = setting(
        None,
        "Probability from which a crop or video counts as FAKE; by default each model's own.",
        low=0,
        high=1,
    )
    prevalence: float = setting(
        0.01,
        "Share of forgeries among what a user meets, which the precision supposes.",
        low=0,
        high=1,
    )
    batch: int = setting(64, "Crops decoded and scored together.", low=1)
    resamples: int = setting(
        1000, "Bootstrap resamples behind the 95% intervals; 0 leaves them out.", low=0
    )
    features_limit: int = setting(
        1000, "Crops at most, drawn at random, whose features --features draws.", low=5
    )
    seed: int = setting(0, "Seed of the resampling, and of what --features draws.", low=0)
    device: str = setting("auto", "Where PyTorch models run.", choices=DEVICES)
    format: str = setting("table", "What to print.", choices=("table", "json", "csv"))


@dataclass(frozen=True)
class BenchmarkConfig(Config):
    """`deepkd benchmark`: size and speed of a teacher and a student, in turn."""

    command: ClassVar[str] = "benchmark"

    teacher: str | None = setting(
        None,
        "The large model. Without any model named it is cross-efficient-vit, untrained, for its"
        " size and speed.",
    )
    student: str | None = setting(
        None, "The small model. Without any model named it is the shipped deepkd-nano."
    )
    runs: int = setting(50, "Timed runs of each model, in turn.", low=3)
    batch: int = setting(32, "Crops per call when throughput is measured, 32 at most.", low=1)
    threads: int | None = setting(
        None, "CPU threads of every runtime; by default all cores.", low=1
    )
    runtime: str = setting(
        "onnxruntime",
        "What computes ONNX files; openvino takes deepkd's extra of that name.",
        choices=RUNTIMES.names,
    )
    data: Path | None = setting(None, "Folder of labelled crops to measure AUC on.")
    split: str = setting(
        "test", "Split of the index that AUC is measured on; `all` takes every row."
    )
    limit: int | None = setting(None, "Measure AUC on about so many crops, whole families.", low=1)
    allow_training_data: bool = setting(
        False, "Measure AUC even on what a model was trained on; the report says so."
    )
    video: Path | None = setting(None, "Clip to time from decoding to verdict, with each model.")
    video_runs: int = setting(3, "Timed runs of the clip with each model, in turn.", low=1)
    frames: int = setting(16, "Frames sampled from the clip.", low=1)
    format: str = setting("table", "What to print.", choices=("table", "json", "csv"))

    def check(self) -> None:
        """No model is called with more crops than `MAX_BATCH`, and what is said of crops or a clip takes some."""
        if self.batch > MAX_BATCH:
            raise ConfigError(
                f"batch={self.batch}: models are called with {MAX_BATCH} crops at most, which keeps"
                f" memory flat; give --batch {MAX_BATCH} or less"
            )
        for source, (names, use) in IDLE_WITHOUT.items():
            given = [
                item
                for item in fields(self)
                if item.name in names and getattr(self, item.name) != item.default
            ]
            if given and getattr(self, source) is None:
                values = ", ".join(f"{item.name}={getattr(self, item.name)}" for item in given)
                flags = ", ".join(f"--{item.name.replace('_', '-')}" for item in given)
                raise ConfigError(
                    f"{values}: for {use}, which takes --{source}; give it, or leave out {flags}"
                )


MAX_BATCH = 32
"""Crops that `deepkd.scoring.model` and PyTorch's models take per call: a larger batch would be
measured in parts."""
IDLE_WITHOUT = {
    "data": (("split", "limit", "allow_training_data"), "AUC on labelled crops"),
    "video": (("video_runs", "frames"), "timing a clip"),
}
"""What a benchmark may be given -> the settings that do nothing without it, and what they are
for."""
