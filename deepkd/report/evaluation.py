"""Evaluations for people and programs: a document of schema deepkd.evaluate/1 as a table, JSON or CSV."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from deepkd.report.csv import cell
from deepkd.report.escape import visible

LEVELS = {"crops": "Crops", "videos": "Videos (mean logit of their crops)"}
NOTE = (
    "In brackets: 95% intervals of a bootstrap over source videos. The index names no people; where the same ones "
    "recur in training and test, every figure is flattered."
)

FIGURES = {
    "auc": "AUC",
    "average_precision": "Average precision",
    "log_loss": "Log loss",
    "eer": "Equal error rate",
    "accuracy": "Accuracy",
    "ece": "Calibration error (ECE)",
    "fpr_at_95_tpr": "FPR at 95% TPR",
    "false_alarms": "Real called FAKE",
    "detected": "Forged called FAKE",
    "inconclusive": "INCONCLUSIVE",
    "precision": "Right when it says FAKE",
}
"""Key of a figure in the document -> the name that people read."""


def evaluation_table(document: Mapping[str, Any]) -> Group:
    """What was evaluated, then figures as rows with models side by side as columns."""
    models = document["models"]
    table = Table("Figure")
    for model in models:
        table.add_column(f"{escape(visible(model['name']))}\n{model['params']:,} parameters", justify="right")
    for level, name in LEVELS.items():
        if models[0][level] is None:
            continue
        table.add_section()
        table.add_row(f"[bold]{name}[/]", *(_counted(model[level]) for model in models))
        for figure, title in FIGURES.items():
            table.add_row(f"  {title}", *(shown(model[level][figure]) for model in models))
    _add_methods(table, models)
    return Group(Text(visible(_title(document))), table, Text(NOTE, style="dim"))


def _add_methods(table: Table, models: list[Any]) -> None:
    if models[0]["methods"]:
        table.add_section()
        table.add_row("[bold]AUC of each method against all real crops[/]")
    for method in models[0]["methods"]:
        table.add_row(f"  {escape(visible(method))}", *(shown(model["methods"][method]["auc"]) for model in models))


def shown(measure: Mapping[str, float | None]) -> str:
    """`0.912 [0.899, 0.923]`, with a dash where the data cannot give the figure."""
    if measure["value"] is None:
        return "-"
    value = f"{measure['value']:.4f}"
    return value if measure["low"] is None else f"{value} [{measure['low']:.3f}, {measure['high']:.3f}]"


def _title(document: Mapping[str, Any]) -> str:
    counts = document["models"][0]["crops"]
    unlabelled = f", {document['unlabelled']:,} without a label left out" if document["unlabelled"] else ""
    return (
        f"{document['data']}, split {document['split']}: {counts['rows']:,} crops of {counts['sources']:,} sources "
        f"({counts['real']:,} REAL, {counts['fake']:,} FAKE{unlabelled})"
    )


def _counted(metrics: Mapping[str, Any]) -> str:
    return f"{metrics['real']:,} REAL, {metrics['fake']:,} FAKE"


def evaluation_csv(document: Mapping[str, Any]) -> str:
    """One line per model, level and figure: `model,level,figure,value,low,high`; an empty cell is no value."""
    text = io.StringIO()
    write = csv.writer(text, lineterminator="\n").writerow
    write(["model", "level", "figure", "value", "low", "high"])
    for model in document["models"]:
        for level, metrics in _levels(model):
            for figure in FIGURES:
                found = metrics[figure]
                write([cell(model["name"]), cell(level), figure, found["value"], found["low"], found["high"]])
    return text.getvalue()


def _levels(model: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield from ((level, model[level]) for level in LEVELS if model[level] is not None)
    yield from ((f"method:{method}", metrics) for method, metrics in model["methods"].items())


def _print_table(document: Mapping[str, Any]) -> None:
    console = Console()
    Console(width=None if console.is_terminal else 160).print(evaluation_table(document))


FORMATS: dict[str, Callable[[Mapping[str, Any]], None]] = {
    "table": _print_table,
    "json": lambda document: print(json.dumps(document, indent=2)),
    "csv": lambda document: print(evaluation_csv(document), end=""),
}
"""`--format` -> what prints the document to standard output."""
