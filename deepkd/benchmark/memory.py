"""The peak memory of a model in its own process, given RUNTIME SOURCE SIZE THREADS.

It prints megabytes, or nothing where they are not known. The process imports what the runtime
needs, opens the model and scores single crops, as an analyst's process would; nothing of the
program that asks is counted.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from deepkd.errors import ModelError

CROPS = 3
"""Crops scored one by one: the second call is where runtimes settle."""
START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from deepkd.benchmark.memory import main; main(*sys.argv[1:])"
)
"""What the process runs: it imports from where the one that asks does, whatever lies in the folder
it is started in."""


def peak_rss_mb(runtime: str, source: str, *, size: int, threads: int) -> float | None:
    """Peak resident memory, MB (1e6 bytes), of a fresh process that opens a model and scores crops.

    None where the system has no way to say it (Windows).

    Args:
        runtime: `torch`, or one of `RUNTIMES`.
        source: path of the model, or a name of the registry (torch only).
        size: side of the model's input, pixels.
        threads: of the runtime.

    Raises:
        ModelError: the process failed.
    """
    places = json.dumps([str(place) for place in sys.path])
    command = [sys.executable, "-P", "-c", START, places, runtime, source, str(size), str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ModelError(f"{source}: its memory could not be measured ({last})")
    return float(done.stdout) if done.stdout.strip() else None


def main(runtime: str, source: str, size: str, threads: str) -> None:
    """Score some crops and print this process's peak memory, MB, or an empty line."""
    _score_some(runtime, source, int(size), int(threads))
    print(_own_peak_mb() or "")


def _score_some(runtime: str, source: str, size: int, threads: int) -> None:
    crop = np.zeros((size, size, 3), np.uint8)
    if runtime == "torch":
        import torch

        from deepkd.benchmark.candidates import open_model
        from deepkd.scoring.model import raw_logits

        torch.set_num_threads(threads)
        model = open_model(source, threads=threads)
        for _ in range(CROPS):
            raw_logits(model, [crop])
        return
    from deepkd.settings.choices import RUNTIMES

    chosen = RUNTIMES.load(runtime)(Path(source).read_bytes(), threads)
    for _ in range(CROPS):
        chosen.run(["logit"], crop[None])


def _own_peak_mb() -> float | None:
    """This process's own peak, None where nothing measures it.

    `getrusage` would count the parent's memory from before the program was loaded.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(
            line
            for line in status.read_text(encoding="utf-8").splitlines()
            if line.startswith("VmHWM:")
        )
        return int(line.split()[1]) * 1024 / 1e6
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
