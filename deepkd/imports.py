"""Imports: no module comes from the working folder, which may hold files of strangers.

This module imports only modules that Python loads at its start.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

SWITCH = "PYTHONSAFEPATH"
"""Environment variable that keeps the working folder out of a new Python's `sys.path`."""
HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
"""The folder that holds the package deepkd."""
_left: list[bool] = []


def leave_working_folder() -> None:
    """Import nothing from the working folder, in this process and those that it starts.

    `python -m deepkd` starts with that folder in `sys.path`. The folder stays there if it holds
    deepkd, or if PYTHONPATH names it. Only the first call has an effect.
    """
    if _left:
        return
    _left.append(True)
    os.environ[SWITCH] = "1"
    try:
        here = os.getcwd()
    except OSError:  # it was removed
        return
    first = "" if sys.flags.safe_path or not sys.path else os.path.abspath(sys.path[0])
    if os.path.realpath(first or HOME) == here != os.path.realpath(HOME):
        del sys.path[0]


def is_installed(name: str) -> bool:
    """Whether a module of this name can be found; it is not imported."""
    import importlib.util

    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # None stands in its place
        return False


def start_safely(process: "BaseProcess") -> None:
    """Start a process that imports nothing from the working folder."""
    before = os.environ.get(SWITCH)
    os.environ[SWITCH] = "1"
    try:
        process.start()
    finally:
        if before is None:
            del os.environ[SWITCH]
        else:
            os.environ[SWITCH] = before
