"""Shards: a stable share of the inputs for each of many runs."""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from deepkd.errors import UsageError

PART = r"part-(\d{4,7})-of-(\d{4,7})"
"""What the files of a shard are called, see `Shard.part`."""


class Input(Protocol):
    """What is shared out: it has a path."""

    @property
    def path(self) -> Path:
        """Where it lies."""
        ...


T = TypeVar("T", bound=Input)


def input_key(path: str | Path) -> str:
    """A key of an input, of its path as given: 32 hexadecimal digits."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:32]


@dataclass(frozen=True)
class Shard:
    """One of `count` shares of the inputs."""

    number: int = 1
    """From 1 to `count`."""
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """The shard that a text such as `17/1000` names.

        Raises:
            UsageError: it names none.
        """
        match = re.fullmatch(r"(\d{1,7})/(\d{1,7})", text, re.ASCII)
        number, count = map(int, match.groups()) if match else (0, 0)
        if not 1 <= number <= count:
            raise UsageError(f"--shard {text}: takes I/N with I from 1 to N, for example 17/1000")
        return cls(number, count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @classmethod
    def of(cls, path: str | Path, count: int) -> "Shard":
        """The shard of an input, by a hash of its path, whatever others exist."""
        return cls(int(input_key(path), 16) % count + 1, count)

    def holds(self, path: Path) -> bool:
        """Whether an input belongs to this shard."""
        return self.count == 1 or self == Shard.of(path, self.count)

    def take(self, inputs: Iterable[T]) -> Iterator[T]:
        """The inputs of this shard, one after the other."""
        return (each for each in inputs if self.holds(each.path))

    @property
    def part(self) -> str:
        """What its files are called, without an ending: such as `part-0017-of-1000`."""
        width = max(4, len(str(self.count)))
        return f"part-{self.number:0{width}d}-of-{self.count:0{width}d}"
