"""What `deepkd prune` and `deepkd quantize` take."""

from dataclasses import dataclass, fields
from typing import ClassVar

from deepkd.config import Config, setting
from deepkd.errors import ConfigError
from deepkd.settings.choices import CONVERSIONS, CRITERIA, INT8_RECIPES
from deepkd.settings.training import FittingConfig


@dataclass(frozen=True)
class PruneConfig(FittingConfig):
    """`deepkd prune`: a smaller network out of a trained one."""

    command: ClassVar[str] = "prune"

    params: int | None = setting(
        None, "Parameters that the pruned network may have at most.", low=1
    )
    macs_m: float | None = setting(
        None, "Million multiply-accumulates of one crop that it may have at most.", low=0.001
    )
    latency_ms: float | None = setting(
        None,
        "Milliseconds that one crop may take at most here, in ONNX Runtime on all cores.",
        low=0.001,
    )
    criterion: str = setting("taylor", "What a channel is worth.", choices=CRITERIA.names)
    penalty: float = setting(
        0.0, "Taken off a channel's worth for each million multiply-accumulates it costs.", low=0
    )
    samples: int = setting(
        512, "Labelled crops of the split train that show what channels are worth.", low=2
    )
    steps: int = setting(
        1, "Steps in which the network shrinks, each the same share, fine-tuned after each.", low=1
    )
    epochs: int = setting(0, "Epochs of distillation after each step; 0 only prunes.", low=0)
    teacher_view: str = setting(
        "same",
        "What the teachers see: the pruned network's view, or that view clean.",
        choices=("same", "clean"),
    )

    def check(self) -> None:
        """Something must be reached, and steps in between are worth nothing without fine-tuning."""
        super().check()
        if self.params is None and self.macs_m is None and self.latency_ms is None:
            raise ConfigError("nothing to reach; give --params, --macs-m, --latency-ms or several")
        if self.steps > 1 and not self.epochs:
            raise ConfigError(
                f"steps={self.steps} without fine-tuning is the same as one; give --epochs"
            )
        given = [item.name for item in fields(self) if getattr(self, item.name) != item.default]
        idle = [f"{name}={getattr(self, name)}" for name in given if name in TUNING]
        if idle and not self.epochs:
            raise ConfigError(
                f"{', '.join(idle)}: for fine-tuning, but epochs=0 only prunes; give --epochs, or"
                " leave out"
            )


TUNING = ({item.name for item in fields(FittingConfig)} | {"teacher_view"}) - {
    "epochs",
    "limit",
    "val_limit",
    "seed",
}
"""Settings of the fine-tuning alone, which do nothing without epochs."""


@dataclass(frozen=True)
class QuantizeConfig(Config):
    """`deepkd quantize`: a model in cheaper arithmetic, measured against float32."""

    command: ClassVar[str] = "quantize"

    keep: str = setting(
        "auto",
        "Variant to write: auto is the fastest that may replace float32, or none; a name writes it"
        " whatever it costs.",
        choices=("auto", "int8", *CONVERSIONS),
    )
    max_drop: float = setting(0.002, "AUC that a variant may lose against float32.", low=0, high=1)
    int8: str = setting(
        "auto",
        "How int8 is made; auto tries all ways and takes the one whose logits stay closest to"
        " float32's.",
        choices=("auto", *INT8_RECIPES),
    )
    calibrate_on: str = setting(
        "train", "Split whose crops show the ranges of int8.", choices=("train", "val")
    )
    samples: int = setting(128, "Crops that show the ranges, as many real as forged.", low=2)
    split: str = setting("val", "Split that AUC is measured on; `all` takes every row.")
    limit: int | None = setting(None, "Measure AUC on about so many crops, whole families.", low=1)
    allow_training_data: bool = setting(
        False, "Measure AUC even on what the model was trained on; the report says so."
    )
    resamples: int = setting(
        1000, "Bootstrap resamples behind the interval of the AUC's change.", low=0
    )
    runs: int = setting(100, "Timed runs of each variant, in turn.", low=3)
    threads: int | None = setting(None, "Threads of the runtime; by default all cores.", low=1)
    seed: int = setting(0, "Seed of the draws.", low=0)
    format: str = setting("table", "What to print.", choices=("table", "json"))
