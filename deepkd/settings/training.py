"""What `deepkd train` and `deepkd distill` take, and all that fits weights."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from deepkd.config import Config, setting
from deepkd.errors import ConfigError
from deepkd.settings.choices import DEVICES


@dataclass(frozen=True)
class DataSource:
    """One `[[data]]` table: a folder of crops and how often it is drawn."""

    path: Path
    weight: float | None = None
    """Of the whole folder beside the others; None for the square root of its number of crops."""
    datasets: Mapping[str, float] = field(default_factory=dict)
    """Weight of single data sets (column `dataset`) within the folder; 0 leaves one out."""

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
    """What everything that fits weights takes."""

    epochs: int = setting(
        10,
        "Passes over the drawn samples. --resume takes more than before: the learning rate's cosine"
        " is then stretched over all of them.",
        low=1,
    )
    batch: int = setting(32, "Crops per optimiser step, over all processes.", low=2)
    accumulate: int = setting(1, "Parts that a batch is computed in, to save memory.", low=1)
    lr: float = setting(5e-4, "Peak learning rate of AdamW.", low=0)
    weight_decay: float = setting(0.05, "Weight decay of AdamW; norms and biases have none.", low=0)
    warmup: float = setting(
        0.1,
        "Share of the steps that the learning rate rises for, before its cosine.",
        low=0,
        high=1,
    )
    sampling: str = setting(
        "paired", "How batches are drawn.", choices=("paired", "balanced", "shuffled")
    )
    augment: str = setting(
        "standard",
        "How far views stray from the crops; footage re-encodes them as video, robust draws from"
        " what `evaluate --perturb` measures, too.",
        choices=("none", "light", "moderate", "standard", "footage", "robust"),
    )
    self_blend: float = setting(
        0.0,
        "Share of the pairs whose forgery is made from the real crop itself (self-blended images).",
        low=0,
        high=1,
    )
    face_swap: float = setting(
        0.0,
        "Share of the pairs whose forgery is the real crop with the face of another person of its"
        " data set.",
        low=0,
        high=1,
    )
    same_encoding: float = setting(
        0.5,
        "Share of the pairs whose two crops are shrunk, compressed and changed alike, so that only"
        " the forgery tells them apart.",
        low=0,
        high=1,
    )
    label_smoothing: float = setting(
        0.01, "Share of each hard label given to the other one.", low=0, high=0.5
    )
    ema: float = setting(
        0.999,
        "Decay of the averaged weights that are validated and kept; 0 turns it off.",
        low=0,
        high=1,
    )
    keep: str = setting(
        "best",
        "Which epoch's weights: those with the best validation AUC; or the last, where it cannot"
        " see what is learned, such as self-blends.",
        choices=("best", "last"),
    )
    patience: int = setting(
        0, "Stop after so many epochs without a better validation AUC; 0 never stops early.", low=0
    )
    limit: int | None = setting(None, "Train on about so many crops, whole families.", low=2)
    val_limit: int | None = setting(None, "Validate on about so many crops, whole families.", low=2)
    seed: int = setting(0, "Seed of everything that is drawn.", low=0)
    device: str = setting("auto", "Where to train.", choices=DEVICES)
    precision: str = setting(
        "auto",
        "Arithmetic: auto is bf16 autocast on a GPU and float32 on a CPU.",
        choices=("auto", "float32", "bf16"),
    )
    compile: bool = setting(
        False,
        "Compile the model with torch.compile: a minute or two at the start, faster steps, same"
        " results.",
    )
    workers: int = setting(2, "Processes that read and augment crops.", low=0)
    checkpoint_every: int = setting(
        200, "Steps between checkpoints that --resume continues from.", low=1
    )

    def check(self) -> None:
        """A batch must split evenly."""
        if self.batch % (2 * self.accumulate) and self.sampling != "shuffled":
            raise ConfigError(
                f"batch={self.batch}: takes a multiple of 2 x accumulate ({2 * self.accumulate}),"
                " to hold pairs"
            )
        for name in ("self_blend", "face_swap"):
            if getattr(self, name) and self.sampling != "paired":
                share = f"{name}={getattr(self, name)}"
                raise ConfigError(f"{share} needs sampling=paired, not {self.sampling}")
        if self.self_blend + self.face_swap > 1:
            shares = f"self_blend={self.self_blend} and face_swap={self.face_swap}"
            raise ConfigError(f"{shares}: shares of the same pairs; their sum must be at most 1")


@dataclass(frozen=True)
class TrainingConfig(FittingConfig):
    """What every training takes that chooses its crops and its network."""

    data: tuple[Any, ...] = setting(
        (),
        "Crops to train on, a table each: path, and as far as given weight (how often the folder is"
        " drawn beside the others) and datasets (NAME = weight, of data sets within it).",
        table="data",
    )

    image_size: int | None = setting(
        None, "Side of the model's input, pixels; the registry's unless given.", low=32
    )
    init: Path | None = setting(
        None, "Checkpoint of the same model to start from; its channels and subclasses stay."
    )
    freeze: str = setting(
        "",
        "Modules whose weights and statistics stay as they are: names with commas between, * for"
        " anything.",
    )

    def check(self) -> None:
        """The tables of crops must be sound."""
        super().check()
        self.list_sources()

    def list_sources(self) -> list[DataSource]:
        """The folders of crops that the settings name."""
        return [DataSource.from_table(table) for table in self.data]

    def recipe(self) -> dict[str, Any]:
        """The settings as they travel with a model: of a folder of crops only its name."""
        tables = [{**table, "path": Path(table["path"]).name} for table in self.data]
        return {**super().recipe(), "data": tables}


@dataclass(frozen=True)
class TrainConfig(TrainingConfig):
    """`deepkd train`: a model on labelled crops."""

    command: ClassVar[str] = "train"

    model: str = setting(
        "cross-efficient-vit", "Model to train: a name of the registry or of timm."
    )
    subclasses: str = setting(
        "none",
        "Give the model an output for each forgery method that the index names, as a teacher for"
        " subclass_kd needs.",
        choices=("none", "method"),
    )

    def check(self) -> None:
        """A forgery made from the real crop itself is of no method of the index."""
        super().check()
        if self.self_blend and self.subclasses != "none":
            raise ConfigError(
                f"self_blend={self.self_blend} and subclasses={self.subclasses} exclude each other"
            )


@dataclass(frozen=True)
class DistillConfig(TrainingConfig):
    """`deepkd distill`: a student from a teacher. What training takes, and what the teacher adds."""

    command: ClassVar[str] = "distill"

    student: str = setting("nano", "Student to train: a name of the registry or of timm.")
    loss: str = setting(
        "kd",
        "Loss between the student's and the teacher's logits.",
        choices=("kd", "logit_mse", "subclass_kd"),
    )
    temperature: float = setting(3.0, "Temperature of the soft term.", low=0.01)
    alpha: float = setting(
        0.7, "Weight of the soft term; the hard labels get the rest.", low=0, high=1
    )
    hint: float = setting(
        0.0, "Weight of the feature hint between --hint-student and --hint-teacher.", low=0
    )
    hint_student: str = setting(
        "conv_head:output", "Module of the student, with :input or :output, that takes the hint."
    )
    hint_teacher: str = setting(
        "conv_head:output", "Module of the teacher, with :input or :output, that gives the hint."
    )
    teacher_noise: float = setting(
        0.0, "Spread of the noise that teacher logits are multiplied with; 0 for none.", low=0
    )
    noise_share: float = setting(
        0.5, "Share of the samples that the teacher's noise falls on.", low=0, high=1
    )
    sample_weight: str = setting(
        "none",
        "What weighs a sample's soft terms.",
        choices=("none", "teacher_confidence", "face_probability"),
    )
    teacher_view: str = setting(
        "same",
        "What the teacher sees: the student's view, or that view clean, before photometric"
        " augmentation.",
        choices=("same", "clean"),
    )
    blends_by_label: bool = setting(
        False,
        "Let labels alone teach self-blended forgeries, which a teacher may not know, and then"
        " calls real.",
    )
    teacher_mirrored: bool = setting(
        False, "Let the teacher speak with the mean over the view and its mirror image."
    )
    mixup: float = setting(
        0.0, "Blend samples, with shares drawn from Beta(this, this); 0 for none.", low=0
    )
    labelled_share: float = setting(
        1.0,
        "Share of the families that keep their labels; the rest takes the soft terms only.",
        low=0,
        high=1,
    )
    losses: tuple[Any, ...] = setting(
        (),
        "Terms to minimise, in place of loss, temperature, alpha and the hint, which are refused"
        " beside them; a bce without a label_smoothing of its own takes that of the settings.",
        table="loss",
    )
    taps: dict[str, Any] | None = setting(
        None, "Name = [student module, teacher module] to compare.", table="taps"
    )
    alone: bool = setting(
        False, "Also train the student without the teacher on the same schedule, to compare."
    )

    def check(self) -> None:
        """Batches drawn by label have no place for samples without one, and terms of a recipe none for flags."""
        super().check()
        idle = [f"{item.name}={getattr(self, item.name)}" for item in fields(self)
                if item.name in REPLACED and getattr(self, item.name) != item.default]  # fmt: skip
        if idle and self.losses:
            raise ConfigError(
                f"{', '.join(idle)}: the [[loss]] tables take its place; say it in them, or leave"
                " it out"
            )
        if self.labelled_share < 1 and self.sampling != "shuffled":
            raise ConfigError(
                f"labelled_share={self.labelled_share} needs sampling=shuffled, not {self.sampling}"
            )
        if self.mixup and self.teacher_view == "clean":
            raise ConfigError(
                "mixup and teacher_view=clean exclude each other: a blend has no clean view"
            )
        if self.mixup and self.blends_by_label:
            raise ConfigError(
                "mixup and blends_by_label exclude each other: a mixture is not all blend"
            )


REPLACED = ("loss", "temperature", "alpha", "hint", "hint_student", "hint_teacher")
"""Settings of a distillation that do nothing where a recipe lists its losses."""
