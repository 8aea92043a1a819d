"""Arrival: an input as a file on this machine, with what is known of where it comes from."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deepkd.settings.detect import DetectConfig


@dataclass(frozen=True)
class Origin:
    """Where a fetched clip comes from. Texts are short, on one line, and safe to show."""

    address: str
    """As it was given, without credentials."""
    fetched_at: str
    """UTC, ISO 8601."""
    title: str
    uploader: str
    extractor: str
    """What yt-dlp calls the site; `generic` is a file on any server."""
    format: str
    tool: str
    """yt-dlp and its version."""
    bytes: int
    sha256: str
    file: Path | None = None
    """Where it was kept."""

    def to_dict(self) -> dict[str, Any]:
        """The `origin` of schema deepkd.detect/1."""
        values = {**asdict(self), "file": None if self.file is None else str(self.file)}
        return {key: None if value == "" else value for key, value in values.items()}


@contextmanager
def fetch_input(
    path: Path, link: str, config: DetectConfig
) -> Iterator[tuple[Path, Origin | None]]:
    """The file of an input: itself, or what is behind its link until the block ends.

    Args:
        path: the file, or how its link is shown.
        link: where to fetch it from; "" for a file.
        config: the limits for links, and whether to keep what is fetched.

    Raises:
        VideoError: it cannot be fetched.
        OutputError: it cannot be kept.
    """
    if not link:
        yield path, None
        return
    from deepkd.origin.links import Limits, fetch_link

    limits = Limits(config.fetch_mb, config.fetch_timeout_s, config.allow_private or "")
    keep = Path(config.keep) if config.keep else None
    with fetch_link(link, path, limits, keep=keep) as (file, origin):
        yield file, origin
