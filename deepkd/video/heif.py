"""HEIF: the picture of a HEIC or AVIF file, as phones and browsers save it (ISO/IEC 23008-12).

FFmpeg decodes the HEVC or AV1 in it; it neither joins the tiles of which phones make a picture, nor
turns it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import av
from av.video.frame import VideoFrame

from deepkd.video.hdr import Color
from deepkd.video.orientation import Orientation

if TYPE_CHECKING:
    from deepkd.images import Image

CODECS = {b"hvc1": ("hevc", b"hvcC"), b"av01": ("libdav1d", b"av1C")}
"""Type of an item -> FFmpeg's decoder, and the property that configures it."""
FULL_BOXES = {b"meta", b"pitm", b"iinf", b"infe", b"iloc", b"iref", b"ispe", b"ipma"}
"""Boxes that begin with a version and flags."""


class Damaged(Exception):
    """The file is cut off, or not as the standard says."""


@dataclass
class _Item:
    kind: bytes = b""
    extents: list[tuple[int, int]] = field(default_factory=list)
    """Where its data lie in the file: (start, length)."""
    is_inside: bool = False
    """Whether they lie in the box `idat` instead."""
    parts: list[int] = field(default_factory=list)
    """The items of which it is made."""
    properties: list[tuple[bytes, bytes]] = field(default_factory=list)
    """(kind, content), in the order in which they are to be applied."""

    def find(self, kind: bytes) -> bytes:
        return next((content for name, content in self.properties if name == kind), b"")


class Heif:
    """The main picture of a file.

    Args:
        data: the file.

    Raises:
        Damaged: it has none that can be found.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._items: dict[int, _Item] = {}
        self._inside = b""
        try:
            boxes = dict(_boxes(data, 0, len(data)))
            meta = dict(_boxes(boxes[b"meta"], 4, len(boxes[b"meta"])))
            self._inside = meta.get(b"idat", b"")
            self._read_kinds(meta[b"iinf"])
            self._read_places(meta[b"iloc"])
            self._read_parts(meta.get(b"iref", bytes(4)))
            self._read_properties(dict(_boxes(meta[b"iprp"], 0, len(meta[b"iprp"]))))
            main = meta[b"pitm"]
            self._main = self._items[int.from_bytes(main[4 : 6 if main[0] == 0 else 8])]
        except (KeyError, IndexError, struct.error) as error:
            raise Damaged from error

    @property
    def size(self) -> tuple[int, int]:
        """Width and height before it is turned, pixels; (0, 0) where they are not declared."""
        return _size(self._main)

    @property
    def is_known(self) -> bool:
        """Whether its codec is one of those in `CODECS`."""
        return self._kind in CODECS

    @property
    def color(self) -> Color:
        """What it says of its colors."""
        return _color(self._first)

    def decode(self) -> Image:
        """The picture, RGB uint8 (H, W, 3), upright.

        Raises:
            Damaged: it cannot be decoded.
        """
        try:
            image = self._join_tiles() if self._main.kind == b"grid" else self._picture(self._main)
        except (av.FFmpegError, KeyError, IndexError, ValueError, struct.error) as error:
            raise Damaged from error
        return _turn(image, self._main)

    @property
    def _first(self) -> _Item:
        """The main picture, or the first of its tiles."""
        is_grid = self._main.kind == b"grid" and self._main.parts
        return self._items.get(self._main.parts[0], self._main) if is_grid else self._main

    @property
    def _kind(self) -> bytes:
        return self._first.kind

    def _content(self, item: _Item) -> bytes:
        source = self._inside if item.is_inside else self._data
        pieces = [
            source[at : at + length] if length else source[at:] for at, length in item.extents
        ]
        return b"".join(pieces)

    def _join_tiles(self) -> Image:
        """The tiles put together (6.6.2.3); they lie within the picture but for the last ones."""
        import numpy as np

        grid = self._content(self._main)
        rows, columns = grid[2] + 1, grid[3] + 1
        width, height = struct.unpack_from(">II" if grid[1] & 1 else ">HH", grid, 4)
        tiles = [self._items[part] for part in self._main.parts]
        tile_width, tile_height = _size(tiles[0])
        fits = (columns - 1) * tile_width < width and (rows - 1) * tile_height < height
        if (width, height) != self.size or len(tiles) != rows * columns or not fits:
            raise Damaged
        image = np.zeros((height, width, 3), np.uint8)
        for place, tile in enumerate(tiles):
            top, left = place // columns * tile_height, place % columns * tile_width
            room = image[top : top + tile_height, left : left + tile_width]
            room[:] = self._picture(tile)[: room.shape[0], : room.shape[1]]
        return image

    def _picture(self, item: _Item) -> Image:
        """What an item holds, decoded, not yet turned."""
        name, configuration = CODECS[item.kind]
        width, height = _size(item)
        codec: Any = av.CodecContext.create(name, "r")
        settings = item.find(configuration)
        # dav1d takes its settings from the stream itself.
        codec.extradata = settings if name == "hevc" else None
        codec.options = {"max_pixels": f"{max(1, 4 * width * height)}"}
        packet = av.Packet(self._content(item))
        pictures: list[VideoFrame] = [*codec.decode(packet), *codec.decode(None)]
        if not pictures or pictures[0].is_corrupt:
            raise Damaged
        picture = pictures[0]
        if color := _nclx(item):
            *_, picture.colorspace, is_full = color
            picture.color_range = 2 if is_full else 1
        image = Orientation(False, 0, 1.0, _color(item)).upright(picture)
        return image[:height, :width]

    def _read_kinds(self, box: bytes) -> None:
        for kind, entry in _boxes(box, 6 if box[0] == 0 else 8, len(box)):
            if kind == b"infe" and entry[0] >= 2:
                wide = 2 * (entry[0] > 2)
                number = int.from_bytes(entry[4 : 6 + wide])
                self._items[number] = _Item(entry[8 + wide : 12 + wide])

    def _read_places(self, box: bytes) -> None:
        version = box[0]
        sizes = [box[4] >> 4, box[4] & 15, box[5] >> 4, box[5] & 15 if version else 0]
        at = 6

        def number(size: int) -> int:
            nonlocal at
            if at + size > len(box):
                raise IndexError
            at += size
            return int.from_bytes(box[at - size : at])

        for _ in range(number(2 if version < 2 else 4)):
            item = self._items.setdefault(number(2 if version < 2 else 4), _Item())
            item.is_inside = version > 0 and number(2) & 15 == 1
            number(2)
            base = number(sizes[2])
            for _ in range(number(2)):
                number(sizes[3])
                item.extents.append((base + number(sizes[0]), number(sizes[1])))

    def _read_parts(self, box: bytes) -> None:
        wide = 2 if box[0] == 0 else 4
        for kind, entry in _boxes(box, 4, len(box)):
            count = int.from_bytes(entry[wide : wide + 2])
            if kind == b"dimg":
                whole, parts = int.from_bytes(entry[:wide]), entry[wide + 2 :][: count * wide]
                self._items[whole].parts = [
                    int.from_bytes(parts[at : at + wide]) for at in range(0, len(parts), wide)
                ]

    def _read_properties(self, boxes: dict[bytes, bytes]) -> None:
        known = list(_boxes(boxes[b"ipco"], 0, len(boxes[b"ipco"])))
        box, at = boxes[b"ipma"], 8
        wide, number_size = 1 + (box[3] & 1), 2 if box[0] == 0 else 4
        for _ in range(int.from_bytes(box[4:8])):
            item = self._items[int.from_bytes(box[at : at + number_size])]
            at += number_size + 1
            for _ in range(box[at - 1]):
                place = int.from_bytes(box[at : at + wide]) & (0x7FFF if wide == 2 else 0x7F)
                item.properties += known[place - 1 : place] if place else []
                at += wide


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    """The boxes in a part of the data: (kind, content with version and flags)."""
    while at + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            size, head = *struct.unpack_from(">Q", data, at + 8), 16
        size = size or end - at
        if size < head:
            return
        if kind != b"mdat":
            yield kind, data[at + head : min(at + size, end)]
        at += size


def _size(item: _Item) -> tuple[int, int]:
    shape = item.find(b"ispe")
    if len(shape) < 12:
        return 0, 0
    width, height = struct.unpack_from(">II", shape, 4)
    return width, height


def _nclx(item: _Item) -> Sequence[int]:
    """Primaries, transfer, matrix and whether the range is full, of ITU-T H.273; or nothing."""
    for kind, content in item.properties:
        if kind == b"colr" and content.startswith(b"nclx") and len(content) >= 11:
            primaries, transfer, matrix = struct.unpack_from(">HHH", content, 4)
            return primaries, transfer, matrix, content[10] >> 7
    return ()


def _color(item: _Item) -> Color:
    found = _nclx(item)
    return Color(found[1], found[0]) if found else Color()


def _turn(image: Image, item: _Item) -> Image:
    """The image turned counter-clockwise (6.5.10) and mirrored (6.5.12), as its item says."""
    import numpy as np

    for kind, content in item.properties:
        if kind == b"irot" and content:
            image = np.rot90(image, content[0] & 3)
        elif kind == b"imir" and content:
            image = image[:, ::-1] if content[0] & 1 else image[::-1]
    return np.ascontiguousarray(image)
