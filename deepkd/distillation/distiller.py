"""Distillation: a student learns from labels and from a frozen teacher that sees the very same augmented view."""

import dataclasses
import math
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepkd.data.clips import Warn
from deepkd.data.crops import CropSet
from deepkd.data.families import inherited, training_record
from deepkd.data.leakage import check_held_out
from deepkd.data.mixture import Data, load_data
from deepkd.data.sampling import labelled
from deepkd.data.views import NO_ROW
from deepkd.distillation.modifiers import confidence, mixed, noisy, with_labels_hidden
from deepkd.distillation.taps import Tap, TapReader
from deepkd.distillation.terms import taps_of, terms_of
from deepkd.errors import ConfigError, DataError
from deepkd.models.devices import pick_device
from deepkd.models.registry import TorchModel, evaluating, normalise
from deepkd.models.subclasses import Subclassed, names_of, network_of, outputs_and_logit
from deepkd.scoring.model import InputFormat
from deepkd.settings.training import DistillConfig, TrainConfig, TrainingConfig
from deepkd.training.engine import Objective, Progress, fit
from deepkd.training.supervised import start_model, train_on

SUBCLASS_LOSS = "subclass_kd"
"""The loss that compares a logit per subclass."""


class Spoken(NamedTuple):
    """What a network says of a batch."""

    outputs: Tensor
    """Its logits, (N, subclasses); (N, 1) for a network without subclasses."""
    logit: Tensor
    """The forgery logit, (N, 1)."""

    @classmethod
    def of(cls, module: nn.Module, format: InputFormat, views: Tensor) -> "Spoken":
        """Of views (N, 3, view_px, view_px) in [0, 1], brought to the network's own input format."""
        return cls(*(said.float() for said in outputs_and_logit(module, seen_by(views, format))))

    @classmethod
    def mean(cls, several: Sequence["Spoken"]) -> "Spoken":
        """The mean of several networks' logits; with differing subclasses their outputs are those of the first."""
        outputs = [one.outputs for one in several if one.outputs.shape == several[0].outputs.shape]
        return cls(
            torch.stack(outputs).mean(0), torch.stack([one.logit for one in several]).mean(0)
        )


class Teacher(NamedTuple):
    """A frozen network that a student learns from."""

    network: nn.Module
    format: InputFormat
    voices: int
    """How often it was named: it is asked once, and counts so many times in the mean."""


class Distillation(Objective):
    """The weighted sum of the terms that a recipe lists, between a student and one or more frozen teachers.

    By default `(1 - alpha) bce(student, labels) + alpha soft(student, teacher)`. Each network gets
    the view in its own size, colour order and normalisation: the same view for all (Beyer et al.
    2022, arXiv:2106.05237), or with `teacher_view=clean` the teachers get it before photometric
    augmentation, so that the student learns to say of a damaged crop what its teachers say of the
    sound one. Several teachers speak with the mean of their logits, with `teacher_mirrored` over
    each view and its mirror image; one that is named twice is asked once and counts twice. Features
    are compared with the first's of the view itself. Where the networks differ in size, views are
    at least as large as the crops (`crop_px`), so that each shrinks them once, as when it judges.
    `subclass_kd` compares a logit per subclass, every other loss the forgery logit that these make.
    Teachers are in eval mode, get no gradient and are not part of the objective's state. Samples
    without a label (NaN) take the soft terms only; with `blends_by_label`, forgeries made while
    training (row NO_ROW) take the hard ones only.
    """

    def __init__(
        self,
        student: TorchModel,
        teachers: Sequence[TorchModel],
        config: DistillConfig,
        *,
        face_probability: Tensor | None = None,
        crop_px: int = 0,
    ) -> None:
        super().__init__()
        self.terms = terms_of(config)
        if any(term.name == SUBCLASS_LOSS for term in self.terms):
            _check_subclasses(student, teachers)
        self.module = student.module
        self.format = student.format
        sizes = {model.format.size for model in (student, *teachers)}
        # Shrunk twice, views would be less sharp than the crops that a network judges.
        self.view_px = max(*sizes, crop_px) if len(sizes) > 1 else sizes.pop()
        self.wants_clean = config.teacher_view == "clean"
        # In a tuple, so that teachers are neither trained nor saved.
        self._teachers = _asked_once(teachers)
        self.given = {"teachers": " ".join(teacher.sha256 for teacher in teachers)}
        self.config = config
        self.face_probability = face_probability
        self.adapters = nn.ModuleDict()
        self._taps: dict[str, tuple[TapReader, TapReader]] = {}
        self._open_taps()
        if not self._taps and pick_device(config.device).type == "cpu":
            self._teachers = tuple(one._replace(network=_folded(one)) for one in self._teachers)

    def _open_taps(self) -> None:
        """Find the taps that terms use, see their shapes in one small forward pass, and make the hints' adapters."""
        sides = taps_of(self.config)
        student_network, teacher_network = (
            network_of(module) for module in (self.module, self._teachers[0].network)
        )
        for name in {term.tap for term in self.terms if term.tap}:
            student, teacher = (Tap.parse(side) for side in sides[name])
            self._taps[name] = (
                TapReader(student_network, student),
                TapReader(teacher_network, teacher),
            )
        if not self._taps:
            return
        with evaluating(self.module), torch.no_grad():
            self._spoken(torch.zeros(1, 3, self.view_px, self.view_px))
        for name, pair in self._taps.items():
            student_map, teacher_map = (tap.take() for tap in pair)
            if student_map.ndim != 4 or teacher_map.ndim != 4:
                shapes = f"{tuple(student_map.shape[1:])} and {tuple(teacher_map.shape[1:])}"
                raise ConfigError(f"tap '{name}' shows {shapes}; both must be maps (C, H, W)")
            if any(term.name == "hint" and term.tap == name for term in self.terms):
                self.adapters[name] = _adapter(name, student_map, teacher_map)

    def _spoken(self, views: Tensor, clean: Tensor | None = None) -> tuple[Spoken, Spoken]:
        """What the student says of the views, and the mean of what the teachers say of them, or of the clean ones."""
        shown = [views if clean is None else clean]
        if self.config.teacher_mirrored:
            shown.insert(0, shown[0].flip(-1))  # taps keep what came last: the view as it is
        with torch.no_grad():
            teachers = [
                said
                for one in shown
                for network, format, voices in self._teachers
                for said in [Spoken.of(network.to(views.device), format, one)] * voices
            ]
        return Spoken.of(self.module, self.format, views), Spoken.mean(teachers)

    def forward(
        self, views: Tensor, labels: Tensor, rows: Tensor, clean: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Views (N, 3, view_px, view_px) in [0, 1], labels (N,), NaN for none, rows (N,) -> `total` and its terms."""
        terms = self._terms(views, labels, rows, clean)
        total = sum((weight * value for value, weight in terms.values()), views.new_zeros(()))
        return {"total": total, **{label: value for label, (value, _) in terms.items()}}

    def gradient_norms(
        self, views: Tensor, labels: Tensor, rows: Tensor, clean: Tensor | None = None
    ) -> dict[str, float]:
        """Length of each weighted term's gradient on the student's parameters; arguments as in `forward`."""
        parameters = [
            parameter for parameter in self.module.parameters() if parameter.requires_grad
        ]
        norms = {}
        for label, (value, weight) in self._terms(views, labels, rows, clean).items():
            slopes = torch.autograd.grad(
                weight * value, parameters, retain_graph=True, allow_unused=True
            )
            norms[label] = math.sqrt(
                sum(float(slope.square().sum()) for slope in slopes if slope is not None)
            )
        return norms

    def _terms(
        self, views: Tensor, labels: Tensor, rows: Tensor, clean: Tensor | None = None
    ) -> dict[str, tuple[Tensor, float]]:
        """Label -> (value, weight) of each term."""
        config = self.config
        if config.mixup:
            views, labels = mixed(views, labels, config.mixup)
        student, teacher = self._spoken(views, clean)
        weight = self._soft_weight(teacher.logit, rows.to(views.device))
        if config.teacher_noise:
            teacher = Spoken(
                *(noisy(said, config.teacher_noise, config.noise_share) for said in teacher)
            )
        features = {name: tuple(tap.take() for tap in pair) for name, pair in self._taps.items()}
        found = {}
        for term in self.terms:
            loss = term.loss_at(self.progress)
            if term.name == "bce":
                value = loss(
                    student.logit, labels.nan_to_num(0.5), weight=labels.isfinite().float()
                )
            elif term.tap:
                mine, its = features[term.tap]
                mine = self.adapters[term.tap](mine) if term.name == "hint" else mine
                value = loss(mine, its, weight=weight)
            elif term.name == SUBCLASS_LOSS:
                value = loss(student.outputs, teacher.outputs, weight=weight)
            else:
                value = loss(student.logit, teacher.logit, weight=weight)
            found[term.label] = (value, term.weight_at(self.progress))
        return found

    def _soft_weight(self, teacher: Tensor, rows: Tensor) -> Tensor:
        """What weighs each sample in the soft terms, (N,)."""
        weight, blends = torch.ones(len(rows), device=teacher.device), rows == NO_ROW
        if self.config.sample_weight == "teacher_confidence":
            weight = confidence(teacher)
        elif self.config.sample_weight == "face_probability" and self.face_probability is not None:
            weight = self.face_probability.to(teacher.device)[rows].masked_fill(blends, 1.0)
        return weight.masked_fill(blends, 0.0) if self.config.blends_by_label else weight


def _check_subclasses(student: TorchModel, teachers: Sequence[TorchModel]) -> None:
    wanted = shared_subclasses(teachers)
    if names_of(student.module) != wanted:
        known = ", ".join(names_of(student.module)) or "none"
        raise ConfigError(
            f"{SUBCLASS_LOSS}: the student's subclasses are {known}, the teacher's"
            f" {', '.join(wanted)}"
        )


def shared_subclasses(teachers: Sequence[TorchModel]) -> tuple[str, ...]:
    """The subclasses that all teachers tell apart.

    Raises:
        ConfigError: a teacher has none, or they differ.
    """
    names = {names_of(teacher.module) for teacher in teachers}
    if len(names) > 1 or () in names:
        shown = "; ".join(
            f"{teacher.name}: {', '.join(names_of(teacher.module)) or 'none'}"
            for teacher in teachers
        )
        advice = "train every teacher with 'deepkd train --subclasses method' on the same index"
        raise ConfigError(
            f"{SUBCLASS_LOSS} needs the same subclasses of all teachers ({shown}); {advice}"
        )
    return names.pop()


def _asked_once(teachers: Sequence[TorchModel]) -> tuple[Teacher, ...]:
    """Each teacher once, frozen, in the order of their first mention."""
    alike: dict[tuple[str, InputFormat], list[TorchModel]] = {}
    for teacher in teachers:
        alike.setdefault((teacher.sha256, teacher.format), []).append(teacher)
    return tuple(
        Teacher(_frozen(same[0].module), same[0].format, len(same)) for same in alike.values()
    )


def _frozen(module: nn.Module) -> nn.Module:
    return module.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def _folded(teacher: Teacher) -> nn.Module:
    """A teacher's network traced with its batch norms folded into its convolutions: about twice as fast on a CPU.

    Only without taps, which need the modules. A network that cannot be traced, or has subclasses,
    stays as it is.
    """
    network, size = teacher.network, teacher.format.size
    if isinstance(network, Subclassed):
        return network
    example = torch.zeros(2, 3, size, size).contiguous(memory_format=torch.channels_last)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer's remarks on constants that are constant
            traced = torch.jit.trace(network, example, check_trace=False)
            return cast(nn.Module, torch.jit.optimize_for_inference(torch.jit.freeze(traced)))
    except RuntimeError:
        return network


def _adapter(name: str, student: Tensor, teacher: Tensor) -> nn.Module:
    """A 1x1 convolution from the student's channels to the teacher's; it trains with the student, unexported."""
    if student.shape[2:] != teacher.shape[2:]:
        shapes = f"{tuple(student.shape[2:])} and {tuple(teacher.shape[2:])}"
        raise ConfigError(
            f"hint: tap '{name}' shows maps of {shapes}; both must have the same H and W"
        )
    return nn.Conv2d(student.shape[1], teacher.shape[1], kernel_size=1, bias=False)


def seen_by(views: Tensor, format: InputFormat) -> Tensor:
    """Views in [0, 1], RGB, of any size -> what a model of that input format expects, shrunk by area as crops are."""
    side, size = views.shape[-1], format.size
    if side > size:
        weights = _area_weights(side, size).to(views)
        views = weights @ views @ weights.T
    elif side < size:
        views = F.interpolate(views, (size, size), mode="bilinear", align_corners=False)
    return normalise(views, format)


@cache
def _area_weights(side: int, size: int) -> Tensor:
    """What share each of `side` pixels has in each of `size` larger ones, (size, side); rows sum to one."""
    edges, pixels = torch.arange(size + 1, dtype=torch.float64) * side / size, torch.arange(side)
    overlap = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
    return (overlap.clamp(min=0) * size / side).float()


def distill(
    teachers: Sequence[TorchModel],
    data: Data,
    run: Path,
    config: DistillConfig,
    *,
    resume: bool = False,
    report: Callable[[Progress], None] = lambda progress: None,
    warn: Warn = lambda message: None,
) -> TorchModel:
    """Train a student under its teachers on the split `train` of an index, choosing weights by AUC on its split `val`.

    `warn` is told what `check_held_out` finds odd.

    Raises:
        DataError: the index or a split is wrong, the splits share originals, or `train_alone` is
            left nothing where the settings ask for it.
        ConfigError, ModelError, OutputError, TrainingError: see `start_model` and `fit`.
    """
    train_crops, val_crops = _crops(data, config)
    if config.alone:
        labelled(train_crops)  # without labels to train on alone, nothing is begun
    with_subclasses = any(term.name == SUBCLASS_LOSS for term in terms_of(config))
    student = start_model(
        config.student, config, subclasses=shared_subclasses(teachers) if with_subclasses else None
    )
    named = ", ".join(teacher.name for teacher in teachers)
    earlier = [(f"the start {config.init}", student.metadata.get("recipe", {}))]
    earlier += [(f"the teacher {teacher.name}", inherited(teacher)) for teacher in teachers]
    check_held_out(train_crops, val_crops, earlier, warn=warn)
    record = training_record(train_crops, [recipe for _, recipe in earlier])
    student.metadata["recipe"] = {**config.recipe(), "teacher": named, **record}
    objective = Distillation(
        student, teachers, config,
        face_probability=_face_probability(train_crops, config), crop_px=min(train_crops.image(0).shape[:2]),
    )  # fmt: skip
    return fit(
        student, objective, train_crops, val_crops, config, run, resume=resume, report=report
    )


def _face_probability(crops: CropSet, config: DistillConfig) -> Tensor | None:
    """The face detector's probability of each row, (rows,), where the recipe weighs by it."""
    if config.sample_weight != "face_probability":
        return None
    known = [row.face_probability for row in crops.rows]
    if None in known:
        raise DataError(
            "sample_weight=face_probability, but the index has crops without one; extract them"
            " again"
        )
    return torch.tensor(known, dtype=torch.float32)


def train_alone(
    data: Data,
    run: Path,
    config: DistillConfig,
    *,
    resume: bool = False,
    report: Callable[[Progress], None] = lambda progress: None,
) -> TorchModel:
    """Train the same student on the same labels for as many steps without the teacher, to show what it brings.

    Raises:
        DataError, ConfigError, ModelError, OutputError, TrainingError: see `train_on`.
    """
    train_crops, val_crops = _crops(data, config)
    shared = {item.name: getattr(config, item.name) for item in dataclasses.fields(TrainingConfig)}
    if config.sampling == "shuffled":  # the others never draw a crop without a label
        shared["epochs"] = round(config.epochs * len(train_crops) / len(labelled(train_crops)))
    settings = TrainConfig(model=config.student, **shared)
    return train_on(train_crops, val_crops, run, settings, resume=resume, report=report)


def _crops(data: Data, config: DistillConfig) -> tuple[CropSet, CropSet]:
    """What the student is trained on, with the labels that it may see, and what it is validated on."""
    train_crops = load_data(data, "train", limit=config.limit)
    hidden = with_labels_hidden(train_crops, config.labelled_share)
    return hidden, load_data(data, "val", limit=config.val_limit)
