"""Robustness for people: what each level of damage does to the AUC and to the false alarms, as tables and pictures."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from deepkd.tables.plots import plain, save_plot
from deepkd.text import visible

Metrics = Mapping[str, Any]
"""Figures of crops or videos in a document of schema deepkd.evaluate/1."""


def harm_note(models: Sequence[Mapping[str, Any]]) -> str:
    """What the numbers in the tables are."""
    unjudged = any(condition["unjudged"] for model in models for condition in model["robustness"])
    lost = (
        " Below that, in brackets: videos that got no score; they are not in the AUC, and nowhere"
        " if they could not be read."
    )
    lost = lost if unjudged else ""
    return (
        f"Above: AUC; below: share of the real called FAKE.{lost} Levels go from mild to severe,"
        " each on all the data."
    )


def robustness_table(model: Mapping[str, Any]) -> Table:
    """A row per perturbation, a column per level, AUC over the share of real crops called FAKE; 80 columns wide."""
    rows = harmed_rows(model)
    widest = _widest(rows)
    damaged = "crops" if model["crops"] else "videos"
    title = Text(f"{visible(model['name'])} on damaged {damaged}", style="bold")
    table = Table("", "Clean", title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for number in range(1, widest + 1):
        table.add_column(str(number), justify="right", min_width=5, no_wrap=True)
    clean = _pair(model["crops"] or model["videos"])
    for place, (name, cells) in enumerate(rows):
        shown = [_cell(cells[number]) if number in cells else "" for number in range(1, widest + 1)]
        table.add_row(name, "" if place else clean, *shown)
    return table


def harmed_rows(model: Mapping[str, Any]) -> list[tuple[str, dict[int, Mapping[str, Any]]]]:
    """(title of a perturbation, its conditions by severity, from 1), in the order of the document."""
    rows: dict[str, dict[int, Mapping[str, Any]]] = {}
    for condition in model["robustness"]:
        rows.setdefault(condition["title"], {})[condition["severity"]] = condition
    return list(rows.items())


def _widest(rows: Sequence[tuple[str, Mapping[int, Any]]]) -> int:
    """The highest severity."""
    return max(number for _, cells in rows for number in cells)


def harmed_figures(condition: Mapping[str, Any]) -> Metrics | None:
    """The figures of a condition as the data was scored: of crops, else of videos; None where nothing was."""
    found: Metrics | None = condition["crops"] or condition["videos"]
    return found


def _cell(condition: Mapping[str, Any]) -> str:
    lost = f"\n({condition['unjudged']})" if condition["unjudged"] else ""
    return _pair(harmed_figures(condition)) + lost


def _pair(metrics: Metrics | None) -> str:
    area, alarms = _value(metrics, "auc"), _value(metrics, "false_alarms")
    return f"{'-' if area is None else f'{area:.3f}'}\n{'-' if alarms is None else f'{alarms:.1%}'}"


def _value(metrics: Metrics | None, key: str) -> float | None:
    return None if metrics is None else metrics[key]["value"]


def draw_robustness(path: Path, document: Mapping[str, Any]) -> None:
    """Heat maps of AUC and of false alarms under damage, from a document of schema deepkd.evaluate/1, a row per model.

    Raises:
        OutputError: the plot cannot be written.
    """
    models = document["models"]

    def draw(figure: Any) -> None:
        panels = figure.subplots(len(models), 2, squeeze=False, sharey=True)
        for row, model in zip(panels, models, strict=True):
            for axes, (key, title, span, colours) in zip(row, HEAT, strict=True):
                _heat(axes, model, key, span, colours)
                axes.set_title(f"{plain(model['name'])}: {title}")

    height = 0.9 + 0.34 * len(harmed_rows(models[0]))
    save_plot(path, draw, width=10, height=height * len(models))


HEAT = (
    ("auc", "AUC", (0.5, 1.0), "viridis"),
    ("false_alarms", "share of the real called FAKE", (0.0, 0.5), "magma_r"),
)
"""Figure, title, span of the colours, colours of each panel of the robustness plot."""


def _heat(
    axes: Any, model: Mapping[str, Any], key: str, span: tuple[float, float], colours: str
) -> None:
    """A cell per perturbation and level, the clean figure first, each with its number."""
    rows = harmed_rows(model)
    grid = np.full((len(rows), 1 + _widest(rows)), np.nan)
    for number, (_, cells) in enumerate(rows):
        figures = {
            0: model["crops"] or model["videos"],
            **{at: harmed_figures(cell) for at, cell in cells.items()},
        }
        for severity, metrics in figures.items():
            value = _value(metrics, key)
            grid[number, severity] = math.nan if value is None else value
    picture = axes.imshow(grid, vmin=span[0], vmax=span[1], cmap=colours, aspect="auto")
    for (y, x), value in np.ndenumerate(grid):
        if not math.isnan(value):
            red, green, blue, _ = picture.cmap(picture.norm(value))
            dark = 0.3 * red + 0.6 * green + 0.1 * blue < 0.5
            axes.text(
                x,
                y,
                f"{value:.2f}",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if dark else "black",
            )
    axes.set_xticks(range(grid.shape[1]), ["clean", *map(str, range(1, grid.shape[1]))])
    axes.set_yticks(range(len(rows)), [title for title, _ in rows])
    axes.set_xlabel("level of damage")
    axes.grid(visible=False)
    axes.tick_params(length=0)
