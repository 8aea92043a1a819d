"""Bars of benchmarks, and latency against size."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from deepkd.tables.plots import COLORS, RUNTIMES, plain, save_plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from deepkd.benchmark.results import BenchmarkDocument, BenchmarkRow

BENCHMARK_PLOTS = ("benchmark.png", "size-latency.png")


def draw_benchmark(folder: Path, document: "BenchmarkDocument") -> list[Path]:
    """Write `benchmark.png` (bars) and `size-latency.png`.

    Raises:
        OutputError: a plot cannot be written.
    """
    paths = [folder / name for name in BENCHMARK_PLOTS]
    draw_bars(paths[0], document)
    draw_size_latency(paths[1], document)
    return paths


BARS: "dict[str, tuple[Callable[[BenchmarkRow], float | None], str]]" = {
    "Parameters (millions)": (lambda row: row.params / 1e6, "{:.3g} M"),
    "Multiply-accumulates (millions)": (lambda row: row.macs and row.macs / 1e6, "{:.4g} M"),
    "File (MB)": (lambda row: row.bytes / 1e6, "{:.3g} MB"),
    "Latency, batch 1, median (ms)": (lambda row: row.latency_ms.p50, "{:.3g} ms"),
    "Throughput (crops/s)": (lambda row: row.throughput_per_s, "{:.4g}/s"),
    "Peak memory (MB)": (lambda row: row.peak_rss_mb, "{:.0f} MB"),
}
"""Title of a panel -> its value from a row of the document, and how the value is written."""


def draw_bars(path: Path, document: "BenchmarkDocument") -> None:
    """A panel per measure, a bar per model."""
    rows = document.models
    names = [_row_name(row) for row in rows]

    def draw(figure: "Figure") -> None:
        panels = figure.subplots(2, 3).flat
        for axes, (title, (value_of, form)) in zip(panels, BARS.items(), strict=True):
            values = [value_of(row) or 0.0 for row in rows]
            bars = axes.barh(names, values, color=[_role_color(row) for row in rows], height=0.6)
            axes.bar_label(bars, [f" {form.format(value)}" if value else " -" for value in values])
            axes.set(title=title, xlim=(0, 1.35 * max(*values, 1e-9)))
            axes.invert_yaxis()
            axes.grid(visible=False)
            axes.tick_params(left=False, bottom=False, labelbottom=False)
            axes.spines[:].set_visible(False)
            if axes.get_subplotspec().colspan.start:
                axes.tick_params(labelleft=False)

    save_plot(path, draw, width=12, height=1.2 + 1.0 * len(rows))


def draw_size_latency(path: Path, document: "BenchmarkDocument") -> None:
    """Latency against parameters, both logarithmic; the AUC where it was measured."""
    rows = document.models

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        for row in rows:
            x, y = row.params, row.latency_ms.p50
            axes.scatter(x, y, s=70, color=_role_color(row), zorder=3)
            area = "" if row.auc is None else f"\nAUC {row.auc:.4f}"
            axes.annotate(
                _row_name(row) + area,
                (x, y),
                xytext=(8, 0),
                textcoords="offset points",
                va="center",
            )
        axes.set(xscale="log", yscale="log", title="Smaller and faster is down and left")
        axes.set(xlabel="parameters", ylabel="latency of one crop, median (ms)")
        axes.margins(x=0.35, y=0.2)

    save_plot(path, draw, width=6.5, height=4.2)


def _row_name(row: "BenchmarkRow") -> str:
    return f"{plain(row.name)}\n{RUNTIMES[row.runtime]}"


def _role_color(row: "BenchmarkRow") -> str:
    return {"teacher": COLORS[0], "student": COLORS[1]}.get(row.role, COLORS[2])
