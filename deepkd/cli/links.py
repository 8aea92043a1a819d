"""Links among the inputs of `deepkd detect`: what must be so before any of them is fetched."""

from collections.abc import Sequence
from pathlib import Path

from deepkd.errors import UsageError
from deepkd.outputs import check_folder


def check_links(names: Sequence[str], keep: str | None, video: Path | None) -> None:
    """Make sure that what is fetched can be kept, where that is needed.

    Args:
        names: the inputs as given.
        keep: the folder for fetched clips.
        video: the file of `--save-video`.

    Raises:
        UsageError: a clip is to be drawn into that is deleted before.
        OutputError: the folder cannot be written to.
    """
    from deepkd.video.sources import is_link

    if not any(map(is_link, names)):
        return
    if video and not keep:
        raise UsageError(
            "--save-video needs the clip, and one from a link is deleted; add --keep DIR"
        )
    if keep:
        check_folder(Path(keep))
