"""Tables and JSON on standard output."""

import json
from collections.abc import Mapping
from typing import Any

from rich.console import Console, RenderableType


def print_table(content: RenderableType, *, piped: int = 160) -> None:
    """Print at the terminal's width; into a pipe or file `piped` columns wide, whatever the terminal is."""
    console = Console()
    Console(width=None if console.is_terminal else piped).print(content)


def print_json(document: Mapping[str, Any]) -> None:
    """Print a document as indented JSON."""
    print(json.dumps(document, indent=2))
