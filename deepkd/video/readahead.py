"""Read-ahead: a video decoded in a thread of its own, a few frames ahead."""

import atexit
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from typing import Self
from weakref import WeakSet

from deepkd.video.decoder import Stopped
from deepkd.video.frames import Frame, Plan, VideoInfo, open_media

AHEAD, AHEAD_BYTES = 4, 1 << 26
"""Frames that wait to be looked at: at most so many, and so many bytes, but one in any case."""
PATIENCE_S = 5.0
"""How long a thread that shall end is waited for; a decoder that hangs is left alone after it."""


class ReadAhead:
    """The frames of one video or image, decoded in a thread while the caller works.

    with ReadAhead(path, evenly(lambda duration_s: 16)) as video:
        video.info
        for frame in video: ...

    Decoding begins at once. At the end of the block, however it comes, the thread is ended and the
    file closed.
    """

    def __init__(self, path: str | os.PathLike[str], plan: Plan, *, threads: int = 0) -> None:
        """Start to decode.

        Args:
            path: a video or an image.
            plan: which frames of a video to take, such as `evenly(...)`.
            threads: decoder threads, 0 for as many as there are cores.
        """
        self.path = Path(path)
        self.warnings: list[str] = []
        """What was wrong with a video that still decoded; whole once the frames are taken."""
        self._plan, self._threads = plan, threads
        self._stop, self._known = threading.Event(), threading.Event()
        self._items: Queue[VideoInfo | Frame | BaseException | None] = Queue(1)
        self._info: VideoInfo | None = None
        _begun.add(self)
        self._thread = threading.Thread(
            target=self._read, name=f"decoding {self.path.name}", daemon=True
        )
        self._thread.start()

    @property
    def info(self) -> VideoInfo:
        """What the file holds, as soon as that is known.

        Raises:
            VideoError, ImageError: it cannot be opened, or not one frame decodes.
        """
        if self._info is None:
            item = self._next()
            assert isinstance(item, VideoInfo)
            self._info = item
        return self._info

    def wait(self, timeout_s: float) -> None:
        """Wait until the first frame or an error is there, but not longer than this."""
        self._known.wait(timeout_s)

    def __iter__(self) -> Iterator[Frame]:
        """The frames, once.

        Raises:
            VideoError, ImageError: it cannot be opened, or not one frame decodes.
        """
        _ = self.info
        while isinstance(item := self._next(), Frame):
            yield item

    def close(self) -> None:
        """End the thread, which stops at its next packet, and wait until it has closed the file."""
        self._stop.set()
        deadline = time.monotonic() + PATIENCE_S
        while self._thread.is_alive() and time.monotonic() < deadline:
            with suppress(Empty):
                self._items.get_nowait()  # makes room for what the thread waits to put
            self._thread.join(0.01)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """See `close`."""
        self.close()

    def _next(self) -> VideoInfo | Frame | None:
        item = self._items.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def _read(self) -> None:
        """What the thread does: put the info, the frames, and then None or the error."""
        end = None
        try:
            with open_media(
                self.path, self._plan, threads=self._threads, stop=self._stop.is_set
            ) as file:
                self._items.put(file.info)
                self._known.set()
                self._items.maxsize = _room(file.info)
                for frame in file.frames(self.warnings.append):
                    self._items.put(frame)
                    if self._stop.is_set():
                        return
        except Stopped:
            return
        except BaseException as error:  # whatever it is, it is raised where the frames are taken
            end = error
        self._items.put(end)
        self._known.set()


def _room(info: VideoInfo) -> int:
    return max(1, min(AHEAD, AHEAD_BYTES // max(1, 3 * info.width * info.height)))


_begun: "WeakSet[ReadAhead]" = WeakSet()


@atexit.register
def _end_all() -> None:
    """Close what an interrupt left open; a thread that decodes at exit would abort Python."""
    for video in list(_begun):
        video.close()
