"""Interlaced H.264 whose fields are pictures of their own, which no encoder at hand writes."""

from fractions import Fraction
from pathlib import Path

import av

WIDTH_MB, FIELD_HEIGHT_MB = 6, 2
"""Macroblocks of 16 x 16 pixels: frames of 96 x 64 pixels in fields of 96 x 32."""
CLOCK = 90_000
"""Ticks per second of the files' time base."""


class _Bits:
    """What an H.264 syntax structure is written to, bit by bit."""

    def __init__(self) -> None:
        self.text = ""

    def u(self, value: int, bits: int) -> "_Bits":
        self.text += f"{value:0{bits}b}"
        return self

    def ue(self, *values: int) -> "_Bits":
        """Exponential Golomb codes (ITU-T H.264, 9.1)."""
        for value in values:
            code = f"{value + 1:b}"
            self.text += "0" * (len(code) - 1) + code
        return self

    def unit(self, head: int) -> bytes:
        """The NAL unit that begins with a byte (7.3.1), with its start code."""
        text = self.text + "1"
        text += "0" * (-len(text) % 8)
        data, zeros = bytearray(), 0
        for byte in int(text, 2).to_bytes(len(text) // 8):
            if zeros == 2 and byte <= 3:
                data.append(3)
                zeros = 0
            data.append(byte)
            zeros = zeros + 1 if byte == 0 else 0
        return b"\0\0\0\1" + bytes([head]) + bytes(data)


def _parameters() -> bytes:
    """A sequence of interlaced frames, main profile (7.3.2.1.1), and a picture (7.3.2.2)."""
    sequence = _Bits().u(77, 8).u(0, 8).u(30, 8).ue(0, 0, 2, 1).u(0, 1)
    sequence.ue(WIDTH_MB - 1, FIELD_HEIGHT_MB - 1).u(0b00100, 5)
    picture = _Bits().ue(0, 0).u(0, 2).ue(0, 0, 0).u(0, 3).ue(0, 0, 0).u(0, 3)
    return sequence.unit(0x67) + picture.unit(0x68)


def _field(number: int, luma: int, *, is_bottom: bool) -> bytes:
    """An intra field of one grey, its samples as they are (I_PCM; 7.3.3 and 7.3.5)."""
    bits = _Bits().ue(0, 7, 0).u(0, 4).u(1, 1).u(is_bottom, 1)
    if not is_bottom:
        bits.ue(number % 2)
    bits.u(0, 2 - is_bottom).ue(0)
    for _ in range(WIDTH_MB * FIELD_HEIGHT_MB):
        bits.ue(25)
        bits.text += "0" * (-len(bits.text) % 8) + f"{luma:08b}" * 256 + f"{128:08b}" * 128
    return bits.unit(0x61 if is_bottom else 0x65)


def write_fields(path: Path, *, seconds: float, fps: Fraction, is_split: bool = False) -> Path:
    """A clip of field pictures, each frame intra; `is_split` gives each field its own packet."""
    raw = path.with_suffix(".h264")
    fields = [
        _field(number, 16 + number, is_bottom=is_bottom)
        for number in range(round(seconds * fps))
        for is_bottom in (False, True)
    ]
    parts = fields if is_split else [a + b for a, b in zip(fields[::2], fields[1::2], strict=True)]
    raw.write_bytes(_parameters() + b"".join(fields))
    with (
        av.open(str(raw), options={"framerate": str(fps)}) as source,
        av.open(str(path), "w") as container,
    ):
        stream = container.add_stream_from_template(source.streams.video[0])
        for number, part in enumerate(parts):
            packet = av.Packet(_parameters() + part if number % (1 + is_split) == 0 else part)
            packet.stream, packet.time_base = stream, Fraction(1, CLOCK)
            packet.pts = packet.dts = round(number / (fps * (1 + is_split)) * CLOCK)
            packet.duration = round(CLOCK / (fps * (1 + is_split)))
            packet.is_keyframe = number % (1 + is_split) == 0
            container.mux(packet)
    return path
