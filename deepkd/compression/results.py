"""Results: variants of a model beside float32, as one document."""

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
    """None where a logit is not finite."""
    auc_change: Measure
    """AUC less float32's."""
    latency_ms: float
    latency_ratio: Measure
    """Latency divided by float32's."""
    accepted: bool | None
    """Whether it may replace float32; None of float32."""
    objections: tuple[str, ...]
    """Why it must not replace float32."""


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
