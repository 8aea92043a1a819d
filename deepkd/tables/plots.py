"""Plots (PNG) of training, of evaluations and of benchmarks. Matplotlib is imported only when one is drawn."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deepkd.errors import DataError, UsageError
from deepkd.outputs import writing
from deepkd.scoring.calibration import reliability
from deepkd.text import visible

Array = npt.NDArray[np.float64]

RUNTIMES = {"torch": "PyTorch", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette: told apart by colour-blind readers too."""
REAL, FAKE = COLORS[0], COLORS[1]
DOTS_PER_INCH = 144
STYLE = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": "medium",
    "font.size": 9,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}


@dataclass(frozen=True)
class Curves:
    """What the plots of an evaluation show of one model."""

    name: str
    labels: Array
    """1 is FAKE, 0 is REAL, (N,)."""
    probabilities: Array
    """Calibrated probability of forgery, (N,)."""
    roc: tuple[Array, Array] | None
    """False and true positive rates, (points,) each; None with one class only."""
    auc: float | None
    precision: tuple[Array, Array] | None = None
    """Recall and precision, (points,) each; None with one class only."""
    average_precision: float | None = None


@dataclass(frozen=True)
class FeaturePlot:
    """What the plot of features shows of one model."""

    name: str
    labels: Array
    """1 is FAKE, 0 is REAL, (N,)."""
    points: Array
    """Where each crop lies in the plane, (N, 2), without a unit."""
    v_score: float
    """How far clusters of the features are the labels, 0 to 1."""


def draw_training(metrics: Path, path: Path) -> None:
    """Loss, validation AUC and learning rate over the epochs of a run, from its `metrics.jsonl`.

    Raises:
        DataError: the file cannot be read or has no whole line.
        OutputError: the plot cannot be written.
    """
    lines = read_metrics(metrics)
    epochs = [line["epoch"] for line in lines]

    def draw(figure: Any) -> None:
        losses, area, rate = figure.subplots(1, 3)
        _line(losses, epochs, lines, "train_loss", "training (all terms)", COLORS[0])
        _line(losses, epochs, lines, "val_log_loss", "validation log loss", COLORS[1])
        _line(area, epochs, lines, "val_auc", "validation", COLORS[2])
        _mark_best(area, lines)
        _line(rate, epochs, lines, "lr", "learning rate", COLORS[3])
        for axes, title in (
            (losses, "Loss (nats)"),
            (area, "Validation AUC"),
            (rate, "Learning rate"),
        ):
            axes.set(title=title, xlabel="epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
        losses.legend()

    save_plot(path, draw, width=11, height=3.2)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a run's `metrics.jsonl`; a last line that a kill cut short is left out.

    Raises:
        DataError: it cannot be read, a line is not JSON, or there is none.
    """
    try:
        texts = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); give a run folder's metrics.jsonl"
        ) from error
    lines = []
    for number, text in enumerate(texts, start=1):
        try:
            lines.append(json.loads(text))
        except ValueError as error:
            if number < len(texts):
                raise DataError(f"{path}:{number}: not JSON ({error})") from error
    if not lines:
        raise DataError(f"{path}: has no finished epoch yet")
    return lines


def _line(
    axes: Any,
    epochs: Sequence[int],
    lines: Sequence[Mapping[str, Any]],
    key: str,
    name: str,
    hue: str,
) -> None:
    values = [math.nan if line.get(key) is None else line[key] for line in lines]
    if not np.isnan(values).all():
        axes.plot(
            epochs,
            values,
            color=hue,
            label=name,
            marker="o" if len(values) < 40 else None,
            markersize=3,
        )


def _mark_best(axes: Any, lines: Sequence[Mapping[str, Any]]) -> None:
    known = [line for line in lines if line.get("val_auc") is not None]
    if known:
        best = max(known, key=lambda line: line["val_auc"])
        text = f"best {best['val_auc']:.4f}, epoch {best['epoch']}"
        axes.axhline(best["val_auc"], color=COLORS[2], linewidth=0.8, linestyle=":")
        axes.annotate(text, (0.98, 0.03), xycoords="axes fraction", ha="right", color=COLORS[2])


def draw_evaluation(folder: Path, curves: Sequence[Curves]) -> list[Path]:
    """Write `roc.png` and `precision-recall.png` (where both classes are there), `reliability.png` and `scores.png`.

    Returns:
        The files written.

    Raises:
        OutputError: a plot cannot be written.
    """
    paths = []
    for name, draw in EVALUATION_PLOTS.items():
        if name in NEED_BOTH_CLASSES and not any(one.roc for one in curves):
            continue
        paths.append(folder / f"{name}.png")
        draw(paths[-1], curves)
    return paths


def draw_roc(path: Path, curves: Sequence[Curves]) -> None:
    """True against false positive rate of every model."""

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle=":")
        for one, hue in _colored(curves):
            if one.roc:
                axes.plot(*one.roc, color=hue, label=f"{plain(one.name)}  AUC {one.auc:.4f}")
        axes.set(
            title="ROC",
            xlabel="share of the real called FAKE",
            ylabel="share of the forged called FAKE",
        )
        axes.set(aspect="equal", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        _legend(figure)

    save_plot(path, draw, width=5, height=5.3)


def draw_precision(path: Path, curves: Sequence[Curves]) -> None:
    """Precision against recall of every model, over the share of forgeries that the data has."""

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        share = float(np.mean(curves[0].labels))
        axes.axhline(
            share,
            color="#999999",
            linewidth=0.8,
            linestyle=":",
            label=f"share of forgeries {share:.3f}",
        )
        for one, hue in _colored(curves):
            if one.precision:
                axes.plot(
                    *one.precision,
                    color=hue,
                    label=f"{plain(one.name)}  AP {one.average_precision:.4f}",
                )
        axes.set(title="Precision and recall", xlabel="share of the forged called FAKE (recall)")
        axes.set(
            ylabel="share of the forged among those called FAKE (precision)",
            xlim=(-0.01, 1.01),
            ylim=(0, 1.01),
        )
        _legend(figure)

    save_plot(path, draw, width=5, height=5.3)


def draw_reliability(path: Path, curves: Sequence[Curves]) -> None:
    """How often a probability of forgery is right: the share of forgeries among those of similar probability."""

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.plot(
            [0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle=":", label="as it should be"
        )
        for one, hue in _colored(curves):
            bins = reliability(one.probabilities, one.labels)
            x, y = [b.mean_probability for b in bins], [b.fake_share for b in bins]
            axes.plot(x, y, color=hue, alpha=0.6)
            size = [10 + 150 * b.count / len(one.labels) for b in bins]
            axes.scatter(x, y, s=size, color=hue, label=plain(one.name), clip_on=False, zorder=3)
        axes.set(
            title="Reliability (area of a dot: how many)", aspect="equal", xlim=(0, 1), ylim=(0, 1)
        )
        axes.set(xlabel="probability of forgery", ylabel="share of forgeries")
        for handle in _legend(figure).legend_handles[1:]:
            handle.set_sizes([30])

    save_plot(path, draw, width=5, height=5.3)


def draw_scores(path: Path, curves: Sequence[Curves]) -> None:
    """Histogram of the probability of forgery, real and forged apart, a panel per model."""

    def draw(figure: Any) -> None:
        panels = figure.subplots(1, len(curves), sharey=True, squeeze=False)[0]
        edges = np.linspace(0, 1, 41)
        for axes, one in zip(panels, curves, strict=True):
            for label, name, hue in ((0, "REAL", REAL), (1, "FAKE", FAKE)):
                values = one.probabilities[one.labels == label]
                if len(values):
                    share = np.full(len(values), 1 / len(values))
                    axes.hist(
                        values,
                        edges,
                        weights=share,
                        color=hue,
                        alpha=0.55,
                        label=f"{name} ({len(values):,})",
                    )
            axes.set(title=plain(one.name), xlabel="probability of forgery", xlim=(0, 1))
        panels[0].set_ylabel("share of the class")
        _legend(figure, panels[0], columns=2)

    save_plot(path, draw, width=4.6 * len(curves), height=3.4)


def draw_features(path: Path, panels: Sequence[FeaturePlot]) -> None:
    """Features of crops in the plane, real and forged ones apart, a panel per model with its V-score."""

    def draw(figure: Any) -> None:
        for axes, one in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
        ):
            for label, name, hue in ((0, "REAL", REAL), (1, "FAKE", FAKE)):
                x, y = one.points[one.labels == label].T
                axes.scatter(
                    x, y, s=12, color=hue, alpha=0.65, linewidths=0, label=f"{name} ({len(x):,})"
                )
            axes.set(title=f"{plain(one.name)}\nV-score {one.v_score:.3f}", xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            axes.legend(loc="upper left", bbox_to_anchor=(0, 0), ncols=2, borderaxespad=0)

    save_plot(path, draw, width=4.6 * len(panels), height=4.9)


EVALUATION_PLOTS: dict[str, Callable[[Path, Sequence[Curves]], None]] = {
    "roc": draw_roc,
    "precision-recall": draw_precision,
    "reliability": draw_reliability,
    "scores": draw_scores,
}
"""File stem -> what draws it."""
NEED_BOTH_CLASSES = ("roc", "precision-recall")


def _legend(figure: Any, axes: Any = None, *, columns: int = 1) -> Any:
    """A legend below the panels, where it covers no data: of one of them, the first unless another is given."""
    handles = (axes or figure.axes[0]).get_legend_handles_labels()
    return figure.legend(*handles, loc="outside lower left", ncols=columns)


def _colored(curves: Sequence[Curves]) -> list[tuple[Curves, str]]:
    return [(one, COLORS[index % len(COLORS)]) for index, one in enumerate(curves)]


BENCHMARK_PLOTS = ("benchmark.png", "size-latency.png")


def draw_benchmark(folder: Path, document: Mapping[str, Any]) -> list[Path]:
    """Write `benchmark.png` (bars) and `size-latency.png` from a document of schema deepkd.benchmark/1.

    Raises:
        OutputError: a plot cannot be written.
    """
    paths = [folder / name for name in BENCHMARK_PLOTS]
    draw_bars(paths[0], document)
    draw_size_latency(paths[1], document)
    return paths


BARS: dict[str, tuple[Callable[[Mapping[str, Any]], float | None], str]] = {
    "Parameters (millions)": (lambda row: row["params"] / 1e6, "{:.3g} M"),
    "Multiply-accumulates (millions)": (lambda row: row["macs"] and row["macs"] / 1e6, "{:.4g} M"),
    "File (MB)": (lambda row: row["bytes"] / 1e6, "{:.3g} MB"),
    "Latency, batch 1, median (ms)": (lambda row: row["latency_ms"]["p50"], "{:.3g} ms"),
    "Throughput (crops/s)": (lambda row: row["throughput_per_s"], "{:.4g}/s"),
    "Peak memory (MB)": (lambda row: row["peak_rss_mb"], "{:.0f} MB"),
}
"""Title of a panel -> its value from a row of the document, and how the value is written."""


def draw_bars(path: Path, document: Mapping[str, Any]) -> None:
    """A panel per measure, a bar per model."""
    rows = document["models"]
    names = [_row_name(row) for row in rows]

    def draw(figure: Any) -> None:
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


def draw_size_latency(path: Path, document: Mapping[str, Any]) -> None:
    """Latency against parameters, both logarithmic; the AUC where it was measured."""
    rows = document["models"]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for row in rows:
            x, y = row["params"], row["latency_ms"]["p50"]
            axes.scatter(x, y, s=70, color=_role_color(row), zorder=3)
            area = "" if row["auc"] is None else f"\nAUC {row['auc']:.4f}"
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


def _row_name(row: Mapping[str, Any]) -> str:
    return f"{plain(row['name'])}\n{RUNTIMES[row['runtime']]}"


def plain(name: str) -> str:
    """A name as text: nothing acts in it, and no dollar sign begins a formula."""
    return visible(name).replace("$", r"\$")


def _role_color(row: Mapping[str, Any]) -> str:
    return {"teacher": COLORS[0], "student": COLORS[1]}.get(row["role"], COLORS[2])


def save_plot(path: Path, draw: Callable[[Any], None], *, width: float, height: float) -> None:
    """Let `draw` fill a new figure of (width, height) inches and write it, whole or not at all."""
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError(
            "plots need Matplotlib; install it with: pip install 'deepkd[train]'"
        ) from error
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        with writing(path) as beside:
            figure.savefig(beside, dpi=DOTS_PER_INCH)
