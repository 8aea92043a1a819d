"""Curves of evaluations: ROC, precision and recall, reliability, scores, features."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepkd.scoring.calibration import reliability
from deepkd.tables.plots import COLORS, FAKE, REAL, Array, legend, plain, save_plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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


def draw_evaluation(folder: Path, curves: Sequence[Curves]) -> list[Path]:
    """Write `roc.png`, `precision-recall.png`, `reliability.png` and `scores.png`.

    The first two need both classes.

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

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle=":")
        for one, hue in _assign_colours(curves):
            if one.roc:
                axes.plot(*one.roc, color=hue, label=f"{plain(one.name)}  AUC {one.auc:.4f}")
        axes.set(
            title="ROC",
            xlabel="share of the real called FAKE",
            ylabel="share of the forged called FAKE",
        )
        axes.set(aspect="equal", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        legend(figure)

    save_plot(path, draw, width=5, height=5.3)


def draw_precision(path: Path, curves: Sequence[Curves]) -> None:
    """Precision against recall of every model, over the share of forgeries that the data has."""

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        share = float(np.mean(curves[0].labels))
        axes.axhline(
            share,
            color="#999999",
            linewidth=0.8,
            linestyle=":",
            label=f"share of forgeries {share:.3f}",
        )
        for one, hue in _assign_colours(curves):
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
        legend(figure)

    save_plot(path, draw, width=5, height=5.3)


def draw_reliability(path: Path, curves: Sequence[Curves]) -> None:
    """The share of forgeries among rows of similar probability, for every model."""

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        axes.plot(
            [0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle=":", label="as it should be"
        )
        for one, hue in _assign_colours(curves):
            bins = reliability(one.probabilities, one.labels)
            x, y = [b.mean_probability for b in bins], [b.fake_share for b in bins]
            axes.plot(x, y, color=hue, alpha=0.6)
            size = [10 + 150 * b.count / len(one.labels) for b in bins]
            axes.scatter(x, y, s=size, color=hue, label=plain(one.name), clip_on=False, zorder=3)
        axes.set(
            title="Reliability (area of a dot: how many)", aspect="equal", xlim=(0, 1), ylim=(0, 1)
        )
        axes.set(xlabel="probability of forgery", ylabel="share of forgeries")
        for handle in legend(figure).legend_handles[1:]:
            handle.set_sizes([30])

    save_plot(path, draw, width=5, height=5.3)


def draw_scores(path: Path, curves: Sequence[Curves]) -> None:
    """Histogram of the probability of forgery, real and forged apart, a panel per model."""

    def draw(figure: "Figure") -> None:
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
        legend(figure, panels[0], columns=2)

    save_plot(path, draw, width=4.6 * len(curves), height=3.4)


def draw_features(path: Path, panels: Sequence[FeaturePlot]) -> None:
    """Features of crops in the plane, a panel per model with its V-score."""

    def draw(figure: "Figure") -> None:
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


def _assign_colours(curves: Sequence[Curves]) -> list[tuple[Curves, str]]:
    return [(one, COLORS[index % len(COLORS)]) for index, one in enumerate(curves)]
