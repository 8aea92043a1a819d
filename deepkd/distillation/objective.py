"""Distillation: the objective of a student that learns from labels and frozen teachers."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from deepkd.data.views import NO_ROW
from deepkd.distillation.losses.loss import Inputs, Loss
from deepkd.distillation.modifiers import confidence, mix, noisy
from deepkd.distillation.taps import Tap, TapReader
from deepkd.distillation.teachers import (
    Outputs,
    check_subclasses,
    fold_norms,
    freeze_teachers,
)
from deepkd.distillation.terms import Term, taps_of, terms_of
from deepkd.errors import ConfigError
from deepkd.models.devices import pick_device
from deepkd.models.registry import TorchModel, evaluating
from deepkd.models.subclasses import network_of
from deepkd.settings.distillation import DistillConfig
from deepkd.training.objective import Objective
from deepkd.training.validation import CLASSES

FEATURE_SHAPES: dict[Inputs, tuple[int, str]] = {
    "map": (4, "maps (C, H, W)"),
    "embedding": (2, "embeddings (C)"),
}
"""What a tap must show to a loss: its dimensions with the batch, and their name."""


class Distillation(Objective):
    """The weighted sum of losses between a student, labels and one or more frozen teachers.

    Each network gets the view in its own size, colour order and normalisation: the same view for
    all (Beyer et al. 2022, arXiv:2106.05237). With `teacher_view=clean` the teachers get it before
    photometric augmentation. Several teachers give the mean of their logits, with
    `teacher_mirrored` over each view and its mirror image; features come from the first teacher and
    the view itself. Where networks differ in size, views are at least as large as the crops
    (`crop_px`), so that each network shrinks them once, as when it judges.

    Teachers are in eval mode, get no gradient and are not part of the objective's state. Samples
    without a label (NaN) learn from the teachers only; with `blends_by_label`, forgeries made while
    training (row NO_ROW) learn from labels only.
    """

    def __init__(
        self,
        student: TorchModel,
        teachers: Sequence[TorchModel],
        config: DistillConfig,
        *,
        face_probability: Tensor | None = None,
        class_labels: Tensor | None = None,
        crop_px: int = 0,
        rows: int = 0,
    ) -> None:
        """Open the taps and make the adapters.

        Args:
            student: the network to train.
            teachers: the networks to learn from; one listed twice counts twice.
            config: terms, taps and modifiers.
            face_probability: of each row, (rows,), for `sample_weight=face_probability`.
            class_labels: of each row the column of its class, (rows,), NaN where unknown, for
                losses on classes that want labels.
            crop_px: side of the crops, pixels.
            rows: of the training set, for losses that remember each sample.

        Raises:
            ConfigError: a term, a tap or the subclasses are wrong.
        """
        super().__init__()
        self.terms = terms_of(config)
        for term in self.terms:
            if term.kind.inputs == "classes":
                check_subclasses(student, teachers, term.name)
        _check_mixup(self.terms, config)
        if student.classes:
            self.task, self.terms = CLASSES, [term.on_classes() for term in self.terms]
        self.module = student.module
        self.format = student.format
        self.view_px = _view_px([student, *teachers], crop_px)
        self.wants_clean = config.teacher_view == "clean"
        # In a tuple, so that teachers are neither trained nor saved.
        self._teachers = freeze_teachers(teachers)
        self.given = {"teachers": " ".join(teacher.sha256 for teacher in teachers)}
        self.config = config
        self.face_probability, self.class_labels = face_probability, class_labels
        self.adapters, self.comparisons = nn.ModuleDict(), nn.ModuleDict()
        self._rows = rows
        self._taps: dict[str, tuple[TapReader, TapReader]] = {}
        self._open_taps()
        if not self._taps and pick_device(config.device).type == "cpu":
            self._teachers = tuple(fold_norms(self._teachers))

    def _open_taps(self) -> None:
        """Find the taps that terms use, and see their shapes in one small forward pass."""
        sides = taps_of(self.config)
        networks = [network_of(one) for one in (self.module, self._teachers[0].network)]
        for name in dict.fromkeys(tap for term in self.terms for tap in term.taps):
            student, teacher = (
                TapReader(network, Tap.parse(side))
                for network, side in zip(networks, sides[name], strict=True)
            )
            self._taps[name] = student, teacher
        if not self._taps:
            return
        with evaluating(self.module), torch.no_grad():
            self._outputs(torch.zeros(1, 3, self.view_px, self.view_px))
        shown = {name: tuple(tap.take() for tap in pair) for name, pair in self._taps.items()}
        for term in self.terms:
            if term.tap:
                self._fit(term, *_features(term, shown))

    def _fit(self, term: Term, student: Any, teacher: Any) -> None:
        """Check the features that a term compares, and make what it has of its own."""
        dimensions, wanted = FEATURE_SHAPES[term.kind.inputs]
        several = (
            zip(student, teacher, strict=True) if term.kind.is_several else [(student, teacher)]
        )
        for mine, its in several:
            if mine.ndim != dimensions or its.ndim != dimensions:
                shapes = f"{tuple(mine.shape[1:])} and {tuple(its.shape[1:])}"
                raise ConfigError(f"{term.label}: its tap shows {shapes}; both must be {wanted}")
        loss = term.loss_at(0.0)
        adapter = loss.make_adapter(student, teacher)
        if adapter is not None:
            self.adapters[_key(term)] = adapter
        comparison = loss.make_comparison(student, teacher, rows=self._rows)
        if comparison is not None:
            moving = [key for key, value in term.options.items() if isinstance(value, tuple)]
            if moving:
                raise ConfigError(f"{term.label}: {moving[0]} stays the same over a training")
            self.comparisons[_key(term)] = comparison

    def _outputs(self, views: Tensor, clean: Tensor | None = None) -> tuple[Outputs, Outputs]:
        """The student's outputs for the views; the teachers' mean for them, or for `clean`."""
        shown = [views if clean is None else clean]
        if self.config.teacher_mirrored:
            shown.insert(0, shown[0].flip(-1))  # taps keep what came last: the view as it is
        with torch.no_grad():
            teachers = [
                outputs for one in shown for each in self._teachers for outputs in each.outputs(one)
            ]
        return Outputs.of(self.module, self.format, views), Outputs.mean(teachers)

    def forward(
        self, views: Tensor, labels: Tensor, rows: Tensor, clean: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Compute the total and each term.

        Args:
            views: (N, 3, view_px, view_px) in [0, 1], RGB.
            labels: (N,), NaN for none.
            rows: (N,), of the crop set.
            clean: the views before photometric augmentation, where the teachers want them.
        """
        terms = self._terms(views, labels, rows, clean)
        total = sum((weight * value for value, weight in terms.values()), views.new_zeros(()))
        return {"total": total, **{label: value for label, (value, _) in terms.items()}}

    def gradient_norms(
        self, views: Tensor, labels: Tensor, rows: Tensor, clean: Tensor | None = None
    ) -> dict[str, float]:
        """Length of each weighted term's gradient on the student; arguments as in `forward`."""
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
            views, labels = mix(views, labels, config.mixup)
        student, teacher = self._outputs(views, clean)
        trust = self._teacher_weight(teacher.logit, rows.to(views.device))
        if config.teacher_noise:
            teacher = Outputs(
                *(noisy(one, config.teacher_noise, config.noise_share) for one in teacher)
            )
        features = {name: tuple(tap.take() for tap in pair) for name, pair in self._taps.items()}
        with torch.autocast(views.device.type, enabled=False):
            return self._compare(student, teacher, features, labels, rows, trust)

    def _compare(
        self,
        student: Outputs,
        teacher: Outputs,
        features: Mapping[str, tuple[Tensor, ...]],
        labels: Tensor,
        rows: Tensor,
        trust: Tensor,
    ) -> dict[str, tuple[Tensor, float]]:
        """Label -> (value, weight) of each term, in float32: differences are small in bfloat16."""
        found = {}
        for term in self.terms:
            if term.tap:
                mine, its = _features(term, features)
            else:
                mine, its = (one._asdict()[term.kind.inputs] for one in (student, teacher))
            mine, its = _in_float32(mine), _in_float32(its)
            if _key(term) in self.adapters:
                mine = self.adapters[_key(term)](mine)
            loss = term.loss_at(self.progress)
            known = self._labels(loss, labels, rows)
            given = {"labels": known.nan_to_num(0.0), "weight": _weight(loss, known, trust)}
            if _key(term) in self.comparisons:
                value = self.comparisons[_key(term)](mine, its, **given, rows=rows)
            else:
                value = loss(mine, its, **given)
            found[term.label] = (value, term.weight_at(self.progress))
        return found

    def _labels(self, loss: Loss, labels: Tensor, rows: Tensor) -> Tensor:
        """The labels that a loss learns from, (N,): of REAL and FAKE, or of classes."""
        if not loss.wants_labels or loss.inputs != "classes":
            return labels
        if self.class_labels is None:
            raise ConfigError(f"{type(loss).__name__} wants the labels of classes; give them")
        # A forgery that is made while training has the row NO_ROW, -1, and no known class.
        columns = self.class_labels.to(labels)[rows.to(labels.device)]
        return columns.masked_fill(rows.to(labels.device) == NO_ROW, math.nan)

    def _teacher_weight(self, teacher: Tensor, rows: Tensor) -> Tensor:
        """The weight of each sample where the teacher teaches it, (N,)."""
        weight, blends = torch.ones(len(rows), device=teacher.device), rows == NO_ROW
        if self.config.sample_weight == "teacher_confidence":
            weight = confidence(teacher)
        elif self.config.sample_weight == "face_probability" and self.face_probability is not None:
            weight = self.face_probability.to(teacher.device)[rows].masked_fill(blends, 1.0)
        return weight.masked_fill(blends, 0.0) if self.config.blends_by_label else weight


def _view_px(models: Sequence[TorchModel], crop_px: int) -> int:
    """Side of the views; shrunk twice, they would be less sharp than crops that are judged."""
    sizes = {model.format.size for model in models}
    return max(*sizes, crop_px) if len(sizes) > 1 else sizes.pop()


def _features(term: Term, shown: Mapping[str, tuple[Tensor, ...]]) -> tuple[Any, Any]:
    """What a term compares at its taps: a pair, or a pair of sequences."""
    if not term.kind.is_several:
        mine, its = shown[term.tap]
        return mine, its
    pairs = [shown[tap] for tap in term.taps]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def _in_float32(features: Any) -> Any:
    """A tensor, or a list of them."""
    return [one.float() for one in features] if isinstance(features, list) else features.float()


def _key(term: Term) -> str:
    """The name of a term's adapter; module names have no dots."""
    return term.label.replace(".", "_")


def _weight(loss: Loss, labels: Tensor, trust: Tensor) -> Tensor:
    """The weight of each sample in a loss, (N,)."""
    weight = trust if loss.wants_teacher else torch.ones_like(trust)
    return weight * labels.isfinite().to(weight) if loss.wants_labels else weight


def _check_mixup(terms: Sequence[Term], config: DistillConfig) -> None:
    for term in terms:
        if config.mixup and term.kind.wants_labels and term.kind.inputs == "classes":
            raise ConfigError(f"mixup and {term.name} exclude each other: no class has a mixture")
