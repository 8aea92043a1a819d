"""Copies: an object of a store as a temporary file, since decoders read here and there in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepkd.errors import InputError, VideoError
from deepkd.outputs import scratch
from deepkd.stores import download, is_stored


@contextmanager
def fetch_copy(path: Path, limit_s: float = 0.0) -> Iterator[Path]:
    """The file itself, or a temporary copy of an object, which is removed after the block.

    Args:
        path: of a file, or the address of an object.
        limit_s: most seconds that fetching may take; 0 for no limit.

    Raises:
        VideoError: the object cannot be fetched.
        InputError: from the block, with the name of the object in place of that of the copy.
    """
    if not is_stored(path):
        yield path
        return
    with scratch() as folder:
        copy = folder / f"clip{path.suffix}"
        try:
            download(str(path), copy, limit_s=limit_s)
        except InputError as error:
            raise VideoError(str(error)) from error
        try:
            yield copy
        except InputError as error:
            raise type(error)(str(error).replace(str(copy), str(path))) from error
