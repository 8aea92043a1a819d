"""Settings of `deepkd distill`."""

from dataclasses import dataclass, fields
from typing import Any, ClassVar

from deepkd.config import setting
from deepkd.errors import ConfigError
from deepkd.settings.choices import LOSSES
from deepkd.settings.training import TrainingConfig


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
