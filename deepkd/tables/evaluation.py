"""Evaluations as tables, CSV and JSON."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from deepkd.tables.benchmark import warn_of_training
from deepkd.tables.robustness import robustness_note, robustness_table
from deepkd.tables.table import Column, Table, formats
from deepkd.text import visible

if TYPE_CHECKING:
    from deepkd.data.leakage import Overlap
    from deepkd.evaluation.metrics import Measure, Metrics
    from deepkd.evaluation.results import EvaluationDocument, ModelFigures

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
PARTS = {"methods": "AUC, method against all real", "datasets": "AUC, data set"}
Rows = Iterator[Sequence[str | Text] | None]


def evaluation_tables(document: "EvaluationDocument") -> Group:
    """What was evaluated, the figures, and what corruptions do to them."""
    corrupted = [model for model in document.models if model.robustness]
    return Group(
        Text(visible(_title(document))),
        *map(Text, _remarks(document.models)),
        figures_table(document.models),
        Text(NOTE, style="dim"),
        *map(robustness_table, corrupted),
        *([Text(robustness_note(document.models), style="dim")] if corrupted else []),
    )


def figures_table(models: "Sequence[ModelFigures]") -> Table:
    """Figures as rows, models side by side as columns."""
    heads = [f"{visible(model.name)}\n{model.params:,} parameters" for model in models]
    columns = [Column("Figure", _as_is, is_left=True), *(Column(head, _as_is) for head in heads)]
    rows = [row for level in LEVELS for row in _level_rows(models, level)]
    rows += [row for kind in PARTS for row in _part_rows(models, kind)]
    if any(model.v_score is not None for model in models):
        rows += [None, ("V-score of the features", *(f"{one.v_score:.4f}" for one in models))]
    return Table(columns, rows, is_ruled=False, is_stacked=False)


def _as_is(text: str | Text) -> str | Text:
    return text


def _level_rows(models: "Sequence[ModelFigures]", level: str) -> Rows:
    """The figures of crops, or of videos."""
    found: list[Metrics] = [getattr(model, level) for model in models]
    if found[0] is None:
        return
    yield None
    yield (
        Text.from_markup(f"[bold]{LEVELS[level]}[/]"),
        *(f"{m.real:,} REAL, {m.fake:,} FAKE" for m in found),
    )
    if any(metrics.scored < metrics.rows for metrics in found):
        yield "  with a score", *(f"{metrics.scored:,}" for metrics in found)
    for figure, title in FIGURES.items():
        shown = [format_measure(getattr(metrics, figure)) for metrics in found]
        yield f"  {_add_title(title, found[0])}", *shown


def _add_title(title: str, metrics: "Metrics") -> str:
    if title != "Precision":
        return title
    return f"{title}, {metrics.prevalence:.3%} forged".replace(".000%", "%")


def _part_rows(models: "Sequence[ModelFigures]", kind: str) -> Rows:
    """The AUC of each method, or of each data set."""
    parts: list[dict[str, Metrics]] = [getattr(model, kind) for model in models]
    if parts[0]:
        yield None
        yield Text.from_markup(f"[bold]{PARTS[kind]}[/]"), *("" for _ in models)
    for name in parts[0]:
        shown = [format_measure(part[name].auc) if name in part else "-" for part in parts]
        yield f"  {visible(name)}", *shown


def _overlaps(overlaps: "Sequence[Overlap]") -> Iterator[str]:
    """Such as `split train: 0 of 250 originals, 12 of 40 people`, one for each place."""
    places: dict[str, list[str]] = {}
    for found in overlaps:
        unknown = f"{found.kind} not known"
        counts = f"{found.shared or 0:,} of {found.here:,} {found.kind}"
        places.setdefault(found.place, []).append(unknown if found.shared is None else counts)
    yield from (f"{visible(place)}: {', '.join(parts)}" for place, parts in places.items())


def _remarks(models: "Sequence[ModelFigures]") -> Iterator[str]:
    """What a reader has to know before the figures."""
    elsewhere = [found for found in models[0].overlaps if found.place != "training"]
    yield from (f"Of these, also in {sentence}." for sentence in _overlaps(elsewhere))
    for model in models:
        trained = [found for found in model.overlaps if found.place == "training"]
        yield from (
            f"Of these, also in {visible(model.name)}'s {sentence}."
            for sentence in _overlaps(trained)
        )
        yield from warn_of_training(model.name, model.training_data)
        if model.unjudged:
            counts = ", ".join(f"{count} {answer}" for answer, count in model.unjudged.items())
            left_out = _describe_missing(model.videos or model.whole)
            yield f"{visible(model.name)} gave no score to {counts}; {left_out}"


def _describe_missing(counts: "Metrics") -> str:
    """Which figures lack the videos without a score, and how many each kind of figure is of."""
    decided = f"what is called FAKE and INCONCLUSIVE is of {counts.rows:,} videos (all but ERROR)"
    return f"{decided}, every other figure of the {counts.scored:,} with a score."


def format_measure(measure: "Measure", *, digits: int = 4) -> str:
    """`0.9120 [0.899, 0.923]`, with a dash for what the data cannot give."""
    if measure.value is None:
        return "-"
    value = f"{measure.value:.{digits}f}"
    if measure.low is None:
        return value
    high = "-" if measure.high is None else f"{measure.high:.3f}"
    return f"{value} [{measure.low:.3f}, {high}]"


def _title(document: "EvaluationDocument") -> str:
    first = document.models[0]
    level = "crops" if first.crops else "videos"
    counts = first.whole
    unlabelled = (
        f", {document.unlabelled:,} without a label left out" if document.unlabelled else ""
    )
    return (
        f"{document.data}, split {document.split}: {counts.rows:,} {level} of"
        f" {counts.sources:,} sources ({counts.real:,} REAL, {counts.fake:,}"
        f" FAKE{unlabelled})"
    )


def evaluation_table(document: "EvaluationDocument") -> Table:
    """A row per model, level and figure; the CSV."""
    keys = ("model", "level", "figure", "value", "low", "high")
    rows = [
        (model.name, level, figure, measure.value, measure.low, measure.high)
        for model in document.models
        for level, metrics in _levels(model)
        for figure, measure in ((key, getattr(metrics, key)) for key in FIGURES)
    ]
    return Table([Column(key=key) for key in keys], rows)


def _levels(model: "ModelFigures") -> "Iterator[tuple[str, Metrics]]":
    yield from ((level, getattr(model, level)) for level in LEVELS if getattr(model, level))
    yield from ((f"method:{method}", metrics) for method, metrics in model.methods.items())
    yield from ((f"dataset:{name}", metrics) for name, metrics in model.datasets.items())
    for condition in model.robustness:
        name = f"{condition.perturbation}:{condition.level:g}"
        if condition.crops:
            yield f"perturbed:{name}", condition.crops
        if condition.videos:
            yield f"perturbed:{name}:videos", condition.videos


FORMATS: "dict[str, Callable[[EvaluationDocument], None]]" = formats(
    evaluation_tables, evaluation_table
)
"""`--format` -> what prints the document to standard output."""
