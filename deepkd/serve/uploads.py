"""Uploads: a clip streamed to disk and hashed while it arrives, as raw body or multipart form."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from anyio.to_thread import run_sync
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from deepkd.serve.desk import Desk

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

LEAST = 1 << 16
"""Bytes that arrive within `stall_s`, or the upload is dropped."""
BATCH = 1 << 20
"""Bytes that are written at once."""
CHECK = 1 << 26
"""Bytes between two looks at the room on the disk."""
DRAIN_S, SILENCE_S = 5.0, 0.5
"""How long a body is still read that is refused, and how long nothing may come meanwhile: a
browser reads no answer while it sends."""
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True)
class Upload:
    """A clip that has arrived."""

    part: Path
    sha256: str
    name: str


async def receive(request: Request, desk: Desk) -> Upload:
    """The clip of a request, as a file in `incoming/`; the caller moves or removes it.

    Raises:
        HTTPException: 400 no clip, or a damaged form; 408 it stalled; 413 it is too large; 507 no
            room.
        ClientDisconnect: the client went away.
    """
    name = f"{time.time_ns()}-{os.urandom(4).hex()}"
    part = desk.store.folder / "incoming" / name
    try:
        with part.open("wb") as file:
            sink = _Sink(file, desk)
            body = read_steadily(request, desk.config.stall_s)
            kind, options = parse_options_header(request.headers.get("content-type"))
            if kind == b"multipart/form-data":
                given = await _read_form(body, options.get(b"boundary", b""), sink)
            else:
                given = request.query_params.get("name", "")
                async for chunk in body:
                    await sink.write(chunk)
            await sink.flush()
            if not sink.size:
                raise HTTPException(400, "no clip came; send a file with content")
            await run_sync(os.fsync, file.fileno())
    except OSError as error:
        part.unlink(missing_ok=True)
        if error.errno in FULL:
            raise HTTPException(507, "the disk is full; make room on it") from error
        raise
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return Upload(part, sink.hash.hexdigest(), given)


async def read_steadily(request: Request, stall_s: float) -> AsyncIterator[bytes]:
    """The body of a request, as long as `LEAST` bytes come within each `stall_s`.

    Raises:
        HTTPException: 408 it stalled.
        ClientDisconnect: the client went away.
    """
    chunks = aiter(request.stream())
    deadline, came = time.monotonic() + stall_s, 0
    while True:
        try:
            chunk = await asyncio.wait_for(anext(chunks), deadline - time.monotonic())
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise HTTPException(408, "the upload stalled; send it again", CLOSE) from None
        came += len(chunk)
        if came >= LEAST:
            deadline, came = time.monotonic() + stall_s, 0
        yield chunk


CLOSE = {"Connection": "close"}


async def drain(request: Request) -> None:
    """Read what a browser still sends, for some seconds, so that it reads the answer."""
    if request.headers.get("expect"):
        return  # waits for the answer before it sends

    end = time.monotonic() + DRAIN_S
    chunks = aiter(request.stream())
    with suppress(TimeoutError, ClientDisconnect, RuntimeError, StopAsyncIteration):
        while time.monotonic() < end:
            await asyncio.wait_for(anext(chunks), SILENCE_S)


async def read_small(request: Request, desk: Desk, limit: int = 1 << 16) -> bytes:
    """A short body.

    Raises:
        HTTPException: 413 it is longer than `limit`; 408 it stalled.
    """
    body = b""
    async for chunk in read_steadily(request, desk.config.stall_s):
        body += chunk
        if len(body) > limit:
            raise HTTPException(413, f"the body is longer than {limit} bytes", CLOSE)
    return body


@contextmanager
def count_arriving(desk: Desk) -> Iterator[None]:
    """Count an upload that is under way."""
    desk.arriving += 1
    try:
        yield
    finally:
        desk.arriving -= 1


@dataclass
class _Sink:
    """Writes a file in batches, hashes it, and refuses what is too much."""

    file: BinaryIO
    desk: Desk
    size: int = 0
    hash: hashlib._Hash = field(default_factory=hashlib.sha256)
    _waiting: bytearray = field(default_factory=bytearray)

    async def write(self, chunk: bytes) -> None:
        """Take some bytes.

        Raises:
            HTTPException: 413 too many came; 507 no room is left.
        """
        before, self.size = self.size, self.size + len(chunk)
        if self.size > self.desk.max_clip:
            raise refuse_size(self.desk)
        if before // CHECK != self.size // CHECK and (why := self.desk.check_room(self.size)):
            raise HTTPException(507, why)
        self._waiting += chunk
        if len(self._waiting) >= BATCH:
            await self.flush()

    async def flush(self) -> None:
        """Write what waits."""
        batch, self._waiting = self._waiting, bytearray()
        await run_sync(self._write, batch)

    def _write(self, batch: bytearray) -> None:
        self.hash.update(batch)
        self.file.write(batch)
        self.file.flush()


def refuse_size(desk: Desk) -> HTTPException:
    """What is said of a clip that is too large."""
    limit = desk.config.max_clip_mb
    return HTTPException(413, f"the clip is larger than {limit:g} MB (--max-clip-mb)")


async def _read_form(body: AsyncIterator[bytes], boundary: bytes, sink: _Sink) -> str:
    """Write the one file of a multipart form to `sink`; its name."""
    form = _Form()
    try:
        parser = MultipartParser(boundary or b"-", form.callbacks())
        async for chunk in body:
            parser.write(chunk)
            await sink.write(form.take())
    except FormParserError as error:
        raise HTTPException(400, f"the form is damaged ({error})", CLOSE) from error
    if not form.is_whole:
        raise HTTPException(400, "the form is cut off, or has no boundary; send it again")
    return form.name


class _Form:
    """The parts of a multipart form: the bytes and the name of its one file."""

    def __init__(self) -> None:
        self.name, self.is_whole = "", False
        self._files, self._in_file = 0, False
        self._field, self._value = bytearray(), bytearray()
        self._disposition = b""
        self._waiting = bytearray()

    def callbacks(self) -> MultipartCallbacks:
        """For `MultipartParser`."""
        return {
            "on_part_begin": self._begin,
            "on_part_data": self._data,
            "on_header_field": lambda data, start, end: self._field.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header,
            "on_headers_finished": self._headers,
            "on_end": self._end,
        }

    def take(self) -> bytes:
        """The bytes of the file that came since the last call."""
        waiting, self._waiting = bytes(self._waiting), bytearray()
        return waiting

    def _begin(self) -> None:
        self._in_file, self._disposition = False, b""

    def _header(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._field, self._value = bytearray(), bytearray()

    def _headers(self) -> None:
        _, options = parse_options_header(self._disposition.decode("latin-1"))
        if b"filename" not in options:
            return
        self._files += 1
        if self._files > 1:
            raise HTTPException(400, "the form has several files; send one clip a request", CLOSE)
        self._in_file = True
        self.name = options[b"filename"].decode("utf-8", "replace")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._waiting += data[start:end]

    def _end(self) -> None:
        self.is_whole = True
