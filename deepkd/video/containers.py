"""Containers: files opened as FFmpeg may read them, and which of their streams a player shows."""

from pathlib import Path
from typing import Any, BinaryIO, Protocol

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from deepkd.errors import VideoError

CONTAINERS = (
    "mov,matroska,webm,avi,asf,flv,gif,ivf,mpeg,mpegts,mxf,nut,ogg,rm,wtv,h264,hevc,m4v,mpegvideo,obu,yuv4mpegpipe,"
    "aac,ac3,aiff,amr,flac,mp3,wav"
)
"""FFmpeg's names of what may be opened: videos, and sound so as to name it. Playlists, scripts and
stream descriptions are not among them, so no file can make FFmpeg open another one, or the
network."""

PICTURES = {b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis"}
"""What HEIF and AVIF pictures call themselves, whose files begin as MP4s do."""


class _Sized(Protocol):
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...


def check_size(path: Path, picture: _Sized, max_pixels: int) -> None:
    """Refuse pictures of more than `max_pixels` pixels.

    Raises:
        VideoError: it is one.
    """
    if picture.width * picture.height > max_pixels:
        size = f"{picture.width}x{picture.height} px"
        raise VideoError(
            f"{path}: frames of {size} exceed the limit of {max_pixels} px; scale the video down"
            " first"
        )


def open_container(path: Path, file: BinaryIO, max_pixels: int) -> InputContainer:
    """A file as FFmpeg may read it: known containers only, and nothing that a file refers to.

    Raises:
        VideoError: it is none of them.
    """
    try:
        container: InputContainer = av.open(
            file,
            "r",
            options={"max_pixels": str(max_pixels)},
            container_options={"format_whitelist": CONTAINERS, "protocol_whitelist": ""},
            metadata_errors="replace",
            io_open=_refuse,
        )
        return container
    except (av.FFmpegError, OSError, ValueError) as error:
        file.seek(4)
        if file.read(4) == b"ftyp" and file.read(4) not in PICTURES:
            raise VideoError(
                f"{path}: is an MP4 that was cut off before its index, or damaged; get it anew"
            ) from error
        what = (
            "not a video or image"
            if isinstance(error, av.ArgumentError)
            else "damaged, or not a video or image"
        )
        raise VideoError(
            f"{path}: is {what} that can be read; give e.g. MP4, MKV, WebM, JPEG or PNG"
        ) from error


def _refuse(url: str, flags: int, options: dict[str, str]) -> None:
    raise PermissionError(f"the file refers to another one: {url}")


def video_streams(path: Path, container: InputContainer) -> list[VideoStream]:
    """The video streams with a known codec, without cover pictures; the default one first.

    That is the one marked as the default, else the largest, as FFmpeg chooses. A stream that holds
    one frame is the title picture of another, as in an animated AVIF, and comes last.

    Raises:
        VideoError: there is none.
    """
    moving = [stream for stream in container.streams.video if _is_moving(stream)]
    if not moving:
        names = ", ".join(f"{stream.type} ({_codec(stream)})" for stream in container.streams)
        raise VideoError(
            f"{path}: has no video that can be decoded; its streams are: {names or 'none'}"
        )
    return sorted(
        moving,
        key=lambda one: (
            one.frames == 1,
            not one.disposition & Disposition.default,
            -one.width * one.height,
        ),
    )


def has_sound(container: InputContainer) -> bool:
    """Whether there is a sound stream with a known codec."""
    return any(_codec(stream) != "unknown codec" for stream in container.streams.audio)


def _is_moving(stream: VideoStream) -> bool:
    return _codec(stream) != "unknown codec" and not stream.disposition & Disposition.attached_pic


def _codec(stream: Any) -> str:
    return stream.codec_context.name if stream.codec_context else "unknown codec"
