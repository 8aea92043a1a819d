"""Figures of networks that tell classes apart: a table, and a picture of the confusions."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepkd.tables.plots import plain, save_plot
from deepkd.tables.table import Column, Table, formats
from deepkd.text import visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from deepkd.evaluation.classes import ClassDocument

COLUMNS = (
    Column("Model", visible, "name", is_left=True),
    Column("Pictures", "{:,}".format, "pictures"),
    Column("Accuracy", "{:.4f}".format, "accuracy"),
    Column("Top-5", "{:.4f}".format, "top5"),
    Column("Log loss", "{:.4f}".format, "log_loss"),
    Column("Parameters", "{:,}".format, "params"),
)


def class_table(document: "ClassDocument") -> Table:
    """Models as rows."""
    rows = [
        [one.name, one.pictures, one.accuracy, one.top5, one.log_loss, one.params]
        for one in document.models
    ]
    caption = f"{visible(document.data)}, split {document.split}"
    return Table(COLUMNS, rows, caption=caption, is_stacked=False)


def draw_confusions(path: Path, document: "ClassDocument") -> None:
    """A map per model: the share of each class (row) that is taken for each class (column).

    Raises:
        OutputError: it cannot be written.
    """
    names = [plain(name) for name in document.classes]

    def draw(figure: "Figure") -> None:
        places = figure.subplots(1, len(document.models), squeeze=False)[0]
        for axes, model in zip(places, document.models, strict=True):
            counts = np.array(model.confusions, float)
            shares = counts / counts.sum(1, keepdims=True).clip(1)
            axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
            axes.grid(visible=False)
            axes.set(title=f"{plain(model.name)}: {model.accuracy:.4f}", xlabel="taken for")
            axes.set(xticks=range(len(names)), yticks=range(len(names)), ylabel="class")
            axes.set_xticklabels(names, rotation=90)
            axes.set_yticklabels(names)

    save_plot(path, draw, width=5 * len(document.models), height=5)


FORMATS: "dict[str, Callable[[ClassDocument], None]]" = formats(class_table, class_table)
"""`--format` -> what prints the models to standard output."""
