"""A quantisation for people and programs: a document of schema deepkd.quantize/1 as a table or JSON."""

from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Group
from rich.text import Text

from deepkd.tables.benchmark import busy, trained_on
from deepkd.tables.table import Figures, print_json, print_table
from deepkd.text import visible


def quantize_tables(document: Mapping[str, Any]) -> Group:
    """The variants beside float32, what was written or why nothing was, and how it was measured."""
    heads = ("", "File", "AUC", "Change of AUC", "Latency", "of float32's", "Replaces float32")
    table = Figures(heads, lines(document), title="Variants", words=(0, len(heads) - 1))
    return Group(table, Text("\n".join([outcome(document), *notes(document)]), style="dim"))


def lines(document: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A line per model, and one of float32's twin, as text."""
    twin = document["twin"]
    latency = f"{twin['latency_ms']:,.3f} ms"
    return [
        *((row["variant"], *cells(row)) for row in document["models"]),
        ("float32's twin", "", "", "", latency, times(twin["latency_ratio"]), ""),
    ]


def times(ratio: Mapping[str, float]) -> str:
    """A share of float32's time with its interval."""
    return f"{ratio['value']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """File, AUC, its change, latency, its ratio, verdict of one row, as text."""
    plain = (f"{row['bytes'] / 1e6:,.2f} MB", "-" if row["auc"] is None else f"{row['auc']:.4f}")
    latency = f"{row['latency_ms']:,.3f} ms"
    if row["accepted"] is None:
        return *plain, "", latency, "", ""
    change, ratio = row["auc_change"], row["latency_ratio"]
    span = "" if change["low"] is None else f" [{change['low']:+.4f}, {change['high']:+.4f}]"
    verdict = "yes" if row["accepted"] else "no: " + "; ".join(row["objections"])
    moved = "-" if change["value"] is None else f"{change['value']:+.4f}{span}"
    return *plain, moved, latency, times(ratio), verdict


def outcome(document: Mapping[str, Any]) -> str:
    """What was written, or that float32 stays."""
    written = document["written"]
    if written is None:
        return (
            "No variant may replace float32 here, so nothing was written; --keep NAME writes one"
            " that works."
        )
    why = "as --keep asks" if written["asked"] else "the fastest that may replace float32"
    return f"Wrote {written['variant']} to {visible(written['path'])}, {why}."


def notes(document: Mapping[str, Any]) -> list[str]:
    """How it was measured: a line each for int8, AUC and time."""
    at, shown, data = document["machine"], document["calibration"], document["data"]
    distances = ", ".join(f"{name} {value:g}" for name, value in shown["distances"].items())
    return [
        (
            f"int8: distance of the logits from float32's (RMS) on {shown['crops']:,} crops of"
            f" '{shown['split']}' that showed the ranges: {distances}."
        ),
        (
            f"AUC on {data['crops']:,} crops of '{data['split']}', its change with the 95% interval"
            " over originals; people may recur across splits."
        ),
        *trained_on("The model", data["training_data"]),
        (
            f"{at['cpu']}, {at['threads']} of {at['cores']} cores, load {at['load']}, onnxruntime"
            f" {at['onnxruntime']}; models in turn in one process, median of single crops."
        ),
        (
            "float32's twin is the same file opened and timed once more in the same turns: the"
            " interval of its ratio is what chance does. A variant is faster where the whole"
            f" interval of its own lies below {document['twin']['faster_below']:.2f}, the low end"
            " of the twin's or of its inverse."
        ),
        *busy(at),
    ]


FORMATS: dict[str, Callable[[Mapping[str, Any]], None]] = {
    "table": lambda document: print_table(quantize_tables(document)),
    "json": print_json,
}
"""`--format` -> what prints the document to standard output."""
