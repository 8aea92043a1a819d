"""The models of a folder as a table, CSV, JSON and plots."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepkd.tables.benchmark import busy_warning, warn_of_training
from deepkd.tables.plots import COLORS, RUNTIMES, plain, save_plot
from deepkd.tables.table import Column, Table, as_json, formats, write_texts
from deepkd.text import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from deepkd.benchmark.results import ParetoDocument, ParetoRow
    from deepkd.evaluation.metrics import Measure

FRONTS = {"latency": "fast", "bytes": "small"}
"""Front -> what a model on it is called: none is as accurate and faster, or smaller."""
ABOUT = (
    Column("Model", visible, key="name", is_words=True, is_left=True),
    Column(key="role"),
    Column("Made", lambda made: ", ".join(made) or "-", key="made", is_words=True, is_left=True),
    Column("Parameters", "{:,}".format, key="params"),
    Column("MMACs", lambda macs: f"{macs / 1e6:,.1f}", key="macs"),
    Column("MB", lambda size: f"{size / 1e6:,.2f}", key="bytes"),
)
"""The first columns; milliseconds follow, those of one crop for people."""


def _format_area(area: "Measure | None") -> str:
    if area is None:
        return "-"
    span = "" if area.low is None else f" [{area.low:.3f}, {area.high:.3f}]"
    return f"{area.value:.4f}{span}"


OUTCOME = (
    Column("AUC", _format_area),
    Column(key="auc"),
    Column(key="auc_low"),
    Column(key="auc_high"),
    Column(
        "Front",
        lambda front: ", ".join(FRONTS[name] for name in front) or "-",
        key="front",
        is_words=True,
    ),
)
"""The last columns."""


def pareto_table(document: "ParetoDocument") -> Table:
    """A row per model, what was left out, and how it was measured."""
    left_out = [visible(f"left out: {one.reason}") for one in document.left_out]
    return Table(
        [*ABOUT, *_time_columns(document), *OUTCOME],
        [_cells(row) for row in document.models],
        title="Models",
        notes=[*left_out, *notes(document)],
    )


def _time_columns(document: "ParetoDocument") -> list[Column]:
    size = document.batch
    counts = [each.threads for each in document.models[0].latency_ms]
    shown = [f"{count} thread{'s' * (count > 1)}" for count in counts]
    single = [
        Column(f"ms, {threads}", "{:,.2f}".format, key=f"latency_ms_single_{count}")
        for count, threads in zip(counts, shown, strict=True)
    ]
    batch = [
        Column(
            f"ms in {size}s, {threads}",
            lambda ms: f"{ms / size:,.2f}",
            key=f"latency_ms_batch_{count}",
        )
        for count, threads in zip(counts, shown, strict=True)
    ]
    return single + batch


def _cells(row: "ParetoRow") -> Sequence[object]:
    area = row.auc
    return (
        *(row.name, row.role, row.made, row.params, row.macs, row.bytes),
        *(each.single for each in row.latency_ms),
        *(each.batch for each in row.latency_ms),
        area,
        *((area.value, area.low, area.high) if area else (None, None, None)),
        row.front,
    )


def notes(document: "ParetoDocument") -> list[str]:
    """How it was measured, in a line or two."""
    at, data = document.machine, document.data
    lines = [
        f"{RUNTIMES[document.runtime]} {getattr(at, document.runtime)}, {at.cpu}, {at.cores}"
        f" cores, load {at.load} before the run; models in turn in one process, median of"
        f" {document.runs} runs, milliseconds of one crop, alone and in a batch."
    ]
    lines += busy_warning(at)
    if data:
        lines.append(
            f"AUC on {data.crops:,} crops of {visible(data.name)}, split {data.split},"
            " with the 95% interval over originals; people may recur across splits. Front: no"
            " other model is as right and faster (on most threads), or smaller."
        )
    return lines + [
        line for row in document.models for line in warn_of_training(row.name, row.training_data)
    ]


PANELS: "dict[str, tuple[str, Callable[[ParetoRow], float]]]" = {
    "latency": ("milliseconds of one crop", lambda row: row.latency_ms[-1].single),
    "bytes": ("megabytes of the file", lambda row: row.bytes / 1e6),
}
"""Front -> the axis that it is drawn along, and a row's place on it."""
KEYS_IN_A_LINE = 4
"""Names beside one another under the plot."""
BEATEN = "#888888"
SIDES = tuple(
    10 * np.array((math.sin(angle), math.cos(angle)))
    for angle in np.linspace(0, 2 * math.pi, 16, False)
)
"""Where a number may stand, from its point: 16 directions, in points of 1/72 inch."""


def draw_pareto(path: Path, document: "ParetoDocument") -> None:
    """AUC against milliseconds and megabytes, each front a line, models by number; PNG or SVG.

    Raises:
        OutputError: the plot cannot be written.
    """
    rows = document.models
    lines_of_key = math.ceil((len(rows) + 1) / KEYS_IN_A_LINE)

    def draw(figure: "Figure") -> None:
        for axes, name in zip(figure.subplots(1, len(PANELS), sharey=True), PANELS, strict=True):
            _panel(axes, name, rows)
        figure.axes[0].set_ylabel("AUC")
        figure.legend(
            *_key(figure.axes[0], rows),
            loc="outside lower left",
            ncols=KEYS_IN_A_LINE,
            handlelength=1.6,
        )
        figure.draw_without_rendering()  # so that the places of points on paper are known
        for axes, name in zip(figure.axes, PANELS, strict=True):
            _number(axes, name, rows)

    save_plot(path, draw, width=12, height=4.6 + 0.2 * lines_of_key)


def _panel(axes: Any, name: str, rows: "Sequence[ParetoRow]") -> None:
    from matplotlib.ticker import LogFormatter

    title, place = PANELS[name]
    points = sorted(
        (place(row), row.auc.value, name in row.front) for row in rows if row.auc is not None
    )
    best = [(x, y) for x, y, is_best in points if is_best]
    line = [x for x, _ in best], [y for _, y in best]
    axes.plot(*line, color=COLORS[1], drawstyle="steps-post", label="front", zorder=2)
    for x, y, is_best in points:
        axes.scatter(x, y, s=30, color=COLORS[1] if is_best else BEATEN, zorder=3)
    for row in rows:
        if row.auc is None:
            axes.axvline(
                place(row), color=COLORS[0], linestyle=":", label=f"{plain(row.name)}, no AUC"
            )
    axes.set(xscale="log", xlabel=title, title=f"AUC against {title.split()[0]}")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(
        LogFormatter()
    )  # plain numbers, where there are few powers of ten
    axes.margins(x=0.1, y=0.12)


def _key(axes: "Axes", rows: "Sequence[ParetoRow]") -> tuple[list[Any], list[str]]:
    """What the lines and the numbers stand for: handles and words."""
    from matplotlib.lines import Line2D

    handles, words = axes.get_legend_handles_labels()
    for number, row in enumerate(rows, start=1):
        if row.auc:
            handles.append(
                Line2D(
                    [], [], linestyle="none", marker=f"${number}$", markeredgewidth=0, color="black"
                )
            )
            words.append(plain(row.name))
    return handles, words


def _number(axes: Any, name: str, rows: "Sequence[ParetoRow]") -> None:
    """Write each model's number beside its point, where it is farthest from all others."""
    spots = {
        number: (PANELS[name][1](row), row.auc.value)
        for number, row in enumerate(rows, 1)
        if row.auc is not None
    }
    points = {
        number: axes.transData.transform(spot) * 72 / axes.figure.dpi
        for number, spot in spots.items()
    }
    taken = list(points.values())
    for number, point in points.items():
        best = max(
            (point + side for side in SIDES),
            key=lambda at: min(np.hypot(*(at - other)) for other in taken),
        )
        taken.append(best)
        axes.annotate(
            str(number),
            spots[number],
            xytext=best - point,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=8,
            zorder=4,
        )


FILES = ("pareto.json", "pareto.csv", "pareto.png", "pareto.svg")
"""What `write_pareto` writes; the plots only where AUC is known."""


def write_pareto(folder: Path, document: "ParetoDocument") -> None:
    """Write `FILES`, each whole or not at all, and the plots last: they need what may be missing.

    Raises:
        OutputError: a file cannot be written.
    """
    texts = (as_json(document), pareto_table(document).csv())
    write_texts(folder, dict(zip(FILES, texts, strict=False)))
    if any(row.auc for row in document.models):
        for name in FILES[2:]:
            draw_pareto(folder / name, document)


FORMATS: "dict[str, Callable[[ParetoDocument], None]]" = formats(
    pareto_table, pareto_table, piped=200
)
"""`--format` -> what prints the document to standard output."""
