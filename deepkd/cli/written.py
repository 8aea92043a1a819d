"""The files that `deepkd detect` writes, checked before any work is done."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from deepkd.errors import UsageError, VideoError
from deepkd.outputs import check_outputs, file_id, refuse_inputs_as_outputs
from deepkd.stores import is_stored

if TYPE_CHECKING:
    from deepkd.video.sources import Source


def keep_inputs(inputs: Iterable["Source"], outputs: Sequence[Path]) -> Iterator["Source"]:
    """The inputs, as long as no output would replace one of them, under whatever name.

    Raises:
        OutputError: an output is the input that is next.
    """
    existing = [file for file in outputs if file_id(file)]
    for source in inputs:
        if existing:
            refuse_inputs_as_outputs(existing, [source.path])
        yield source


def check_written(
    report: Path | None, video: Path | None, inputs: Iterable["Source"], *, overwrite: bool
) -> None:
    """Refuse what cannot be written before any work is done."""
    from deepkd.report import report_name

    if report:
        report_name(report)
        check_outputs([report], overwrite=overwrite)
    if video:
        _check_video(video, list(inputs), overwrite=overwrite)


def _check_video(video: Path, inputs: Sequence["Source"], *, overwrite: bool) -> None:
    """Refuse --save-video for anything but one video."""
    from deepkd.video.stills import check_file, still_kind

    if len(inputs) != 1:
        raise UsageError(
            f"--save-video takes one input, not {len(inputs)}; run deepkd once for each clip"
        )
    if video.suffix.lower() != ".webm":
        raise UsageError(f"--save-video {video}: writes WebM; give a name that ends in .webm")
    check_outputs(files=[video], overwrite=overwrite)
    path = inputs[0].path
    if is_stored(path):
        raise UsageError(f"--save-video {video}: takes a file; download {path} first")
    with suppress(VideoError):  # which the verdict reports
        if still_kind(check_file(path)):
            raise UsageError(
                f"--save-video takes a video, and {path} is a still image; --report shows it"
            )
