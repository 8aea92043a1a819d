"""Journal: the finished parts of a long evaluation, so that a second run resumes it."""

import json
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from deepkd.errors import OutputError

JOURNAL_NAME = "robustness.jsonl"
"""In the output folder: a line that tells what is evaluated, then a line per finished part."""


class Journal:
    """Finished parts, each known by a key, in a file or in memory only."""

    def __init__(
        self,
        folder: Path | None,
        subject: Callable[[], dict[str, Any]],
        keys: Sequence[str],
        *,
        overwrite: bool = False,
    ) -> None:
        """Open the file, or begin it.

        Args:
            folder: where the file lies; None keeps nothing beyond this run.
            subject: gives what is evaluated, plain values; a file of another subject is refused.
                Asked with a folder only, since it may read all of the data.
            keys: names of the values that tell one part from another.
            overwrite: begin the file anew, whatever it holds.

        Raises:
            OutputError: it belongs to other data or settings, is damaged, or cannot be written.
        """
        self.path, self.keys = folder / JOURNAL_NAME if folder else None, tuple(keys)
        self.found: dict[tuple[Hashable, ...], Any] = {}
        if self.path:
            self._open(self.path, subject(), overwrite=overwrite)

    def join(self, path: Path, subject: dict[str, Any]) -> None:
        """Take the results in another file too; nothing is written to it.

        Raises:
            OutputError: it belongs to other data or settings, is damaged, or cannot be read.
        """
        try:
            whole, _ = _read_lines(path)
        except OSError as error:
            raise OutputError(f"{path}: cannot be read ({error.strerror})") from error
        self.found = self._parse(path, whole, subject) | self.found

    def _open(self, path: Path, subject: dict[str, Any], *, overwrite: bool) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            whole, is_cut = _read_lines(path) if path.exists() and not overwrite else ([], False)
            if whole:
                self.found = self._parse(path, whole, subject)
                if is_cut:
                    path.write_bytes(b"".join(whole))
            else:
                path.write_text(json.dumps(subject) + "\n", encoding="utf-8")
        except OSError as error:
            raise OutputError(
                f"{path}: cannot be written ({error.strerror}); choose another --out"
            ) from error

    def _parse(
        self, path: Path, lines: list[bytes], subject: dict[str, Any]
    ) -> dict[tuple[Hashable, ...], Any]:
        with suppress(ValueError, LookupError, TypeError):
            if json.loads(lines[0]) == subject:
                entries = map(json.loads, lines[1:])
                return {
                    tuple(entry[key] for key in self.keys): entry["result"] for entry in entries
                }
        raise OutputError(
            f"{path}: was begun with other data or settings, or is damaged; choose another --out,"
            " or --overwrite it"
        )

    def add(self, *key: Hashable, result: Any) -> None:
        """Keep the result of one part, plain values; its key as the names in `keys`.

        Raises:
            OutputError: the file cannot be written.
        """
        self.found[key] = result
        if self.path is None:
            return
        entry = {**dict(zip(self.keys, key, strict=True)), "result": result}
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry, separators=(",", ":")) + "\n")
        except OSError as error:
            why = f"cannot be written ({error.strerror})"
            raise OutputError(
                f"{self.path}: {why}; make room, then run the same command again"
            ) from error


def _read_lines(path: Path) -> tuple[list[bytes], bool]:
    """The whole lines of a file, and whether a kill cut the last one short."""
    lines = path.read_bytes().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith(b"\n")]
    return whole, len(whole) < len(lines)
