"""Standard output: the report on it, which may be closed before the work is done."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepkd.report import Provenance, Report
    from deepkd.scoring.verdict import Verdict


class StandardOutput:
    """The report on standard output.

    When standard output is closed, a report in a file goes on, and `check` raises the error.
    """

    def __init__(self, format: str, provenance: "Provenance", *, alone: bool) -> None:
        from deepkd.report import find_encoding, open_report

        self._alone = alone
        self._error: OSError | None = None
        self._report: Report | None = None
        encoding = find_encoding(format)
        sys.stdout.reconfigure(encoding=encoding, errors="backslashreplace")  # type: ignore[union-attr]
        with self._redirect():
            self._report = open_report(format, sys.stdout, provenance)

    def add(self, verdict: "Verdict") -> None:
        """Print a verdict, as long as standard output is open."""
        with self._redirect():
            if self._report:
                self._report.add(verdict)

    def close(self) -> None:
        """Print what is left to print."""
        with self._redirect():
            if self._report:
                self._report.close()
            sys.stdout.flush()

    def check(self) -> None:
        """Raise what went wrong (OSError)."""
        if self._error:
            raise self._error

    @contextmanager
    def _redirect(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._error = self._error or error
            os.dup2(
                os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
            )  # takes the rest, also at exit
            if self._alone:
                self.check()
