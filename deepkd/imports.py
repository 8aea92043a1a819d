"""Imports: no module comes from the folder that is worked in, where a stranger's files may lie.

This module imports nothing that Python has not loaded before it runs a program.
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
    """Import nothing from the working folder, in this process and in those that it starts.

    `python -m deepkd` begins with that folder in `sys.path`. It stays there where it holds deepkd
    itself, or where PYTHONPATH names it. Only the first call counts.
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
