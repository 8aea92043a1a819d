"""Clips as the desk knows them: state, verdict, decision."""

import re
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any

from deepkd.text import as_text, visible
from deepkd.video.suffixes import IMAGE_SUFFIXES, VIDEO_SUFFIXES

LONGEST_NAME = 200
"""Characters of a name that are kept."""


class State(StrEnum):
    """Where a clip stands."""

    QUEUED = "queued"
    JUDGING = "judging"
    DONE = "done"
    FAILED = "failed"


class Choice(StrEnum):
    """What a person decided."""

    FORGED = "forged"
    AUTHENTIC = "authentic"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Decision:
    """What a person wrote down about a clip."""

    decision: Choice
    note: str = ""
    who: str = ""
    decided: float = 0.0
    """Seconds since 1970."""


@dataclass(frozen=True)
class Person:
    """A person of a clip in a few words."""

    name: str
    verdict: str
    score: float | None
    line: tuple[tuple[float, float], ...] = ()
    """(share of the clip's length, probability of forgery), for a small time line."""

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class StoredClip:
    """One clip of the store, without its evidence."""

    id: str
    """SHA-256 of the content, hex."""
    number: int
    """Grows with each upload."""
    name: str
    suffix: str
    bytes: int
    uploaded: float
    """Seconds since 1970, as `judged`."""
    state: State
    attempts: int
    """How often it was being judged when the server ended."""
    made_with: str
    """Key of the model and settings that judged it."""
    verdict: str = ""
    score: float | None = None
    reason: str = ""
    people: tuple[Person, ...] = ()
    judged: float | None = None
    decision: Decision | None = None

    @property
    def is_settled(self) -> bool:
        """Whether it waits for nothing."""
        return self.state in {State.DONE, State.FAILED}


@dataclass(frozen=True)
class Evidence:
    """All that is known of a judged clip."""

    entry: dict[str, Any]
    """An entry of `videos` in schema deepkd.detect/1."""
    described: dict[str, Any]
    """What pages show, see `deepkd.report.html.describe`."""


@dataclass(frozen=True)
class Result:
    """What a worker found out about a clip."""

    verdict: str
    score: float | None
    reason: str
    people: tuple[Person, ...]
    evidence: Evidence


def clean_name(name: str) -> str:
    """A name to show: the last part of what looks like a path, on one line, not too long."""
    last = re.split(r"[/\\]", as_text(name))[-1]
    return visible(last).strip()[:LONGEST_NAME] or "clip"


def find_suffix(name: str) -> str:
    """The ending of a name if it is one of a video or image, else "".

    Nothing else of a name becomes part of a path.
    """
    suffix = PurePosixPath(name).suffix.lower()
    return suffix if suffix in VIDEO_SUFFIXES | IMAGE_SUFFIXES else ""
