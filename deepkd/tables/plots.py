"""Plots (PNG, SVG): their style, and the curves of a training.

Matplotlib is imported only when one is drawn.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from deepkd.errors import DataError, UsageError
from deepkd.offline import import_matplotlib
from deepkd.outputs import write_whole
from deepkd.text import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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


SCORES = (("val_auc", "Validation AUC"), ("val_accuracy", "Validation accuracy"))
"""What chooses weights, and its title: of REAL and FAKE, and of classes."""


def draw_training(metrics: Path, path: Path) -> None:
    """Loss, validation AUC and learning rate over the epochs of a run, from its `metrics.jsonl`.

    Raises:
        DataError: the file cannot be read or has no whole line.
        OutputError: the plot cannot be written.
    """
    lines = read_metrics(metrics)
    epochs = [line["epoch"] for line in lines]
    score, title_of_score = SCORES["val_accuracy" in lines[-1]]

    def draw(figure: "Figure") -> None:
        losses, area, rate = figure.subplots(1, 3)
        _line(losses, epochs, lines, "train_loss", "training (all terms)", COLORS[0])
        _line(losses, epochs, lines, "val_log_loss", "validation log loss", COLORS[1])
        _line(area, epochs, lines, score, "validation", COLORS[2])
        _mark_best(area, lines, score)
        _line(rate, epochs, lines, "lr", "learning rate", COLORS[3])
        for axes, title in (
            (losses, "Loss (nats)"),
            (area, title_of_score),
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
    axes: "Axes",
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


def _mark_best(axes: "Axes", lines: Sequence[Mapping[str, Any]], score: str) -> None:
    known = [line for line in lines if line.get(score) is not None]
    if known:
        best = max(known, key=lambda line: line[score])
        text = f"best {best[score]:.4f}, epoch {best['epoch']}"
        axes.axhline(best[score], color=COLORS[2], linewidth=0.8, linestyle=":")
        axes.annotate(text, (0.98, 0.03), xycoords="axes fraction", ha="right", color=COLORS[2])


def plain(name: str) -> str:
    """A name as text: nothing acts in it, and no dollar sign begins a formula."""
    return visible(name).replace("$", r"\$")


def legend(figure: "Figure", axes: "Axes | None" = None, *, columns: int = 1) -> Any:
    """A legend below the panels, where it covers no data; of the first panel unless given."""
    handles = (axes or figure.axes[0]).get_legend_handles_labels()
    return figure.legend(*handles, loc="outside lower left", ncols=columns)


def save_plot(path: Path, draw: Callable[["Figure"], None], *, width: float, height: float) -> None:
    """Let `draw` fill a new figure of (width, height) inches and write it, whole or not at all."""
    try:
        matplotlib = import_matplotlib()
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
        with write_whole(path) as beside:
            figure.savefig(beside, dpi=DOTS_PER_INCH)
