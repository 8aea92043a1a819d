"""Settings of `deepkd prune` and `deepkd quantize`."""

from dataclasses import dataclass, fields
from typing import ClassVar

from deepkd.config import Config, setting
from deepkd.errors import ConfigError
from deepkd.settings.choices import CONVERSIONS, CRITERIA, INT8_METHODS
from deepkd.settings.training import FittingConfig


@dataclass(frozen=True)
class PruneConfig(FittingConfig):
    """`deepkd prune`: a smaller network out of a trained one."""

    command: ClassVar[str] = "prune"

    params: int | None = setting(None, "Largest number of parameters.", low=1)
    macs_m: float | None = setting(
        None, "Largest cost of one crop, million multiply-accumulates.", low=0.001
    )
    latency_ms: float | None = setting(
        None,
        "Longest time for one crop, milliseconds, on this machine in ONNX Runtime with all cores.",
        low=0.001,
    )
    criterion: str = setting(
        "taylor",
        "How the importance of a channel is measured.",
        choices=CRITERIA.names,
    )
    penalty: float = setting(
        0.0,
        "How much less important a channel is for each million multiply-accumulates that it costs.",
        low=0,
        rare=True,
    )
    samples: int = setting(
        512, "Labelled crops of the split train on which importance is measured.", low=2, rare=True
    )
    steps: int = setting(
        1,
        "Number of steps; each shrinks the network by the same share and then fine-tunes it.",
        low=1,
    )
    epochs: int = setting(0, "Epochs of distillation after each step; 0 only prunes.", low=0)
    teacher_view: str = setting(
        "same",
        "What the teachers see: the same picture as the pruned network, or a clean one, without "
        "changes of colour, blur and compression.",
        choices=("same", "clean"),
        rare=True,
    )

    def check(self) -> None:
        """Refuse to prune without a limit, and settings that have no effect without epochs."""
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
"""Settings of fine-tuning, which have no effect without epochs."""


@dataclass(frozen=True)
class QuantizeConfig(Config):
    """`deepkd quantize`: a model in int8 or float16, measured against float32."""

    command: ClassVar[str] = "quantize"

    keep: str = setting(
        "auto",
        "Variant to write. auto writes the fastest that meets --max-drop, if it beats float32; a "
        "name is always written.",
        choices=("auto", "int8", *CONVERSIONS),
    )
    max_drop: float = setting(
        0.002,
        "Largest loss of AUC or accuracy, against float32, that auto accepts.",
        low=0,
        high=1,
    )
    int8: str = setting(
        "auto",
        "Way to make int8; auto takes the one whose logits are closest to float32.",
        choices=("auto", *INT8_METHODS),
    )
    calibrate_on: str = setting(
        "train", "Split with the crops of --samples.", choices=("train", "val"), rare=True
    )
    samples: int = setting(
        128,
        "Crops from which the value ranges of int8 are taken, as many real as forged, or of each "
        "class.",
        low=2,
    )
    split: str = setting("val", "Split to measure AUC on; `all` takes every crop.")
    limit: int | None = setting(
        None,
        "Measure AUC on about this number of crops; an original and its forgeries stay together.",
        low=1,
    )
    allow_training_data: bool = setting(
        False,
        "Measure AUC even on data that the model was trained on; the report says so.",
        rare=True,
    )
    resamples: int = setting(
        1000, "Bootstrap resamples for the interval of the change in AUC.", low=0, rare=True
    )
    runs: int = setting(100, "Timed runs of each variant; the variants take turns.", low=3)
    threads: int | None = setting(None, "CPU threads; by default one per core.", low=1)
    seed: int = setting(0, "Seed of the random numbers.", low=0, rare=True)
    format: str = setting("table", "Output format.", choices=("table", "json"))
