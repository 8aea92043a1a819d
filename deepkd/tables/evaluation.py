"""Evaluations for people and programs: a document of schema deepkd.evaluate/1 as a table, JSON or CSV."""

import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from deepkd.tables.benchmark import trained_on
from deepkd.tables.robustness import harm_note, robustness_table
from deepkd.tables.table import print_json, print_table
from deepkd.text import cell, csv_writer, visible

LEVELS = {"crops": "Crops", "videos": "Videos"}
NOTE = (
    "In brackets: 95% intervals of a bootstrap over source videos. Where the same people recur in"
    " training and test, every figure is flattered, and nobody knows unless the data names them."
    " FAKE and REAL are called at each model's own thresholds; a video without a score is called"
    " neither. Precision is what the other figures mean where forgeries are as rare as it says."
)

FIGURES = {
    "auc": "AUC",
    "average_precision": "Average precision",
    "log_loss": "Log loss",
    "eer": "Equal error rate",
    "accuracy": "Accuracy",
    "ece": "Calibration error",
    "ece_even": "... at even odds",
    "fpr_at_95_tpr": "FPR at 95% TPR",
    "false_alarms": "Real called FAKE",
    "detected": "Forged called FAKE",
    "inconclusive": "INCONCLUSIVE",
    "precision": "Precision",
}
"""Key of a figure in the document -> the name that people read."""


def evaluation_table(document: Mapping[str, Any]) -> Group:
    """What was evaluated, then figures as rows with models side by side as columns; then what damage does to them."""
    models = document["models"]
    table = Table("Figure", box=SIMPLE_HEAD, pad_edge=False)
    for model in models:
        table.add_column(
            f"{escape(visible(model['name']))}\n{model['params']:,} parameters", justify="right"
        )
    for level, name in LEVELS.items():
        if models[0][level] is None:
            continue
        table.add_section()
        table.add_row(f"[bold]{name}[/]", *(_counted(model[level]) for model in models))
        if any(model[level]["scored"] < model[level]["rows"] for model in models):
            table.add_row("  with a score", *(f"{model[level]['scored']:,}" for model in models))
        for figure, title in FIGURES.items():
            table.add_row(
                f"  {_titled(title, models[0][level])}",
                *(shown(model[level][figure]) for model in models),
            )
    for parts, title in (
        ("methods", "AUC, method against all real"),
        ("datasets", "AUC, data set"),
    ):
        _add_parts(table, models, parts, title)
    if any(model["v_score"] is not None for model in models):
        table.add_section()
        table.add_row("V-score of the features", *(f"{model['v_score']:.4f}" for model in models))
    harmed = [robustness_table(model) for model in models if model["robustness"]]
    notes = [Text(harm_note(models), style="dim")] if harmed else []
    return Group(
        Text(visible(_title(document))),
        *map(Text, _remarks(models)),
        table,
        Text(NOTE, style="dim"),
        *harmed,
        *notes,
    )


def _titled(title: str, metrics: Mapping[str, Any]) -> str:
    return (
        f"{title}, {metrics['prevalence']:.3%} forged".replace(".000%", "%")
        if title == "Precision"
        else title
    )


def _add_parts(table: Table, models: list[Any], parts: str, title: str) -> None:
    if models[0][parts]:
        table.add_section()
        table.add_row(f"[bold]{title}[/]")
    for name in models[0][parts]:
        cells = (
            shown(model[parts][name]["auc"]) if name in model[parts] else "-" for model in models
        )
        table.add_row(f"  {escape(visible(name))}", *cells)


def _overlaps(overlaps: list[Any]) -> Iterator[str]:
    """Such as `split train: 0 of 250 originals, 12 of 40 people`, one for each place."""
    places: dict[str, list[str]] = {}
    for found in overlaps:
        unknown = f"{found['kind']} not known"
        said = (
            unknown
            if found["shared"] is None
            else f"{found['shared']:,} of {found['here']:,} {found['kind']}"
        )
        places.setdefault(found["place"], []).append(said)
    yield from (f"{visible(place)}: {', '.join(said)}" for place, said in places.items())


def _remarks(models: list[Any]) -> Iterator[str]:
    """What a reader has to know before the figures."""
    elsewhere = [found for found in models[0]["overlaps"] if found["place"] != "training"]
    yield from (f"Of these, also in {sentence}." for sentence in _overlaps(elsewhere))
    for model in models:
        trained = [found for found in model["overlaps"] if found["place"] == "training"]
        yield from (
            f"Of these, also in {visible(model['name'])}'s {sentence}."
            for sentence in _overlaps(trained)
        )
        yield from trained_on(model["name"], model["training_data"])
        if model["unjudged"]:
            counts = ", ".join(f"{count} {answer}" for answer, count in model["unjudged"].items())
            yield f"{visible(model['name'])} gave no score to {counts}; {_left_out(model)}"


def _left_out(model: Mapping[str, Any]) -> str:
    """Which figures lack the videos without a score, and how many videos each kind of figure is of."""
    counts = model["videos"]
    decided = (
        f"what is called FAKE and INCONCLUSIVE is of {counts['rows']:,} videos (all but ERROR)"
    )
    return f"{decided}, every other figure of the {counts['scored']:,} with a score."


def shown(measure: Mapping[str, float | None], *, digits: int = 4) -> str:
    """`0.9120 [0.899, 0.923]`, with a dash where the data cannot give the figure or its high end."""
    if measure["value"] is None:
        return "-"
    value = f"{measure['value']:.{digits}f}"
    if measure["low"] is None:
        return value
    high = "-" if measure["high"] is None else f"{measure['high']:.3f}"
    return f"{value} [{measure['low']:.3f}, {high}]"


def _title(document: Mapping[str, Any]) -> str:
    level = next(name for name in LEVELS if document["models"][0][name] is not None)
    counts = document["models"][0][level]
    unlabelled = (
        f", {document['unlabelled']:,} without a label left out" if document["unlabelled"] else ""
    )
    return (
        f"{document['data']}, split {document['split']}: {counts['rows']:,} {level} of"
        f" {counts['sources']:,} sources ({counts['real']:,} REAL, {counts['fake']:,}"
        f" FAKE{unlabelled})"
    )


def _counted(metrics: Mapping[str, Any]) -> str:
    return f"{metrics['real']:,} REAL, {metrics['fake']:,} FAKE"


def evaluation_csv(document: Mapping[str, Any]) -> str:
    """One line per model, level and figure: `model,level,figure,value,low,high`; an empty cell is no value."""
    text = io.StringIO()
    write = csv_writer(text).writerow
    write(["model", "level", "figure", "value", "low", "high"])
    for model in document["models"]:
        for level, metrics in _levels(model):
            for figure in FIGURES:
                found = metrics[figure]
                write(
                    [
                        cell(model["name"]),
                        cell(level),
                        figure,
                        found["value"],
                        found["low"],
                        found["high"],
                    ]
                )
    return text.getvalue()


def _levels(model: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield from ((level, model[level]) for level in LEVELS if model[level] is not None)
    yield from ((f"method:{method}", metrics) for method, metrics in model["methods"].items())
    yield from ((f"dataset:{name}", metrics) for name, metrics in model["datasets"].items())
    for condition in model["robustness"]:
        name = f"{condition['perturbation']}:{condition['level']:g}"
        if condition["crops"]:
            yield f"perturbed:{name}", condition["crops"]
        if condition["videos"]:
            yield f"perturbed:{name}:videos", condition["videos"]


FORMATS: dict[str, Callable[[Mapping[str, Any]], None]] = {
    "table": lambda document: print_table(evaluation_table(document)),
    "json": print_json,
    "csv": lambda document: print(evaluation_csv(document), end=""),
}
"""`--format` -> what prints the document to standard output."""
