"""Results: what benchmarks measure, as documents."""

from dataclasses import dataclass
from typing import ClassVar

from deepkd.documents import Document
from deepkd.evaluation.metrics import Measure
from deepkd.machine import Machine


@dataclass(frozen=True)
class BenchmarkMachine(Machine):
    """The machine, and how many crops it scored per call for the throughput."""

    throughput_batch: int


@dataclass(frozen=True)
class Latency(Document):
    """Milliseconds of one call."""

    batch: int
    """Crops per call."""
    p50: float
    p95: float
    runs: int


@dataclass(frozen=True)
class BenchmarkRow(Document):
    """One model in one runtime."""

    name: str
    role: str
    """`teacher`, `student` or `other`."""
    runtime: str
    """`torch`, or one of `RUNTIMES`."""
    params: int
    macs: int
    bytes: int
    latency_ms: Latency
    throughput_per_s: float
    peak_rss_mb: float | None
    """None where the system does not say."""
    auc: float | None
    """None without crops, and of models that tell classes apart."""
    training_data: float | None
    """Share of the originals that the model was trained on; None where it is unknown."""
    accuracy: float | None = None
    """Of models that tell classes apart, on pictures of them."""


@dataclass(frozen=True)
class Reduction(Document):
    """What the student saves, per cent of the teacher's; None without both."""

    params_pct: float | None = None
    latency_pct: float | None = None
    """Each as it is deployed."""
    latency_same_runtime_pct: float | None = None
    """Both as ONNX files."""
    size_pct: float | None = None


@dataclass(frozen=True)
class ClipTiming(Document):
    """A clip from decoding to verdict, with teacher and student."""

    video: str
    teacher_s: float | None
    student_s: float | None
    breakdown_ms: dict[str, dict[str, float]]
    """Role -> stage -> milliseconds."""


@dataclass(frozen=True)
class BenchmarkDocument(Document):
    """A teacher, a student and others, measured in turn."""

    schema: ClassVar[str] = "deepkd.benchmark/1"

    machine: BenchmarkMachine
    models: tuple[BenchmarkRow, ...]
    reduction: Reduction
    end_to_end: ClipTiming | None


@dataclass(frozen=True)
class ThreadLatency(Document):
    """Median milliseconds of a call on some threads."""

    threads: int
    single: float
    """One crop."""
    batch: float
    """A whole batch."""


@dataclass(frozen=True)
class ParetoRow(Document):
    """One model as an ONNX file."""

    name: str
    role: str
    made: tuple[str, ...]
    """How the model came to be, such as `distilled`, `pruned`."""
    params: int
    macs: int
    bytes: int
    latency_ms: tuple[ThreadLatency, ...]
    auc: Measure | None
    training_data: float | None
    front: tuple[str, ...] = ()
    """The fronts that it is on, of `COSTS`."""


@dataclass(frozen=True)
class ParetoData(Document):
    """The crops that AUC was measured on."""

    name: str
    split: str
    crops: int


@dataclass(frozen=True)
class LeftOut(Document):
    """A file that was not measured."""

    path: str
    reason: str


@dataclass(frozen=True)
class ParetoDocument(Document):
    """Every model of a folder in one runtime."""

    schema: ClassVar[str] = "deepkd.pareto/1"

    machine: Machine
    runtime: str
    runs: int
    batch: int
    data: ParetoData | None
    models: tuple[ParetoRow, ...]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True)
class ComparedModel(Document):
    """One model after a distillation, on held-out crops."""

    name: str
    auc: float | None
    log_loss: float
    params: int
    macs: int
    ms: float
    """Median milliseconds of one crop in ONNX Runtime on all cores."""
    accuracy: float | None = None
    """Of models that tell classes apart; they have no AUC."""
    top5: float | None = None


@dataclass(frozen=True)
class ComparisonDocument(Document):
    """The models after a distillation, as they are printed."""

    schema: ClassVar[str] = "deepkd.distill/1"

    models: tuple[ComparedModel, ...]
