"""Settings of `deepkd train` and `deepkd distill`."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from deepkd.config import Config, setting
from deepkd.errors import ConfigError
from deepkd.settings.choices import (
    AUGMENTATIONS,
    DEVICES,
    LOSSES,
    OPTIMIZERS,
    SAMPLINGS,
    SCHEDULES,
)


@dataclass(frozen=True)
class DataSource:
    """One `[[data]]` table: a folder of crops and how often it is drawn."""

    path: Path
    weight: float | None = None
    """Of the whole folder beside the others; None for the square root of its number of crops."""
    datasets: Mapping[str, float] = field(default_factory=dict)
    """Weight of single data sets (column `dataset`) within the folder; 0 leaves one out."""

    def folder(self) -> Path:
        """The folder, also where its index file is given."""
        return self.path.parent if self.path.suffix == ".csv" else self.path

    @classmethod
    def from_table(cls, table: Any) -> "DataSource":
        """A source as a config file gives it.

        Raises:
            ConfigError: an unknown key, a missing path, or a weight that is no positive number.
        """
        if isinstance(table, str | Path):
            return cls(Path(table))
        known = [item.name for item in fields(cls)]
        if not isinstance(table, Mapping) or not set(table) <= set(known) or "path" not in table:
            raise ConfigError(f"data={table!r}: a [[data]] table takes path, weight and datasets")
        weight, datasets = table.get("weight"), table.get("datasets") or {}
        if weight is not None and not _is_weight(weight, above=0.0):
            raise ConfigError(f"data: weight={weight!r} of {table['path']}: takes a number above 0")
        if not isinstance(datasets, Mapping) or not all(map(_is_weight, datasets.values())):
            raise ConfigError(
                f"data: datasets={datasets!r} of {table['path']}: takes NAME = weight, from 0 up"
            )
        return cls(Path(table["path"]), weight, dict(datasets))


def _is_weight(value: Any, *, above: float = -1.0) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and value >= 0 and value > above


@dataclass(frozen=True)
class FittingConfig(Config):
    """Settings of every command that trains weights."""

    epochs: int = setting(
        10,
        "Passes over the training crops. A larger number with --resume makes a run longer.",
        low=1,
    )
    batch: int = setting(32, "Crops per optimiser step, all processes together.", low=2)
    accumulate: int = setting(
        1, "Compute each batch in this number of parts, to save memory.", low=1, rare=True
    )
    lr: float = setting(5e-4, "Peak learning rate.", low=0)
    optimizer: str = setting(
        "adamw", "What changes the weights at each step.", choices=OPTIMIZERS.names, rare=True
    )
    schedule: str = setting(
        "cosine",
        "How the learning rate moves after the warmup: cosine falls to 0, steps multiplies it by "
        "0.2 after each fifth of the training.",
        choices=SCHEDULES.names,
        rare=True,
    )
    weight_decay: float = setting(
        0.05, "Weight decay; with adamw, biases and norm layers have none.", low=0, rare=True
    )
    warmup: float = setting(
        0.1,
        "Share of the steps in which the learning rate rises.",
        low=0,
        high=1,
        rare=True,
    )
    sampling: str = setting(
        "paired",
        "How batches are made: paired puts a forgery next to its original, balanced takes as "
        "many real as forged crops, shuffled takes every crop once.",
        choices=SAMPLINGS.names,
        rare=True,
    )
    augment: str = setting(
        "standard",
        "Strength of the random changes to crops. footage also encodes them as video; robust "
        "also applies the corruptions that `evaluate --perturb` measures.",
        choices=AUGMENTATIONS.names,
    )
    self_blend: float = setting(
        0.0,
        "Share of the pairs whose forgery is made from the real crop alone (self-blended images).",
        low=0,
        high=1,
        rare=True,
    )
    face_swap: float = setting(
        0.0,
        "Share of the pairs whose forgery is made from the real crop and the face of another "
        "person of the same data set.",
        low=0,
        high=1,
        rare=True,
    )
    same_encoding: float = setting(
        0.5,
        "Share of the pairs whose two crops are shrunk, compressed and changed in the same way, "
        "so that they differ only in the forgery.",
        low=0,
        high=1,
        rare=True,
    )
    label_smoothing: float = setting(
        0.01,
        "Label smoothing: share of each label that moves to the other class.",
        low=0,
        high=0.5,
        rare=True,
    )
    ema: float = setting(
        0.999,
        "Decay of the moving average of the weights, which is validated and saved; 0 turns it off.",
        low=0,
        high=1,
        rare=True,
    )
    keep: str = setting(
        "best",
        "Epoch whose weights are saved: the best by validation AUC, or the last. Use last if "
        "the validation split has no forgeries of the kind that you train on, such as "
        "self-blends.",
        choices=("best", "last"),
        rare=True,
    )
    patience: int = setting(
        0,
        "Stop after this number of epochs without a better validation AUC; 0 never stops early.",
        low=0,
        rare=True,
    )
    limit: int | None = setting(
        None,
        "Train on about this number of crops; an original and its forgeries stay together.",
        low=2,
        rare=True,
    )
    val_limit: int | None = setting(
        None,
        "Validate on about this number of crops; an original and its forgeries stay together.",
        low=2,
        rare=True,
    )
    seed: int = setting(0, "Seed of the random numbers.", low=0, rare=True)
    device: str = setting("auto", "Device to train on.", choices=DEVICES)
    precision: str = setting(
        "auto",
        "Number format: auto is bfloat16 autocast on a GPU and float32 on a CPU.",
        choices=("auto", "float32", "bf16"),
        rare=True,
    )
    compile: bool = setting(
        False,
        "Compile the model with torch.compile: the start takes a minute or two longer, steps "
        "are faster, results are the same.",
        rare=True,
    )
    workers: int = setting(2, "Processes that read and augment crops.", low=0)
    checkpoint_every: int = setting(
        200,
        "Steps between two checkpoints; --resume continues from the last one.",
        low=1,
        rare=True,
    )

    def check(self) -> None:
        """A batch must split evenly."""
        in_twos = self.sampling in SAMPLINGS.names_with("draws both labels")
        if self.batch % (2 * self.accumulate) and in_twos:
            raise ConfigError(
                f"batch={self.batch}: takes a multiple of 2 x accumulate ({2 * self.accumulate}),"
                " to hold pairs"
            )
        for name in ("self_blend", "face_swap"):
            if getattr(self, name):
                self._require_sampling(f"{name}={getattr(self, name)}", "makes forgeries")
        if self.self_blend + self.face_swap > 1:
            shares = f"self_blend={self.self_blend} and face_swap={self.face_swap}"
            raise ConfigError(f"{shares}: shares of the same pairs; their sum must be at most 1")

    def _require_sampling(self, setting: str, trait: str) -> None:
        able = SAMPLINGS.names_with(trait)
        if self.sampling not in able:
            raise ConfigError(f"{setting} needs sampling={' or '.join(able)}, not {self.sampling}")


@dataclass(frozen=True)
class TrainingConfig(FittingConfig):
    """Settings of train and distill."""

    data: tuple[Any, ...] = setting(
        (),
        "Crops to train on, one table per folder: path; optionally weight (how often the folder "
        "is drawn, relative to the others) and datasets (NAME = weight, for the data sets "
        "within it).",
        table="data",
    )

    image_size: int | None = setting(
        None, "Side of the model's input, pixels; by default the model's own.", low=32, rare=True
    )
    init: Path | None = setting(
        None, "Checkpoint of the same model, also a pruned one, to start from."
    )
    model_code: Path | None = setting(
        None,
        "Folder with the code of your own model, which is named MODULE:FUNCTION; the code is run.",
        rare=True,
    )
    val_split: str = setting(
        "val",
        "Split to validate on. If pictures have no folder val, val is a tenth of train; with"
        " test, nothing is held out.",
        choices=("val", "test"),
        rare=True,
    )
    freeze: str = setting(
        "", "Modules to leave unchanged: names separated by commas; * matches anything.", rare=True
    )

    def check(self) -> None:
        """The tables of crops must be sound."""
        super().check()
        self.list_sources()

    def list_sources(self) -> list[DataSource]:
        """The folders of crops that the settings name."""
        return [DataSource.from_table(table) for table in self.data]

    def to_metadata(self) -> dict[str, Any]:
        """The settings as they travel with a model: of a folder of crops only its name."""
        tables = [
            {key: value for key, value in asdict(one).items() if value}
            | {"path": one.folder().resolve().name}
            for one in self.list_sources()
        ]
        return {**super().to_metadata(), "data": tables}


@dataclass(frozen=True)
class TrainConfig(TrainingConfig):
    """`deepkd train`: a model on labelled crops."""

    command: ClassVar[str] = "train"

    model: str = setting(
        "cross-efficient-vit",
        "Model to train: the name of a model of deepkd or of the timm library.",
    )
    subclasses: str = setting(
        "none",
        "method: one output per forgery method of the index, for a teacher of subclass_kd.",
        choices=("none", "method"),
        rare=True,
    )

    def check(self) -> None:
        """Refuse self-blends beside subclasses: a self-blend has no method in the index."""
        super().check()
        if self.self_blend and self.subclasses != "none":
            raise ConfigError(
                f"self_blend={self.self_blend} and subclasses={self.subclasses} exclude each other"
            )


@dataclass(frozen=True)
class DistillConfig(TrainingConfig):
    """`deepkd distill`: a student from a teacher."""

    command: ClassVar[str] = "distill"

    student: str = setting(
        "nano", "Student to train: the name of a model of deepkd or of the timm library."
    )
    loss: str = setting(
        "kd",
        "Loss between student and teacher. A loss that compares features needs a recipe "
        "(--config).",
        choices=LOSSES.names,
    )
    temperature: float = setting(3.0, "Temperature of --loss.", low=0.01)
    alpha: float = setting(0.7, "Weight of --loss; the labels get the rest.", low=0, high=1)
    teacher_noise: float = setting(
        0.0,
        "Standard deviation of the random noise on the teacher's logits, relative to each "
        "logit; 0 turns it off.",
        low=0,
        rare=True,
    )
    noise_share: float = setting(
        0.5, "Share of the samples that get the noise of --teacher-noise.", low=0, high=1, rare=True
    )
    sample_weight: str = setting(
        "none",
        "What weights the teacher's loss on a crop: nothing, the teacher's confidence, or the "
        "probability that the crop shows a face.",
        choices=("none", "teacher_confidence", "face_probability"),
        rare=True,
    )
    teacher_view: str = setting(
        "same",
        "What the teacher sees: the same picture as the student, or a clean one, without changes "
        "of colour, blur and compression.",
        choices=("same", "clean"),
        rare=True,
    )
    blends_by_label: bool = setting(
        False,
        "Train on self-blended forgeries with labels only; use it if the teacher calls them real.",
        rare=True,
    )
    teacher_mirrored: bool = setting(
        False,
        "Use the mean of the teacher's logits on each picture and its mirror image.",
        rare=True,
    )
    mixup: float = setting(
        0.0,
        "Mixup: blend two samples, with a share from the distribution Beta(MIXUP, MIXUP); 0 "
        "turns it off.",
        low=0,
        rare=True,
    )
    labelled_share: float = setting(
        1.0,
        "Share of the originals whose crops and forgeries keep their labels; from the others the "
        "student learns by the teacher alone.",
        low=0,
        high=1,
        rare=True,
    )
    losses: tuple[Any, ...] = setting(
        (),
        "Terms to minimise. They replace loss, temperature and alpha, which are then refused."
        " A bce without a label_smoothing of its own takes that of the settings.",
        table="loss",
    )
    taps: dict[str, Any] | None = setting(
        None, "Name = [student module, teacher module] to compare.", table="taps"
    )
    alone: bool = setting(
        False, "Also train the student without the teacher, into OUT/alone, to compare.", rare=True
    )

    def check(self) -> None:
        """Refuse settings that contradict each other."""
        super().check()
        idle = [f"{item.name}={getattr(self, item.name)}" for item in fields(self)
                if item.name in REPLACED and getattr(self, item.name) != item.default]  # fmt: skip
        if idle and self.losses:
            raise ConfigError(
                f"{', '.join(idle)}: the [[loss]] tables take its place; say it in them, or leave"
                " it out"
            )
        if self.labelled_share < 1:
            share = f"labelled_share={self.labelled_share}"
            self._require_sampling(share, "draws unlabelled crops")
        if self.mixup and self.teacher_view == "clean":
            raise ConfigError(
                "mixup and teacher_view=clean exclude each other: a blend has no clean view"
            )
        if self.mixup and self.blends_by_label:
            raise ConfigError(
                "mixup and blends_by_label exclude each other: a mixture is not all blend"
            )


REPLACED = ("loss", "temperature", "alpha")
"""Settings of a distillation that do nothing where a recipe lists its losses."""
