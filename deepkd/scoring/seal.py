"""Seal: a model file's own SHA-256, inside the file, so that damage shows wherever it was copied to.

The value of the seal is the SHA-256 of the file's bytes with 64 zeros in the place of that value.
"""

import hashlib
import re

SEAL_KEY = "content_sha256"
"""In the file's metadata, which is JSON."""
UNSEALED = "0" * 64
_VALUE = re.compile(rf'"{SEAL_KEY}": "([0-9a-f]{{64}})"'.encode())


def seal_of(content: bytes) -> str | None:
    """The SHA-256 (hex) that the seal of this content must have; None for content without a place for one."""
    found = _VALUE.search(content)
    if found is None:
        return None
    view = memoryview(content)
    digest = hashlib.sha256(view[: found.start(1)])
    digest.update(UNSEALED.encode())
    digest.update(view[found.end(1) :])
    return digest.hexdigest()


def sealed(content: bytes) -> bytes:
    """The same content with its seal set right; content without a place for one as it is."""
    found, value = _VALUE.search(content), seal_of(content)
    if found is None or value is None:
        return content
    return content[: found.start(1)] + value.encode() + content[found.end(1) :]
