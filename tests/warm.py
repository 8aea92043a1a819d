"""Commands in processes of their own that begin with the libraries loaded: those alone take
seconds to import."""

import multiprocessing
import os
import runpy
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

LIBRARIES = [
    *("timm", "torchvision.transforms.v2", "onnx", "onnxruntime", "torch.onnx"),
    *("matplotlib.font_manager", "matplotlib.figure", "matplotlib.backends.backend_agg"),
]
"""What the training commands import and is not ours."""
OWN = ["deepkd.cli.app", "deepkd.runs", "deepkd.models.export", "deepkd.distillation.distiller"]
"""Ours, where it imports most."""
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload([*LIBRARIES, *OWN])


def run_deepkd(
    words: Sequence[str],
    folder: Path,
    *,
    environment: Mapping[str, str] | None = None,
    before: Callable[[], None] | None = None,
    timeout_s: float = 300,
) -> CompletedProcess[str]:
    """`python -W error -m deepkd WORDS`, run in `folder`; `before` is called in the process first.

    Raises:
        TimeoutError: it took longer.
    """
    with TemporaryDirectory() as printed:
        out, err = Path(printed, "out"), Path(printed, "err")
        process = _server.Process(
            target=_main, args=([*words], folder, dict(environment or {}), before, out, err)
        )
        process.start()
        process.join(timeout_s)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(
                f"deepkd {' '.join(words)}: no end after {timeout_s} s\n{err.read_text()[-3000:]}"
            )
        code = process.exitcode
        process.close()
        return CompletedProcess([*words], code, out.read_text(), err.read_text())


def time_few_runs() -> None:
    """For `before`: what is timed runs three times."""
    from deepkd.benchmark import latency

    latency.RUNS, latency.WARM_UP = 3, 1


def _main(
    words: list[str],
    folder: Path,
    environment: dict[str, str],
    before: Callable[[], None] | None,
    out: Path,
    err: Path,
) -> None:
    for path, stream in ((out, 1), (err, 2)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, stream)
        os.close(file)
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["deepkd", *words]
    warnings.resetwarnings()
    warnings.simplefilter("error")
    if before:
        before()
    runpy.run_module("deepkd", run_name="__main__", alter_sys=True)
