"""The machine that a figure was measured on, and how many cores of it this process may use."""

import os
import platform
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from deepkd import __version__
from deepkd.documents import Document


def cores() -> int:
    """The CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Machine(Document):
    """Where and how figures are measured."""

    cpu: str
    cores: int
    """That this process may use."""
    threads: int
    device: str
    system: str
    python: str
    deepkd: str
    torch: str | None
    """Version; None where it is not installed, as of the other packages."""
    onnxruntime: str | None
    openvino: str | None
    load: float | None
    """Processes that wanted a core in the minute before; None where the system does not say."""


def machine(threads: int) -> Machine:
    """This machine, used with a number of threads."""
    return Machine(
        cpu=cpu(),
        cores=cores(),
        threads=threads,
        device="cpu",
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        deepkd=__version__,
        torch=package_version("torch"),
        onnxruntime=package_version("onnxruntime"),
        openvino=package_version("openvino"),
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    )


def package_version(name: str) -> str | None:
    """The installed version, None when it is not installed."""
    from importlib.metadata import PackageNotFoundError, version  # slow to load

    try:
        return version(name)
    except PackageNotFoundError:
        return None


def cpu() -> str:
    """What the processor is called."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(
            line.partition(":")[2].strip() for line in lines if line.startswith("model name")
        )
    return platform.processor() or platform.machine()
