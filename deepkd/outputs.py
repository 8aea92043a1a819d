"""Outputs: checked before the work, and whole or absent after it."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deepkd.errors import OutputError, UsageError

_EXISTS = "exists already; choose another name or add --overwrite"
_new: set[str] = set()
"""Absolute paths of checked outputs that must not exist until they are written."""


def check_outputs(
    results: Iterable[Path | None] = (),
    *,
    files: Iterable[Path | None] = (),
    folders: Iterable[Path | None] = (),
    inputs: Iterable[Path] = (),
    overwrite: bool = False,
) -> None:
    """Make sure, before any work, that everything a command writes can be written.

    An output that is None is left out.

    Args:
        results: files that get their settings beside them.
        files: files without settings.
        folders: folders that files are written to; they are made if they are missing.
        inputs: files that are only read.
        overwrite: existing files may be replaced.

    Raises:
        OutputError: a file exists and `overwrite` is not set, cannot be written, or is an input.
    """
    wanted = [file for file in results if file]
    written = [each for file in wanted for each in (file, settings_beside(file))]
    written += [file for file in files if file]
    for file in written:
        check_output(file, overwrite=overwrite)
    for folder in folders:
        if folder:
            check_folder(folder)
    refuse_inputs_as_outputs(written, inputs)


def check_output(path: Path, *, overwrite: bool = False) -> None:
    """Make sure that `path` can be written; its folder is made if it is missing.

    If another process writes the file before `write_whole` does, `write_whole` refuses it, too.

    Raises:
        OutputError: it exists and `overwrite` is not set, it is a folder, or its folder cannot be
            written to.
    """
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; name a file in it")
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: {_EXISTS}")
    check_folder(path.parent)
    (_new.discard if overwrite else _new.add)(os.path.abspath(path))


def check_ending(path: Path, *endings: str, option: str = "--out") -> None:
    """Make sure that the name of a file has one of these endings.

    Raises:
        UsageError: it has none of them.
    """
    if path.suffix not in endings:
        raise UsageError(
            f"{path}: what is written ends in {' or '.join(endings)}; give {option} such a name"
        )


def refuse_inputs_as_outputs(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Make sure that no output is an input, also by another name.

    Raises:
        OutputError: an output is an input.
    """
    read = {id for file in inputs if (id := file_id(file))}
    for file in outputs:
        if file_id(file) in read:
            raise OutputError(
                f"{file}: is one of the inputs, which are only read; choose another name"
            )


def file_id(path: Path) -> tuple[int, int] | None:
    """The device and inode of a file, the same for all its names; None without a file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def check_folder(folder: Path) -> None:
    """Make sure that files can be written to `folder`; it is made if it is missing.

    Raises:
        OutputError: it is no folder, or cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be made ({error.strerror}); choose another folder"
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(
            f"{folder}: cannot be written to; choose another folder or change its permissions"
        )


def remove(folder: Path, names: Iterable[str]) -> None:
    """Remove files and folders with these names; a link is removed, not its target.

    Raises:
        OutputError: one of them cannot be removed.
    """
    try:
        for path in (folder / name for name in names):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(
            f"{folder}: cannot be replaced ({reason}); choose another folder"
        ) from error


def settings_beside(result: Path) -> Path:
    """The file with the settings of a result: `r.html.config.json` for `r.html`."""
    return result.with_name(f"{result.name}.config.json")


@contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, which is renamed to `path` when the block succeeds.

    Raises:
        OutputError: it cannot be written, or another process has made the file since
            `check_output`.
    """
    is_new = os.path.abspath(path) in _new
    _new.discard(os.path.abspath(path))
    # A longer name could be too long for the file system.
    short = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]
    beside = path.with_name(f".{short}.{os.getpid()}.part{path.suffix}")
    try:
        try:
            yield beside
            _publish(beside, path, is_new=is_new)
        finally:
            beside.unlink(missing_ok=True)
    except BrokenPipeError:
        raise  # about standard output, not the file
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error


def _publish(beside: Path, path: Path, *, is_new: bool) -> None:
    """Rename a finished file to its path; if it must be new, replace no other file."""
    if not is_new:
        os.replace(beside, path)
        return
    try:
        try:
            os.link(beside, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without links: an empty file keeps the name
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            os.replace(beside, path)
    except FileExistsError as error:
        raise OutputError(f"{path}: {_EXISTS}") from error


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other runs out of an output folder, which is made if it is missing.

    Raises:
        OutputError: another run writes to it, or it cannot be made or written to.
    """
    check_folder(folder)
    handle = None if os.name == "nt" else os.open(folder, os.O_RDONLY)
    try:
        if handle is not None and not lock(handle):
            raise OutputError(
                f"{folder}: another run is writing to this folder; wait, or choose another"
            )
        yield
    finally:
        if handle is not None:
            os.close(handle)


def lock(handle: int) -> bool:
    """Lock an open file or folder until it is closed; False if another process has the lock.

    On a system without locks the result is True.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder, removed after the block.

    Raises:
        OutputError: it cannot be made, or a file in it cannot be written.
    """
    folder = ""
    try:
        with tempfile.TemporaryDirectory(prefix="deepkd-") as folder:
            yield Path(folder)
    except OSError as error:
        if isinstance(error, BrokenPipeError) or (
            error.filename and not str(error.filename).startswith(folder)
        ):
            raise  # not about a file in this folder
        reason = error.strerror or error
        raise OutputError(
            f"temporary files cannot be written ({reason}); make room for them, or name another"
            " folder in TMPDIR"
        ) from error
