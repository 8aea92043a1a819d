"""Links among the inputs of `deepkd detect`: what must be so before any of them is fetched."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deepkd.errors import UsageError
from deepkd.outputs import check_folder

if TYPE_CHECKING:
    from deepkd.video.sources import Source


def check_links(
    names: Sequence[str], inputs: Iterable["Source"], keep: str | None, video: Path | None
) -> None:
    """Make sure that what is fetched can be kept, where that is needed.

    Args:
        names: the inputs as given.
        inputs: what they stand for; looked at only where they are a list.
        keep: the folder for fetched clips.
        video: the file of `--save-video`.

    Raises:
        UsageError: a clip is to be drawn into that is deleted before.
        OutputError: the folder cannot be written to.
    """
    from deepkd.video.sources import STDIN, is_link

    if video and not keep and isinstance(inputs, list) and any(each.link for each in inputs):
        raise UsageError(
            "--save-video needs the clip, and one from a link is deleted; add --keep DIR"
        )
    if keep and (STDIN in names or any(map(is_link, names))):
        check_folder(Path(keep))
