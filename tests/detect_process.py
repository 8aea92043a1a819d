"""`deepkd detect` in a process of its own, for tests that send it signals or cut its streams."""

import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def start_detect(
    *arguments: str, code: str = "from deepkd.cli.app import main; main()", **options: Any
) -> "subprocess.Popen[str]":
    """Start it; `options` are those of `Popen`."""
    # Under nohup the tests ignore SIGHUP, and so would what they start.
    hangs_up = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
    words = [sys.executable, "-c", hangs_up + code, "detect", *arguments]
    return subprocess.Popen(
        words, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )
