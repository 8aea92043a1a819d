"""Progress on standard error: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

EVERY_S = 10.0
"""Seconds between two plain lines."""
NAMED = 20
"""Inputs that failed, and the like, that are named at most."""


def say(text: str) -> None:
    """A plain line on standard error."""
    print(text, file=sys.stderr)


def warn(text: str) -> None:
    """A warning on standard error, with what is no plain character in it escaped."""
    from deepkd.text import visible

    print(f"warning: {visible(text)}", file=sys.stderr)


def wrote(path: Path, about: str = "") -> None:
    """A line on standard error that names a written file, and then `about`."""
    from deepkd.text import visible

    print(visible(f"wrote {path}{about}"), file=sys.stderr)


def name_first(
    heading: str, texts: Sequence[str], *, rest: str = "more", out: TextIO | None = None
) -> None:
    """A line on standard error for each of the first texts, and the number of the rest."""
    from deepkd.text import visible

    for text in texts[:NAMED]:
        print(f"{heading}: {visible(text)}", file=out or sys.stderr)
    if len(texts) > NAMED:
        print(f"{heading}: {len(texts) - NAMED} {rest}", file=out or sys.stderr)


class _Pace:
    """Speed since the first report; the earlier work of a resumed run does not count."""

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None

    def __call__(self, done: int) -> float | None:
        """Done in a second since the first report; None where nothing was."""
        now = time.monotonic()
        first, since = self._first = self._first or (done, now)
        return (done - first) / (now - since) if done > first and now > since else None


@contextmanager
def progress(what: str, unit: str) -> Iterator[Callable[[int, int | None], None]]:
    """A function to call with (done, total); `what` is being done to things called `unit`.

    Where the total is unknown it is None, and without a terminal only every tenth second has a
    line.
    """
    if sys.stderr.isatty():
        with _bar(what, unit) as show:
            yield show
    else:
        yield _lines(what, unit)


@contextmanager
def _bar(what: str, unit: str) -> Iterator[Callable[[int, int | None], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
    )
    rate = TextColumn("{task.fields[rate]}")
    with Progress(
        *columns, rate, TimeRemainingColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task(what, total=None, rate="")
        pace = _Pace()

        def show(done: int, total: int | None) -> None:
            rate = pace(done)
            bar.update(task, completed=done, total=total, rate=f"{rate:.3g}/s" if rate else "")

        yield show


def _lines(what: str, unit: str) -> Callable[[int, int | None], None]:
    pace, shown = _Pace(), time.monotonic()

    def show(done: int, total: int | None) -> None:
        nonlocal shown
        rate, now = pace(done), time.monotonic()
        if now - shown < EVERY_S and (total is None or done < total):
            return
        shown = now
        speed = f", {rate:.3g}/s" if rate else ""
        ahead = f", {(total - done) / rate:.0f} s left" if rate and total is not None else ""
        count = done if total is None else f"{done}/{total}"
        print(f"{what}: {count} {unit}{speed}{ahead}", file=sys.stderr)

    return show
