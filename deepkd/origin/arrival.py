"""Arrival: an input as a file on this machine, with what is known of where it comes from."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepkd.origin.origin import Origin
from deepkd.settings.detect import DetectConfig


@contextmanager
def fetch_input(
    path: Path, link: str, config: DetectConfig
) -> Iterator[tuple[Path, Origin | None]]:
    """The file of an input: itself, or what is behind its link until the block ends.

    Args:
        path: the file, or how its link is shown.
        link: where to fetch it from; "" for a file.
        config: the limits for links, and whether to keep what is fetched.

    Raises:
        VideoError: it cannot be fetched.
        OutputError: it cannot be kept.
    """
    if not link:
        yield path, None
        return
    from deepkd.origin.links import Limits, fetch_link

    limits = Limits(config.fetch_mb, config.fetch_timeout_s, config.allow_private or "")
    keep = Path(config.keep) if config.keep else None
    with fetch_link(link, path, limits, keep=keep) as (file, origin):
        yield file, origin
