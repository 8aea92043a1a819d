"""The origin of a fetched clip: address, time, and what its site says of it."""

from dataclasses import asdict, dataclass
from pathlib import Path


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

    def to_dict(self) -> dict[str, object]:
        """The `origin` of schema deepkd.detect/1."""
        values = {**asdict(self), "file": None if self.file is None else str(self.file)}
        return {key: None if value == "" else value for key, value in values.items()}
