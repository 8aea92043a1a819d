"""The models of a folder for people and programs: a document of schema deepkd.pareto/1 as a table, JSON, CSV, plots."""

import io
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from deepkd.outputs import writing
from deepkd.tables.benchmark import busy, trained_on
from deepkd.tables.plots import COLORS, RUNTIMES, plain, save_plot
from deepkd.tables.table import Figures, print_json, print_table
from deepkd.text import cell, csv_writer, visible

FRONTS = {"latency": "fast", "bytes": "small"}
"""Front -> what a model on it is called: none is as right and faster, or smaller."""
Document = Mapping[str, Any]


def pareto_tables(document: Document) -> Group:
    """A row per model, what was left out, and how it was measured."""
    heads = titles(document)
    rows = [cells(row, document["batch"]) for row in document["models"]]
    words = (0, 1, len(heads) - 1)
    parts: list[RenderableType] = [Figures(heads, rows, title="Models", words=words, left=(0, 1))]
    parts += [
        Text(visible(f"left out: {one['reason']}"), style="dim") for one in document["left_out"]
    ]
    return Group(*parts, Text(notes(document), style="dim"))


def titles(document: Document) -> list[str]:
    """The heads of the columns."""
    counts = [each["threads"] for each in document["models"][0]["latency_ms"]]
    single = [f"ms, {count} thread{'s' * (count > 1)}" for count in counts]
    batch = [f"ms in {document['batch']}s, {count} thread{'s' * (count > 1)}" for count in counts]
    return ["Model", "Made", "Parameters", "MMACs", "MB", *single, *batch, "AUC", "Front"]


def cells(row: Mapping[str, Any], batch: int) -> list[str]:
    """A row's figures as text; milliseconds are always those of one crop."""
    area = row["auc"]
    span = "" if not area or area["low"] is None else f" [{area['low']:.3f}, {area['high']:.3f}]"
    return [
        visible(row["name"]),
        ", ".join(row["made"]) or "-",
        f"{row['params']:,}",
        f"{row['macs'] / 1e6:,.1f}",
        f"{row['bytes'] / 1e6:,.2f}",
        *(f"{each['single']:,.2f}" for each in row["latency_ms"]),
        *(f"{each['batch'] / batch:,.2f}" for each in row["latency_ms"]),
        f"{area['value']:.4f}{span}" if area else "-",
        ", ".join(FRONTS[name] for name in row["front"]) or "-",
    ]


def notes(document: Document) -> str:
    """How it was measured, in a line or two."""
    at, data = document["machine"], document["data"]
    lines = [
        f"{RUNTIMES[document['runtime']]} {at[document['runtime']]}, {at['cpu']}, {at['cores']}"
        f" cores, load {at['load']} before the run; models in turn in one process, median of"
        f" {document['runs']} runs, milliseconds of one crop, alone and in a batch."
    ]
    lines += busy(at)
    if data:
        lines.append(
            f"AUC on {data['crops']:,} crops of {visible(data['name'])}, split {data['split']},"
            " with the 95% interval over originals; people may recur across splits. Front: no"
            " other model is as right and faster (on most threads), or smaller."
        )
    lines += [
        line for row in document["models"] for line in trained_on(row["name"], row["training_data"])
    ]
    return "\n".join(lines)


def pareto_csv(document: Document) -> str:
    """One line per model; an empty cell is no value."""
    text = io.StringIO()
    writer = csv_writer(text)
    counts = [each["threads"] for each in document["models"][0]["latency_ms"]]
    times = [f"latency_ms_{kind}_{count}" for kind in ("single", "batch") for count in counts]
    keys = ["name", "role", "made", "params", "macs", "bytes"]
    writer.writerow([*keys, *times, "auc", "auc_low", "auc_high", "front"])
    for row in document["models"]:
        timed = [each[kind] for kind in ("single", "batch") for each in row["latency_ms"]]
        area = row["auc"] or {"value": None, "low": None, "high": None}
        about = [
            cell(row["name"]),
            row["role"],
            " ".join(row["made"]),
            row["params"],
            row["macs"],
            row["bytes"],
        ]
        writer.writerow([*about, *timed, *area.values(), " ".join(row["front"])])
    return text.getvalue()


PANELS: dict[str, tuple[str, Callable[[Mapping[str, Any]], float]]] = {
    "latency": ("milliseconds of one crop", lambda row: float(row["latency_ms"][-1]["single"])),
    "bytes": ("megabytes of the file", lambda row: float(row["bytes"]) / 1e6),
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


def draw_pareto(path: Path, document: Document) -> None:
    """AUC against milliseconds and megabytes, each front a line, models by number; PNG or SVG, by its ending.

    Raises:
        OutputError: the plot cannot be written.
    """
    rows = document["models"]
    lines_of_key = math.ceil((len(rows) + 1) / KEYS_IN_A_LINE)

    def draw(figure: Any) -> None:
        for axes, name in zip(figure.subplots(1, len(PANELS), sharey=True), PANELS, strict=True):
            _panel(axes, name, rows)
        figure.axes[0].set_ylabel("AUC")
        figure.legend(
            *_key(figure.axes[0], rows),
            loc="outside lower left",
            ncols=KEYS_IN_A_LINE,
            handlelength=1.6,
        )
        figure.draw_without_rendering()  # numbers are placed between points whose places on paper are known
        for axes, name in zip(figure.axes, PANELS, strict=True):
            _number(axes, name, rows)

    save_plot(path, draw, width=12, height=4.6 + 0.2 * lines_of_key)


def _panel(axes: Any, name: str, rows: list[Mapping[str, Any]]) -> None:
    from matplotlib.ticker import LogFormatter

    title, place = PANELS[name]
    judged = sorted((row for row in rows if row["auc"]), key=place)
    best = [row for row in judged if name in row["front"]]
    x, y = [place(row) for row in best], [row["auc"]["value"] for row in best]
    axes.plot(x, y, color=COLORS[1], drawstyle="steps-post", label="front", zorder=2)
    for row in judged:
        axes.scatter(
            place(row),
            row["auc"]["value"],
            s=30,
            color=COLORS[1] if row in best else BEATEN,
            zorder=3,
        )
    for row in rows:
        if row["auc"] is None:
            axes.axvline(
                place(row), color=COLORS[0], linestyle=":", label=f"{plain(row['name'])}, no AUC"
            )
    axes.set(xscale="log", xlabel=title, title=f"AUC against {title.split()[0]}")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(
        LogFormatter()
    )  # plain numbers, where there are few powers of ten
    axes.margins(x=0.1, y=0.12)


def _key(axes: Any, rows: list[Mapping[str, Any]]) -> tuple[list[Any], list[str]]:
    """What the lines and the numbers stand for: handles and words."""
    from matplotlib.lines import Line2D

    handles, words = axes.get_legend_handles_labels()
    for number, row in enumerate(rows, start=1):
        if row["auc"]:
            handles.append(
                Line2D(
                    [], [], linestyle="none", marker=f"${number}$", markeredgewidth=0, color="black"
                )
            )
            words.append(plain(row["name"]))
    return handles, words


def _number(axes: Any, name: str, rows: list[Mapping[str, Any]]) -> None:
    """Write each model's number beside its point, on that side where other points and numbers are farthest."""
    spots = {
        number: (PANELS[name][1](row), row["auc"]["value"])
        for number, row in enumerate(rows, 1)
        if row["auc"]
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
            str(number), spots[number], xytext=best - point, textcoords="offset points", ha="center", va="center",
            fontsize=8, zorder=4,
        )  # fmt: skip


FILES = ("pareto.json", "pareto.csv", "pareto.png", "pareto.svg")
"""What `write_pareto` writes; the plots only where AUC is known."""


def write_pareto(folder: Path, document: Document) -> None:
    """Write `FILES`, each whole or not at all, and the plots last: they need what may be missing.

    Raises:
        OutputError: a file cannot be written.
    """
    texts = (json.dumps(document, indent=2) + "\n", pareto_csv(document))
    for name, text in zip(FILES, texts, strict=False):
        with writing(folder / name) as beside:
            beside.write_text(text, encoding="utf-8")
    if any(row["auc"] for row in document["models"]):
        for name in FILES[2:]:
            draw_pareto(folder / name, document)


FORMATS: dict[str, Callable[[Document], None]] = {
    "table": lambda document: print_table(pareto_tables(document), piped=200),
    "json": print_json,
    "csv": lambda document: print(pareto_csv(document), end=""),
}
"""`--format` -> what prints the document to standard output."""
