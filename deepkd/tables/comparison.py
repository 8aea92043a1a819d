"""The comparison after a distillation, as a table or JSON."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from deepkd.tables.table import Column, Table, formats
from deepkd.text import visible

if TYPE_CHECKING:
    from deepkd.benchmark.results import ComparisonDocument

COLUMNS = (
    Column("Model", visible, is_left=True),
    Column("AUC", "{:.4f}".format),
    Column("Log loss", "{:.4f}".format),
    Column("Parameters", "{:,}".format),
    Column("MMACs", lambda macs: f"{macs / 1e6:,.1f}"),
    Column("ms", "{:.2f}".format),
)


def comparison_table(document: "ComparisonDocument") -> Table:
    """Models as rows: AUC, log loss, parameters, MACs, milliseconds; of classes the accuracy."""
    if document.models[0].accuracy is not None:
        return _table_of_classes(document)
    rows = [
        [one.name, one.auc, one.log_loss, one.params, one.macs, one.ms] for one in document.models
    ]
    caption = "Validation crops; ms: median of one crop in ONNX Runtime, in turn."
    return Table(COLUMNS, rows, caption=caption, is_stacked=False)


def _table_of_classes(document: "ComparisonDocument") -> Table:
    columns = (
        COLUMNS[0],
        Column("Accuracy", "{:.4f}".format),
        Column("Top-5", "{:.4f}".format),
        *COLUMNS[2:],
    )
    rows = [
        [one.name, one.accuracy, one.top5, one.log_loss, one.params, one.macs, one.ms]
        for one in document.models
    ]
    caption = "Validation pictures; ms: median of one picture in ONNX Runtime, in turn."
    return Table(columns, rows, caption=caption, is_stacked=False)


FORMATS: "dict[str, Callable[[ComparisonDocument], None]]" = formats(comparison_table, piped=None)
"""`--format` -> what prints the models to standard output."""
