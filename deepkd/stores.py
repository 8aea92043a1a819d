"""Stores: objects behind s3://, gs:// and az:// addresses. They take the extra `remote`.

Credentials come from the environment: AWS_ACCESS_KEY_ID, AWS_REGION, AWS_ENDPOINT_URL and the like,
GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_KEY, or the role of the machine.
"""

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from deepkd.errors import DeepKDError, InputError, UsageError
from deepkd.text import first_sentence

if TYPE_CHECKING:
    from obstore.store import ObjectStore

LARGEST_BYTES = 16 * 2**30
"""The largest object that is fetched."""
CHUNK_BYTES = 2**20
CONNECT_S, SILENT_S, RETRY_S = 10.0, 60.0, 120.0
"""How long to wait for a connection, for the next bytes, and for all tries of a request."""
RETRIES = 5
_ADDRESS = re.compile(r"(s3|gs|az)://", re.IGNORECASE)
_ROOT = re.compile(r"((?:s3|gs)://[^/]+|az://[^/]+/[^/]+)/?(.*)", re.IGNORECASE | re.DOTALL)


class StoredObject(NamedTuple):
    """An object in a store."""

    url: str
    size: int
    """Bytes."""


def is_stored(name: str | os.PathLike[str]) -> bool:
    """Whether a name is the address of an object in a store, or of a prefix."""
    return bool(_ADDRESS.match(os.fspath(name)))


def join_url(url: str, name: str) -> str:
    """The address of an object below a prefix."""
    return f"{url.rstrip('/')}/{name}"


def list_objects(url: str) -> Iterator[StoredObject]:
    """The objects below a prefix, as the store lists them: a page at a time.

    Raises:
        InputError: the store cannot be reached or refuses.
        UsageError: the extra is missing, or the address is wrong.
    """
    root, prefix = _split(url)
    with _explain(url):
        for page in _store(root).list(prefix or None, chunk_size=1000):
            for entry in page:
                yield StoredObject(join_url(root, entry["path"]), int(entry["size"]))


def version_of(url: str) -> str:
    """A name of the content that an object has now.

    Raises:
        InputError: there is no such object, or the store cannot be reached or refuses.
    """
    root, key = _split(url)
    with _explain(url):
        found = _store(root).head(key)
    return f"{found['e_tag'] or found['last_modified']} {found['size']}"


def is_there(url: str) -> bool:
    """Whether there is an object.

    Raises:
        InputError: the store cannot be reached or refuses.
    """
    root, key = _split(url)
    with _explain(url):
        try:
            _store(root).head(key)
        except FileNotFoundError:
            return False
    return True


def download(url: str, file: Path, *, limit_s: float = 0.0) -> None:
    """Fetch an object, whole.

    Args:
        url: its address.
        file: where it is written.
        limit_s: most seconds that it may take; 0 for no limit.

    Raises:
        InputError: there is no such object, it is too large or cut short, it takes too long, or the
            store cannot be reached or refuses.
    """
    root, key = _split(url)
    began, size = time.monotonic(), 0
    with _explain(url), file.open("wb") as out:
        found = _store(root).get(key)
        whole = int(found.meta["size"])
        _check_room(url, whole, file.parent)
        for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
            size += out.write(chunk)
            if limit_s and time.monotonic() - began > limit_s:
                raise InputError(f"{url}: took longer than {limit_s:g} s to fetch; see --timeout")
    if size != whole:
        raise InputError(f"{url}: was cut short, at {size} of {whole} bytes; try again")


def _check_room(url: str, size: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if size > min(free, LARGEST_BYTES):
        raise InputError(
            f"{url}: has {size} bytes, and at most {min(free, LARGEST_BYTES)} can be fetched to"
            f" {folder}; download it yourself and give the file"
        )


def upload(file: Path, url: str) -> None:
    """Write an object, whole or not at all.

    Raises:
        InputError: the store cannot be reached or refuses.
    """
    root, key = _split(url)
    with _explain(url):
        _store(root).put(key, file)


def _split(url: str) -> tuple[str, str]:
    """The bucket or container, and the key in it.

    Raises:
        UsageError: the address names no bucket.
    """
    match = _ROOT.fullmatch(url)
    if not match:
        raise UsageError(
            f"{url}: is no address of objects; give s3://BUCKET/KEY, gs://BUCKET/KEY or"
            " az://ACCOUNT/CONTAINER/KEY"
        )
    return match[1], match[2]


@lru_cache
def _store(root: str) -> "ObjectStore":
    """The bucket or container; its connections are kept."""
    try:
        from obstore.store import from_url
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{root}: object stores need obstore, which is not installed; pip install"
            " 'deepkd[remote]', or download the objects"
        ) from error
    client: Any = {
        "connect_timeout": timedelta(seconds=CONNECT_S),
        "read_timeout": timedelta(seconds=SILENT_S),
        "timeout": timedelta(days=1),
        "allow_http": True,  # where the environment names such an endpoint; else it is HTTPS
    }
    retries: Any = {"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_S)}
    return from_url(root, client_options=client, retry_config=retries)


@contextmanager
def _explain(url: str) -> Iterator[None]:
    """Turn what the store answers into an error that says what to do."""
    try:
        yield
    except DeepKDError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{url}: there is no such object; check the name") from error
    except Exception as error:
        kind = type(error).__name__
        if kind in ("PermissionDeniedError", "UnauthenticatedError"):
            why = "the store refuses access; check the credentials in the environment"
        else:
            why = f"the store cannot be read or written ({first_sentence(error)})"
        raise InputError(f"{url}: {why}") from error
