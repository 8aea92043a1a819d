"""A quantisation as a table or JSON."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from deepkd.tables.benchmark import busy_warning, warn_of_training
from deepkd.tables.table import Column, Table, formats
from deepkd.text import visible

if TYPE_CHECKING:
    from deepkd.compression.results import QuantizeDocument, VariantRow
    from deepkd.evaluation.metrics import Measure

DECIDED = {True: "yes", None: ""}


def _or_nothing(show: Callable[..., str]) -> Callable[..., str]:
    return lambda value: "" if value is None else show(value)


def times(ratio: "Measure") -> str:
    """A share of float32's time with its interval."""
    return f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"


def _change(change: "Measure") -> str:
    if change.value is None:
        return "-"
    span = "" if change.low is None else f" [{change.low:+.4f}, {change.high:+.4f}]"
    return f"{change.value:+.4f}{span}"


def _columns(measure: str) -> tuple[Column, ...]:
    return (
        Column("", is_words=True, is_left=True),
        Column("File", _or_nothing(lambda size: f"{size / 1e6:,.2f} MB")),
        Column(measure[0].upper() + measure[1:]),
        Column(f"Change of {measure}", _or_nothing(_change)),
        Column("Latency", "{:,.3f} ms".format),
        Column("ratio to float32", _or_nothing(times)),
        Column("Replaces float32", is_words=True),
    )


def _measure_of(document: "QuantizeDocument") -> str:
    return "AUC" if document.models[0].accuracy is None else "accuracy"


def quantize_table(document: "QuantizeDocument") -> Table:
    """The variants beside float32, the outcome, and how it was measured."""
    twin = document.twin
    rows = [
        *map(_cells, document.models),
        ("float32's twin", None, "", None, twin.latency_ms, twin.latency_ratio, ""),
    ]
    columns = _columns(_measure_of(document))
    return Table(columns, rows, title="Variants", notes=[outcome(document), *notes(document)])


def _cells(row: "VariantRow") -> Sequence[object]:
    is_variant = row.accepted is not None
    refused = f"no: {'; '.join(row.objections)}"
    score = row.auc if row.accuracy is None else row.accuracy
    change = row.accuracy_change or row.auc_change
    return (
        row.variant,
        row.bytes,
        "-" if score is None else f"{score:.4f}",
        change if is_variant else None,
        row.latency_ms,
        row.latency_ratio if is_variant else None,
        DECIDED.get(row.accepted, refused),
    )


def outcome(document: "QuantizeDocument") -> str:
    """What was written, or that float32 stays."""
    written = document.written
    if written is None:
        return (
            "No variant may replace float32 here, so nothing was written; --keep NAME writes one"
            " that works."
        )
    why = "as --keep asks" if written.asked else "the fastest that may replace float32"
    return f"Wrote {written.variant} to {visible(written.path)}, {why}."


def notes(document: "QuantizeDocument") -> list[str]:
    """How it was measured: a line each for int8, AUC and time."""
    at, shown, data = document.machine, document.calibration, document.data
    distances = ", ".join(f"{name} {value:g}" for name, value in shown.distances.items())
    return [
        (
            f"int8: distance of the logits from float32's (RMS) on {shown.crops:,} crops of"
            f" '{shown.split}' that showed the ranges: {distances}."
        ),
        _judged_on(document),
        *warn_of_training("The model", data.training_data),
        (
            f"{at.cpu}, {at.threads} of {at.cores} cores, load {at.load}, onnxruntime"
            f" {at.onnxruntime}; models in turn in one process, median of single crops."
        ),
        (
            "float32's twin is the same file, timed a second time: its interval is the noise of"
            " the timing. A variant counts as faster if its whole interval is below"
            f" {document.twin.faster_below:.2f}."
        ),
        *busy_warning(at),
    ]


def _judged_on(document: "QuantizeDocument") -> str:
    data, measure = document.data, _measure_of(document)
    if measure == "AUC":
        return (
            f"AUC on {data.crops:,} crops of '{data.split}', its change with the 95% interval"
            " over originals; people may recur across splits."
        )
    return (
        f"Accuracy on {data.crops:,} pictures of '{data.split}', its change with the 95% interval"
        " over pictures."
    )


FORMATS: "dict[str, Callable[[QuantizeDocument], None]]" = formats(quantize_table)
"""`--format` -> what prints the document to standard output."""
