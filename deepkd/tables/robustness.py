"""Robustness: AUC and false alarms at each level of each corruption, as tables and pictures."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.text import Text

from deepkd.tables.plots import Array, plain, save_plot
from deepkd.tables.table import Column, Table
from deepkd.text import visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from deepkd.evaluation.metrics import Metrics
    from deepkd.evaluation.results import Condition, ModelFigures


def robustness_note(models: "Sequence[ModelFigures]") -> str:
    """What the numbers in the tables are."""
    unjudged = any(condition.unjudged for model in models for condition in model.robustness)
    lost = (
        " Below that, in brackets: videos that got no score; they are not in the AUC, and nowhere"
        " if they could not be read."
    )
    lost = lost if unjudged else ""
    return (
        f"Above: AUC; below: share of the real called FAKE.{lost} Levels go from mild to severe,"
        " each on all the data."
    )


def robustness_table(model: "ModelFigures") -> Table:
    """A row per corruption, a column per level, AUC over the false alarms; 80 columns wide."""
    kinds = corruption_rows(model)
    severities = range(1, _widest(kinds) + 1)
    columns = [
        Column("", is_left=True),
        Column("Clean", is_left=True),
        *(Column(str(number), min_width=5) for number in severities),
    ]
    clean = _pair(model.whole)
    rows = [
        [title, "" if place else clean, *(_cell(levels.get(number)) for number in severities)]
        for place, (title, levels) in enumerate(kinds)
    ]
    data = "crops" if model.crops else "videos"
    title = Text(f"{visible(model.name)} on damaged {data}", style="bold")
    return Table(columns, rows, title=title, is_ruled=False, is_stacked=False)


def corruption_rows(model: "ModelFigures") -> "list[tuple[str, dict[int, Condition]]]":
    """(title of a corruption, its conditions by severity, from 1), in the document's order."""
    rows: dict[str, dict[int, Condition]] = {}
    for condition in model.robustness:
        rows.setdefault(condition.title, {})[condition.severity] = condition
    return list(rows.items())


def _widest(rows: "Sequence[tuple[str, dict[int, Condition]]]") -> int:
    """The highest severity."""
    return max(number for _, levels in rows for number in levels)


def _cell(condition: "Condition | None") -> str:
    if condition is None:
        return ""
    lost = f"\n({condition.unjudged})" if condition.unjudged else ""
    return _pair(condition.whole) + lost


def _pair(metrics: "Metrics | None") -> str:
    area, alarms = _value(metrics, "auc"), _value(metrics, "false_alarms")
    return f"{'-' if area is None else f'{area:.3f}'}\n{'-' if alarms is None else f'{alarms:.1%}'}"


def _value(metrics: "Metrics | None", figure: str) -> float | None:
    if metrics is None:
        return None
    value: float | None = getattr(metrics, figure).value
    return value


def draw_robustness(path: Path, models: "Sequence[ModelFigures]") -> None:
    """Heat maps of AUC and of false alarms under corruptions, a row per model.

    Raises:
        OutputError: the plot cannot be written.
    """

    def draw(figure: "Figure") -> None:
        panels = figure.subplots(len(models), 2, squeeze=False, sharey=True)
        for row, model in zip(panels, models, strict=True):
            for axes, (key, title, span, colours) in zip(row, HEAT, strict=True):
                _heat(axes, model, key, span, colours)
                axes.set_title(f"{plain(model.name)}: {title}")

    height = 0.9 + 0.34 * len(corruption_rows(models[0]))
    save_plot(path, draw, width=10, height=height * len(models))


HEAT = (
    ("auc", "AUC", (0.5, 1.0), "viridis"),
    ("false_alarms", "share of the real called FAKE", (0.0, 0.5), "magma_r"),
)
"""Figure, title, span of the colours, colours of each panel of the robustness plot."""


def _heat(
    axes: Any, model: "ModelFigures", key: str, span: tuple[float, float], colours: str
) -> None:
    """A cell per corruption and level, the clean figure first, each with its number."""
    grid = _grid(model, key)
    picture = axes.imshow(grid, vmin=span[0], vmax=span[1], cmap=colours, aspect="auto")
    for (y, x), value in np.ndenumerate(grid):
        if not math.isnan(value):
            red, green, blue, _ = picture.cmap(picture.norm(value))
            is_dark = 0.3 * red + 0.6 * green + 0.1 * blue < 0.5
            color = "white" if is_dark else "black"
            axes.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=8, color=color)
    axes.set_xticks(range(grid.shape[1]), ["clean", *map(str, range(1, grid.shape[1]))])
    axes.set_yticks(range(grid.shape[0]), [title for title, _ in corruption_rows(model)])
    axes.set_xlabel("level of damage")
    axes.grid(visible=False)
    axes.tick_params(length=0)


def _grid(model: "ModelFigures", key: str) -> Array:
    """A figure, (corruptions, 1 + severities); column 0 is clean, NaN is unknown."""
    rows = corruption_rows(model)
    grid = np.full((len(rows), 1 + _widest(rows)), np.nan)
    for number, (_, levels) in enumerate(rows):
        figures = {0: model.whole, **{at: condition.whole for at, condition in levels.items()}}
        for severity, metrics in figures.items():
            value = _value(metrics, key)
            grid[number, severity] = math.nan if value is None else value
    return grid
