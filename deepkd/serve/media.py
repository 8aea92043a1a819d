"""Media types by content: never what a stranger says that a file is."""

from pathlib import Path

STARTS = {
    b"\x1aE\xdf\xa3": "video/webm",
    b"OggS": "video/ogg",
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"GIF8": "image/gif",
    b"BM": "image/bmp",
}
UNKNOWN = "application/octet-stream"
"""Of a file that a browser is to save, not to show."""


def detect_type(path: Path) -> str:
    """The type of a video or image by its first bytes, `UNKNOWN` for anything else.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(32)
    if head[4:8] == b"ftyp":
        return "image/avif" if head[8:12] == b"avif" else "video/mp4"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in STARTS.items() if head.startswith(start)), UNKNOWN)
