"""Results: variants of a model beside float32, and the steps of a pruning, as documents."""

from dataclasses import dataclass
from typing import Any, ClassVar

from deepkd.documents import Document
from deepkd.evaluation.metrics import Measure
from deepkd.machine import Machine


@dataclass(frozen=True)
class VariantRow(Document):
    """One variant beside float32."""

    variant: str
    name: str
    made: dict[str, Any] | None
    """What the file says of its making; None of float32."""
    params: int
    bytes: int
    sha256: str
    auc: float | None
    """None where a logit is not finite, and of pictures of classes."""
    auc_change: Measure
    """AUC less float32's."""
    latency_ms: float
    latency_ratio: Measure
    """Latency divided by float32's."""
    accepted: bool | None
    """Whether it may replace float32; None of float32."""
    objections: tuple[str, ...]
    """Why it must not replace float32."""
    accuracy: float | None = None
    """In place of AUC, on pictures of classes."""
    accuracy_change: Measure | None = None
    """Accuracy less float32's."""


@dataclass(frozen=True)
class CalibrationCrops(Document):
    """The crops that showed the ranges of int8."""

    split: str
    crops: int
    distances: dict[str, float]
    """Method -> distance of its logits from float32's (RMS)."""


@dataclass(frozen=True)
class JudgedCrops(Document):
    """The crops that AUC was measured on."""

    split: str
    crops: int
    training_data: float | None
    """Share of the originals that the model was trained on; None where it is unknown."""


@dataclass(frozen=True)
class TwinRow(Document):
    """Float32's twin: the same file opened and timed once more, which shows what chance does."""

    latency_ms: float
    latency_ratio: Measure
    faster_below: float
    """Share of float32's time that a variant must stay below."""


@dataclass(frozen=True)
class Written(Document):
    """The variant that was written."""

    variant: str
    path: str
    asked: bool
    """Whether the settings name it."""


@dataclass(frozen=True)
class QuantizeDocument(Document):
    """A model in cheaper arithmetic, measured against float32."""

    schema: ClassVar[str] = "deepkd.quantize/1"

    machine: Machine
    calibration: CalibrationCrops
    data: JudgedCrops
    max_drop: float
    models: tuple[VariantRow, ...]
    twin: TwinRow
    written: Written | None


@dataclass(frozen=True)
class PruneStep(Document):
    """The network after one step."""

    step: int
    """0 is the unpruned network."""
    params: int
    macs: int
    score: float | None
    """AUC, or accuracy of pictures of classes, on the validation split."""


@dataclass(frozen=True)
class PruneDocument(Document):
    """What a network lost in accuracy, and in cost, step by step."""

    schema: ClassVar[str] = "deepkd.prune/1"

    model: str
    measure: str
    """`AUC` or `accuracy`."""
    crops: int
    """Of the validation split."""
    epochs: int
    """Of distillation after each step."""
    steps: tuple[PruneStep, ...]
