"""The comparison after a distillation, as a table or JSON."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

Rows = Sequence[dict[str, Any]]


def comparison_table(rows: Rows) -> Table:
    """Models as rows: AUC, log loss, parameters, MACs, milliseconds."""
    table = Table(
        caption="Validation crops; ms: median of one crop in ONNX Runtime, in turn.",
        caption_justify="left",
    )
    table.add_column("Model")
    for name in ("AUC", "Log loss", "Parameters", "MMACs", "ms"):
        table.add_column(name, justify="right")
    for row in rows:
        figures = (f"{row['auc']:.4f}", f"{row['log_loss']:.4f}", f"{row['params']:,}")
        table.add_row(
            escape(row["name"]), *figures, f"{row['macs'] / 1e6:,.1f}", f"{row['ms']:.2f}"
        )
    return table


def _print_table(rows: Rows) -> None:
    Console().print(comparison_table(rows))


def _print_json(rows: Rows) -> None:
    print(json.dumps({"schema": "deepkd.distill/1", "models": list(rows)}, indent=2))


FORMATS: dict[str, Callable[[Rows], None]] = {"table": _print_table, "json": _print_json}
