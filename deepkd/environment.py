"""Environment: which library fails, from which file, and whether PYTHONPATH led to it."""

import os
import sys
from collections.abc import Iterator
from types import ModuleType

from deepkd.imports import HOME

EXTRAS = dict.fromkeys(("anyio", "python_multipart", "starlette", "uvicorn"), "serve")
"""Module -> the extra that installs it; `train` installs the others."""


def explain_failure(error: BaseException) -> str | None:
    """What to do about a library that cannot be loaded or used; None for any other error.

    The message names the imported file, and PYTHONPATH if that led to it.
    """
    found = next(filter(origin, _files(error)), "")
    owner = getattr(error, "obj", None)
    if isinstance(error, ModuleNotFoundError) and not found:
        if _is_own(error.name):
            return None
        extra = EXTRAS.get((error.name or "").partition(".")[0], "train")
        return (
            f"this command needs {error.name}, which is not installed; pip install"
            f" 'deepkd[{extra}]'"
        )
    said = f"a library cannot be loaded or fails ({error})"
    if found:
        return f"{said}; {origin(found)}: unset PYTHONPATH, or take that folder out of it"
    again = "install it again, and see 'deepkd doctor'"
    if isinstance(error, AttributeError) and isinstance(owner, ModuleType):
        return None if _is_own(owner.__name__) else f"{said}; it is {owner.__file__}: {again}"
    if not isinstance(error, ImportError | OSError) or _is_own(getattr(error, "name", None)):
        return None
    path = getattr(error, "path", None)
    return f"{said}; it is {path}: {again}" if path else f"{said}; {again}"


def origin(file: str) -> str:
    """A clause that says that PYTHONPATH leads to this file; empty if not, or for deepkd's own."""
    place = os.path.realpath(file)
    if not file or place.startswith(_inside(os.path.join(HOME, "deepkd"))):
        return ""
    folders = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    folder = next((folder for folder in folders if place.startswith(_inside(folder))), "")
    return f"it was imported from {file}, as PYTHONPATH is set and has {folder}" if folder else ""


def _inside(folder: str) -> str:
    return os.path.join(os.path.realpath(folder), "")


def _is_own(module: str | None) -> bool:
    return (module or "").partition(".")[0] == "deepkd"


def _files(error: BaseException) -> Iterator[str]:
    """The files that an error may come from, the likeliest first."""
    owner = getattr(error, "obj", None)
    if isinstance(owner, ModuleType):
        yield owner.__file__ or ""
    if isinstance(error, SyntaxError):
        yield error.filename or ""
    if isinstance(error, ImportError):
        yield error.path or ""
        above = sys.modules.get((error.name or "").partition(".")[0])
        yield getattr(above, "__file__", None) or ""
    imported, step = [], error.__traceback__
    while step:
        code, step = step.tb_frame.f_code, step.tb_next
        if code.co_name == "<module>":
            imported.append(code.co_filename)
    yield from reversed(imported)
