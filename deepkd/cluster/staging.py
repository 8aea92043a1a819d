"""Staging: parts for a store, written on this machine and uploaded whole."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from deepkd.cluster.parts import NAME, PartFiles
from deepkd.errors import OutputError, UsageError
from deepkd.outputs import check_folder, scratch
from deepkd.shards import Shard
from deepkd.stores import download, is_stored, is_there, join_url, list_objects, upload


def list_shards(out: str) -> list[Shard]:
    """The shards whose parts a folder or a prefix holds."""
    if not is_stored(out):
        return [files.shard for files in PartFiles.find(Path(out))]
    names = sorted(found.url.rpartition("/")[2] for found in list_objects(out))
    return [Shard(*map(int, match.groups())) for name in names if (match := NAME.fullmatch(name))]


def claim_parts(out: str, *, resume: bool, overwrite: bool) -> list[Shard]:
    """Make sure, before any work, that parts can be written.

    Returns:
        The shards of the parts that are there.

    Raises:
        UsageError: both flags at once.
        OutputError: there are parts and neither flag is given, or it cannot be written to.
    """
    if resume and overwrite:
        raise UsageError("--resume and --overwrite contradict; give one of them")
    if not is_stored(out):
        check_folder(Path(out))
    found = list_shards(out)
    if found and not (resume or overwrite):
        _refuse(out, PartFiles(Path(), found[0]).lines.name)
    return found


def _refuse(out: str, name: str) -> None:
    raise OutputError(
        f"{out}: holds {name} already; add --resume to judge what is missing, or --overwrite to"
        " judge everything again"
    )


@contextmanager
def stage_part(
    out: str, shard: Shard, *, resume: bool, overwrite: bool = False
) -> Iterator[PartFiles]:
    """Where the part of a shard is written: in the folder itself, or on this machine for a store.

    After the block a finished part is uploaded, its lines last: a part in a store is whole or
    absent. One that is not finished is dropped.

    Args:
        out: the folder, or the prefix in a store.
        shard: whose part it is.
        resume: go on with the part that is there.
        overwrite: begin it anew.

    Raises:
        UsageError: both flags at once.
        OutputError: there is such a part and neither flag; or it cannot be written.
        InputError: the store cannot be reached or refuses.
    """
    if not is_stored(out):
        files = PartFiles(Path(out), shard)
        files.check(resume=resume, overwrite=overwrite)
        yield files
        return
    with scratch() as folder:
        files = PartFiles(folder, shard)
        files.check(resume=resume, overwrite=overwrite)
        if not overwrite and is_there(join_url(out, files.lines.name)):
            if not resume:
                _refuse(out, files.lines.name)
            _fetch(out, files)
        before = _state(files)
        try:
            yield files
        finally:
            if files.is_finished() and _state(files) != before:
                for path in (files.settings, files.journal, files.lines):
                    upload(path, join_url(out, path.name))


def _fetch(out: str, files: PartFiles) -> None:
    for path in (files.settings, files.journal, files.lines):
        download(join_url(out, path.name), path)


def _state(files: PartFiles) -> tuple[bytes, bytes]:
    """The lines of the journal and of the part, without what says that it is finished."""
    if not files.journal.exists():
        return b"", b""
    kept = [line for line in files.journal.read_bytes().splitlines() if b"finished" not in line]
    return b"\n".join(kept), files.lines.read_bytes()


@contextmanager
def fetch_parts(folders: Iterable[str]) -> Iterator[list[Path]]:
    """The folders; parts in stores are fetched to temporary ones, removed after the block.

    Raises:
        InputError: a store cannot be reached or refuses.
    """
    with ExitStack() as stack:
        found = []
        for name in folders:
            if is_stored(name):
                folder = stack.enter_context(scratch())
                for shard in list_shards(name):
                    _fetch(name, PartFiles(folder, shard))
                found.append(folder)
            else:
                found.append(Path(name))
        yield found
