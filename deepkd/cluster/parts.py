"""Parts: the verdicts of one shard in a folder, which grow line by line and survive a kill.

    out/part-0001-of-0004.jsonl               a line per input, as `--format jsonl` prints it
    out/part-0001-of-0004.jsonl.config.json   the settings
    out/part-0001-of-0004.journal             what the lines are, by their hashes

A line counts once the journal has it, too. What a killed run left of a line, or of an entry in the
journal, is dropped, and that input is judged again.
"""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

from deepkd.errors import OutputError, UsageError
from deepkd.journal import LineFile, content_key
from deepkd.outputs import check_folder, settings_beside, write_whole
from deepkd.report import Provenance
from deepkd.report.jsonl import make_line
from deepkd.scoring.verdict import Label, Verdict
from deepkd.shards import PART, Shard, input_key
from deepkd.video.sources import Source

FORMAT = "deepkd.part/1"
NAME = re.compile(rf"{PART}\.jsonl")
NEUTRAL = {
    *("model", "device", "workers", "timeout_s", "language", "format"),
    *("keep", "allow_private", "fetch_mb", "fetch_timeout_s"),
}
"""Settings that may differ when a run goes on: they change no verdict, or (the model) are compared
in another way."""
END_BYTES = 256
"""What is read of a journal to see whether its part is finished."""


@dataclass(frozen=True)
class PartFiles:
    """Where a part and what belongs to it lie."""

    folder: Path
    shard: Shard

    @classmethod
    def find(cls, folder: Path) -> "list[PartFiles]":
        """The parts in a folder, by name."""
        names = sorted(os.listdir(folder))
        matches = (match for name in names if (match := NAME.fullmatch(name)))
        found = [cls(folder, Shard(*map(int, match.groups()))) for match in matches]
        return [files for files in found if files.lines.name in names]

    @property
    def lines(self) -> Path:
        """The file of the verdicts."""
        return self.folder / f"{self.shard.part}.jsonl"

    @property
    def journal(self) -> Path:
        """The file that says what the lines are."""
        return self.lines.with_suffix(".journal")

    @property
    def settings(self) -> Path:
        """The file with the settings."""
        return settings_beside(self.lines)

    def check(self, *, resume: bool, overwrite: bool) -> None:
        """Make sure, before any work, that the part can be written.

        Raises:
            UsageError: both flags at once.
            OutputError: there is such a part and neither flag; or the folder cannot be written to.
        """
        if resume and overwrite:
            raise UsageError("--resume and --overwrite contradict; give one of them")
        check_folder(self.folder)
        if _is_filled(self.lines) and not (resume or overwrite):
            raise OutputError(
                f"{self.lines}: exists already; add --resume to judge what is missing, or"
                " --overwrite to judge everything again"
            )

    def is_finished(self) -> bool:
        """Whether a run came to the end of its inputs, and none has added to it since."""
        with suppress(OSError, ValueError, TypeError), self.journal.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - END_BYTES))
            end = file.read()
            last = json.loads(end.splitlines()[-1]) if end.endswith(b"\n") else {}
            return "finished" in last
        return False


def _is_filled(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


class Entry(NamedTuple):
    """What the journal says of one line."""

    input: str
    """The key of the path, see `input_key`."""
    content: str
    """The key of the file, see `content_key`, or the hash of a link; empty where it could not be
    read."""
    line: str
    """The hash of the line."""
    verdict: str


class Part:
    """The verdicts of one shard; a `Report` that finds out what is still to judge."""

    def __init__(
        self, files: PartFiles, head: Mapping[str, Any], *, resume: bool, overwrite: bool
    ) -> None:
        """Open the part, or begin it. Use `open_part`.

        Args:
            files: where it lies.
            head: what it is judged with, plain values: `model` and `settings`.
            resume: go on with the part that is there.
            overwrite: begin it anew.

        Raises:
            OutputError: another run is writing it, it was begun with other settings, or it exists
                and no flag says what to do with it.
        """
        self.files, self._head = files, {"format": FORMAT, **head}
        self.resumed = 0
        """Inputs that an earlier run judged."""
        self._entries: dict[str, Entry] = {}
        self._taken: set[str] = set()
        self._pending: dict[str, str] = {}
        self._replaced = False
        self._has_listed_all = False
        busy = f"{files.lines}: another run is writing this part; wait for its end"
        self._open = partial(LineFile, busy=busy)
        check_folder(files.folder)
        with ExitStack() as stack:
            self._journal = stack.enter_context(self._open(files.journal))
            files.check(resume=resume, overwrite=overwrite)
            self._lines = self._open(files.lines)
            stack.callback(lambda: self._lines.close())
            self._load(overwrite=overwrite)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def tally(self) -> Counter[str]:
        """Verdict -> inputs, those of earlier runs too."""
        return Counter(entry.verdict for entry in self._entries.values())

    def list_missing(self, sources: Iterable[Source]) -> Iterator[Source]:
        """The inputs to judge: new ones, changed ones and those that failed; each of them once."""
        for source in sources:
            key = input_key(source.path)
            if key in self._taken:
                continue
            self._taken.add(key)
            content = "" if source.problem else _content_of(source)
            known = self._entries.get(key)
            if known and content and known.content == content and known.verdict != Label.ERROR:
                self.resumed += 1
                continue
            self._pending[key] = content
            yield source
        self._has_listed_all = True

    @property
    def is_complete(self) -> bool:
        """Whether `missing` has come to its end, and each input that it gave has a verdict."""
        return self._has_listed_all and not self._pending

    def add(self, verdict: Verdict) -> None:
        """Add the verdict on an input, which replaces an earlier one.

        Raises:
            OutputError: it cannot be written, e.g. because the disk is full.
        """
        line = make_line(verdict, self._head["model"]).encode()
        key = input_key(verdict.path)
        entry = Entry(key, self._pending.get(key, ""), _hash(line), str(verdict.label))
        self._lines.append(line)
        self._write(entry._asdict())
        self._pending.pop(key, None)
        self._replaced |= key in self._entries
        self._entries[key] = entry

    def finish(self) -> None:
        """Say that all inputs were judged, with one line for each.

        Raises:
            OutputError: that cannot be written.
        """
        if self._replaced:
            self._drop_replaced()
        self._write({"finished": len(self._entries)})

    def close(self) -> None:
        """Close the files; another run may open them then."""
        self._stack.close()

    def _write(self, values: Mapping[str, object]) -> None:
        self._journal.append(json.dumps(values, separators=(",", ":")).encode() + b"\n")

    def _load(self, *, overwrite: bool) -> None:
        if overwrite or not _is_filled(self.files.lines):
            self._lines.truncate(0)
            self._journal.truncate(0)
            self._write(self._head)
            return
        entries = self._journal.recover()
        self._check_head(next(entries, (0, b""))[1])
        for _, line in entries:
            with suppress(ValueError, TypeError):
                entry = Entry(**json.loads(line))
                self._entries[entry.input] = entry
        self._drop_replaced()

    def _check_head(self, line: bytes) -> None:
        """Refuse to mix verdicts of different models or settings in one part."""
        try:
            before = json.loads(line)
            settings, model = before["settings"], before["model"]
            changed = [
                f"{key} {settings.get(key)} -> {now}"
                for key, now in self._head["settings"].items()
                if settings.get(key) != now
            ]
            if model["sha256"] != self._head["model"]["sha256"]:
                changed.insert(0, f"model {_name(model)} -> {_name(self._head['model'])}")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise OutputError(
                f"{self.files.lines}: its journal {self.files.journal.name} is missing or damaged;"
                " judge everything again with --overwrite"
            ) from error
        if changed:
            raise OutputError(
                f"{self.files.lines}: was begun with other settings ({'; '.join(changed)}); give"
                " the same ones, or --overwrite"
            )

    def _drop_replaced(self) -> None:
        """Keep the latest line of each input, and only lines that are in the journal."""
        found: set[str] = set()
        end, has_holes = 0, False
        for place, line in self._latest_lines():
            found.add(_hash(line))
            has_holes |= place > end
            end = place + len(line)
        if has_holes:
            self._rewrite()
        else:
            self._lines.truncate(end)
        self._entries = {key: e for key, e in self._entries.items() if e.line in found}
        self._replaced = False

    def _latest_lines(self) -> Iterator[tuple[int, bytes]]:
        """The place and the bytes of each line to keep; of equal ones the first."""
        waiting = {entry.line for entry in self._entries.values()}
        for place, line in self._lines.recover():
            if (hashed := _hash(line)) in waiting:
                waiting.remove(hashed)
                yield place, line

    def _rewrite(self) -> None:
        with write_whole(self.files.lines) as beside:
            with beside.open("wb") as out:
                out.writelines(line for _, line in self._latest_lines())
            self._lines.close()
        self._lines = self._open(self.files.lines)


def open_part(
    files: PartFiles, provenance: Provenance, *, resume: bool = False, overwrite: bool = False
) -> Part:
    """The part of a shard, for the verdicts of a model with its settings.

    Args:
        files: where it lies.
        provenance: the model and the settings of the run.
        resume: go on with the part that is there.
        overwrite: begin it anew.

    Raises:
        OutputError: see `Part`.
    """
    settings = {key: value for key, value in provenance.settings.items() if key not in NEUTRAL}
    head = {"model": provenance.to_dict(), "settings": settings}
    return Part(files, head, resume=resume, overwrite=overwrite)


def _content_of(source: Source) -> str:
    """What must be the same for a verdict to hold: the file, or the link, unfetched."""
    return _hash(source.link.encode()) if source.link else content_key(source.path, "")


def _name(model: Mapping[str, Any]) -> str:
    return f"{model['name']} ({model['sha256'][:8]})"


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()[:32]
