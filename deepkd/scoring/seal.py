"""Seal: a model file's own SHA-256 inside the file, which shows damage after a copy.

The value of the seal is the SHA-256 of the file's bytes with 64 zeros in the place of that value.
"""

import hashlib
import re

SEAL_KEY = "content_sha256"
"""In the file's metadata, which is JSON."""
UNSEALED = "0" * 64
_BEFORE = f'"{SEAL_KEY}": "'.encode()
_VALUE = re.compile(rb'([0-9a-f]{64})"')


def seal_of(content: bytes) -> str | None:
    """The SHA-256 (hex) that the seal of this content must have; None without a seal."""
    return hashes_of(content)[1]


def hashes_of(content: bytes) -> tuple[str, str | None]:
    """The SHA-256 (hex) of the content, and that of its seal; what both begin with is read once."""
    place = _place(content)
    if place is None:
        return hashlib.sha256(content).hexdigest(), None
    view = memoryview(content)
    whole = hashlib.sha256(view[: place.start])
    sealed = whole.copy()
    whole.update(view[place.start :])
    sealed.update(UNSEALED.encode())
    sealed.update(view[place.stop :])
    return whole.hexdigest(), sealed.hexdigest()


def set_seal(content: bytes) -> bytes:
    """The same content with its seal set right; content without a place for one as it is."""
    place = _place(content)
    if place is None:
        return content
    value = str(seal_of(content)).encode()
    return b"".join((memoryview(content)[: place.start], value, content[place.stop :]))


def _place(content: bytes) -> slice | None:
    """Where the value stands, sought from the end: ONNX has the metadata behind the weights."""
    before = content.rfind(_BEFORE)
    found = _VALUE.match(content, before + len(_BEFORE)) if before >= 0 else None
    return slice(*found.span(1)) if found else None
