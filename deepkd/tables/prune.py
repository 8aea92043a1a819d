"""A pruning: what the network lost in accuracy, and in cost, as a table and a picture."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepkd.tables.plots import COLORS, save_plot
from deepkd.tables.table import Column, Table, formats
from deepkd.text import visible

if TYPE_CHECKING:
    from deepkd.compression.results import PruneDocument


def prune_table(document: "PruneDocument") -> Table:
    """Steps as rows."""
    columns = (
        Column("Step", lambda step: str(step) if step else "unpruned", is_left=True),
        Column(_title(document), lambda score: "-" if score is None else f"{score:.4f}"),
        Column("Parameters", "{:,}".format),
        Column("MMACs", lambda macs: f"{macs / 1e6:,.2f}"),
    )
    rows = [[one.step, one.score, one.params, one.macs] for one in document.steps]
    taught = f"{document.epochs} epochs of distillation after each step"
    caption = f"{document.crops:,} validation crops; {taught if document.epochs else 'only pruned'}"
    return Table(columns, rows, caption=caption, is_stacked=False)


def draw_steps(path: Path, document: "PruneDocument") -> None:
    """The score against multiply-accumulates, with the number of each step.

    Raises:
        OutputError: it cannot be written.
    """
    known = [one for one in document.steps if one.score is not None]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        costs, scores = [one.macs / 1e6 for one in known], [one.score for one in known]
        axes.plot(costs, scores, color=COLORS[0], marker="o", markersize=4)
        for one, cost in zip(known, costs, strict=True):
            text = str(one.step) if one.step else "unpruned"
            axes.annotate(text, (cost, one.score), (3, 5), textcoords="offset points")
        axes.set(title=visible(document.model), ylabel=_title(document))
        axes.set(xlabel="million multiply-accumulates")

    save_plot(path, draw, width=5, height=3.5)


def _title(document: "PruneDocument") -> str:
    return document.measure[0].upper() + document.measure[1:]


FORMATS: "dict[str, Callable[[PruneDocument], None]]" = formats(prune_table, piped=None)
"""`--format` -> what prints the steps to standard output."""
