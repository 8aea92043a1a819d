"""TIFF: how large the pictures of a file are, before it is decoded (TIFF 6.0; BigTIFF)."""

import struct
from contextlib import suppress
from dataclasses import dataclass

SUBTYPE, WIDTH, HEIGHT = 254, 256, 257
"""Tags of a picture: what it is for, and its sides in pixels."""
REDUCED = 1
"""The bit of the subtype that marks a small copy of another picture."""
MAX_PAGES = 1024
"""Pictures that are looked at, at most."""
BIG = 43
"""The number of a BigTIFF, whose places take eight bytes each."""


@dataclass(frozen=True)
class Page:
    """One picture of a file."""

    width: int
    height: int
    is_reduced: bool
    """Whether it is a small copy of another picture, as cameras put before a raw one."""


def tiff_pages(data: bytes) -> list[Page]:
    """The pictures that a file declares, up to where its header is damaged."""
    order = "<" if data.startswith(b"II") else ">"
    pages: list[Page] = []
    with suppress(struct.error):  # the header ends in the middle: what it declared before counts
        is_big = struct.unpack_from(order + "H", data, 2)[0] == BIG
        start, count, entry = (8, "Q", "HHQQ") if is_big else (4, "H", "HHII")
        place = "Q" if is_big else "I"
        (at,) = struct.unpack_from(order + place, data, start)
        while at and len(pages) < MAX_PAGES:
            (number,) = struct.unpack_from(order + count, data, at)
            at += struct.calcsize(order + count)
            size, tags = struct.calcsize(order + entry), {}
            for index in range(number):
                tag, kind, _, _ = struct.unpack_from(order + entry, data, at + index * size)
                value = at + (index + 1) * size - struct.calcsize(order + place)
                if tag in (SUBTYPE, WIDTH, HEIGHT):
                    (tags[tag],) = struct.unpack_from(
                        order + {3: "H", 16: "Q"}.get(kind, "I"), data, value
                    )
            pages.append(
                Page(tags.get(WIDTH, 0), tags.get(HEIGHT, 0), bool(tags.get(SUBTYPE, 0) & REDUCED))
            )
            (at,) = struct.unpack_from(order + place, data, at + number * size)
    return pages
