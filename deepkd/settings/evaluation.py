"""Settings of `deepkd evaluate` and `deepkd benchmark`."""

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
        "Folder of crops with index.csv, of pictures in SPLIT/CLASS/, or of videos (a published "
        "data set, or folders real and fake); or a CSV list of videos.",
    )
    dataset: str = setting(
        "auto",
        "Layout of a folder of videos. With any value but auto, pictures without an index are "
        "judged as detect judges images.",
        choices=("auto", *LAYOUTS),
        rare=True,
    )
    split: str = setting(
        "test",
        "Split to evaluate on; `all` takes everything. Videos without splits are split as by "
        "extract.",
    )
    limit: int | None = setting(
        None,
        "Evaluate on about this number of crops or videos; an original and its forgeries stay "
        "together.",
        low=1,
    )
    frames: int = setting(
        16, "Least number of frames to sample from each video, evenly spaced.", low=1
    )
    perturb: str | None = setting(
        None,
        "Also measure on corrupted crops or videos: `all`, or NAME or NAME:LEVEL, separated by "
        "commas.",
    )
    allow_training_data: bool = setting(
        False, "Evaluate even on data that a model was trained on; the report says so."
    )
    threshold: float | None = setting(
        None,
        "From this probability a crop or video counts as FAKE; by default each model's own.",
        low=0,
        high=1,
    )
    prevalence: float = setting(
        0.01,
        "Share of forgeries in real use, assumed to compute the precision.",
        low=0,
        high=1,
        rare=True,
    )
    batch: int = setting(64, "Crops decoded and scored together.", low=1, rare=True)
    resamples: int = setting(
        1000,
        "Bootstrap resamples for the 95% intervals; 0 leaves the intervals out.",
        low=0,
        rare=True,
    )
    features_limit: int = setting(
        1000,
        "Largest number of crops in the picture of --features, chosen at random.",
        low=5,
        rare=True,
    )
    seed: int = setting(0, "Seed of the random numbers.", low=0, rare=True)
    device: str = setting("auto", "Device of PyTorch models.", choices=DEVICES)
    format: str = setting("table", "Output format.", choices=("table", "json", "csv"))


@dataclass(frozen=True)
class BenchmarkConfig(Config):
    """`deepkd benchmark`: size and speed of a teacher and a student, in turn."""

    command: ClassVar[str] = "benchmark"

    teacher: str | None = setting(
        None,
        "The large model. If no model is named, it is cross-efficient-vit, untrained.",
    )
    student: str | None = setting(None, "The small model. If no model is named, it is deepkd-nano.")
    runs: int = setting(50, "Timed runs of each model; the models take turns.", low=3)
    batch: int = setting(32, "Crops per call when throughput is measured, 32 at most.", low=1)
    threads: int | None = setting(None, "CPU threads; by default all cores.", low=1)
    runtime: str = setting(
        "onnxruntime",
        "Library that runs ONNX files; openvino needs `pip install 'deepkd\\[openvino]'`.",
        choices=RUNTIMES.names,
    )
    data: Path | None = setting(None, "Folder of labelled crops to measure AUC on.")
    split: str = setting("test", "Split to measure AUC on; `all` takes every crop.")
    limit: int | None = setting(
        None,
        "Measure AUC on about this number of crops; an original and its forgeries stay together.",
        low=1,
    )
    allow_training_data: bool = setting(
        False,
        "Measure AUC even on data that a model was trained on; the report says so.",
        rare=True,
    )
    video: Path | None = setting(None, "Clip to time each model on, from decoding to verdict.")
    video_runs: int = setting(
        3, "Timed runs of the clip with each model; the models take turns.", low=1, rare=True
    )
    frames: int = setting(16, "Frames to sample from the clip of --video.", low=1, rare=True)
    format: str = setting("table", "Output format.", choices=("table", "json", "csv"))

    def check(self) -> None:
        """Refuse too large a batch, and settings that have no effect."""
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
"""Most crops per call of a model. A larger batch would be measured in parts."""
IDLE_WITHOUT = {
    "data": (("split", "limit", "allow_training_data"), "AUC on labelled crops"),
    "video": (("video_runs", "frames"), "timing a clip"),
}
"""Setting -> the settings that have no effect without it, and what they are for."""
