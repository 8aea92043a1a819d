"""Engines: what runs the shards of many clips on many machines.

An engine is a class and a line in `deepkd.settings.choices.ENGINES`.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, Self

from deepkd.errors import UsageError
from deepkd.pool import Outcome
from deepkd.settings.choices import ENGINES


class Engine(Protocol):
    """Machines that do pieces of work, each in a process of its own.

    Machines are its business: work of a machine that dies is done again on another one.
    """

    def __init__(self, address: str, *, cpus: int) -> None:
        """Choose the machines.

        Args:
            address: where they are asked for; empty for the usual place.
            cpus: CPU cores that each piece of work takes.
        """

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None:
        """End what is still running."""

    def slots(self) -> int:
        """Pieces of work that can be done at the same time now, at least 1."""
        ...

    def run(self, works: Iterable[tuple[Any, Callable[[], Any]]]) -> Iterator[Outcome[Any, Any]]:
        """Do work; its outcomes come in any order.

        Args:
            works: (name, picklable function); taken as machines become free.
        """
        ...


def open_engine(text: str, *, cpus: int) -> Engine:
    """The engine that a text such as `ray` or `ray://head:10001` names.

    Raises:
        UsageError: there is no such engine.
    """
    name, _, address = text.partition("://")
    if name not in ENGINES or not re.fullmatch(r"\w+|\w+://\S+", text):
        raise UsageError(
            f"--cluster {text}: takes an engine and where it is, such as ray or ray://head:10001;"
            f" engines are {', '.join(ENGINES)}"
        )
    return ENGINES.load(name)(address, cpus=cpus)
