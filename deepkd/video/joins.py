"""Joins: where the times of a stream begin anew, since files were joined end to end."""

from collections.abc import Iterable, Iterator
from fractions import Fraction

from av.packet import Packet
from av.video.stream import VideoStream

RESTARTING = {"mpegts", "mpeg"}
"""Containers that can be joined end to end, as recorders and discs do, so that their times begin
anew in the middle."""

RESTART_S = 0.5
"""How far decoding times fall back at least where they begin anew."""


class Joins:
    """Lets the times of a stream go on where they begin anew."""

    def __init__(self, tick: Fraction | None) -> None:
        """Begin without a join.

        Args:
            tick: length of a tick, seconds.
        """
        self.shift = 0
        """What is added to the times that come, ticks; 0 before the first join."""
        self._width = RESTART_S / float(tick or 1)

    def go_on(self, packets: Iterable["Packet[VideoStream]"]) -> Iterator["Packet[VideoStream]"]:
        """The packets, with times that go on from those before."""
        before, last, end = None, None, 0
        for packet in packets:
            stamp = packet.dts
            if stamp is not None:
                # A fall to where the times were before the last one ends an outlier, a damaged
                # stamp.
                if (
                    last is not None
                    and stamp < last - self._width
                    and (before is None or abs(stamp - before) > self._width)
                ):
                    self.shift += end - stamp
                before, last, end = last, stamp, stamp + (packet.duration or 0)
            if self.shift:
                packet.dts = None if stamp is None else stamp + self.shift
                packet.pts = None if packet.pts is None else packet.pts + self.shift
            yield packet
