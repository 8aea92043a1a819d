"""Fixtures for every test: the two public-domain portraits and a factory of small clips."""

import os
import runpy
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

THREADS = 1 if "PYTEST_XDIST_WORKER" in os.environ else 2
"""Of each library: processes that test side by side have a core each, and more threads would wait
for each other."""
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, str(THREADS))
os.environ.setdefault(
    "OMP_WAIT_POLICY", "PASSIVE"
)  # threads that wait leave their core to other processes
if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as for a shell's background jobs, whose children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]  # tests import `media`, and deepkd from the checkout

import cv2  # noqa: E402
import pytest  # noqa: E402
from media import Image, Media, Portrait, portraits  # noqa: E402

cv2.setNumThreads(THREADS)


def pytest_configure(config: pytest.Config) -> None:
    """Keep Matplotlib's list of fonts from run to run: each process would make its own."""
    os.environ.setdefault("MPLCONFIGDIR", str(config.cache.mkdir("matplotlib")))


@pytest.fixture(scope="session")
def astronaut() -> Image:
    """Eileen Collins (NASA): RGB, uint8, (512, 512, 3), one face."""
    return portraits()["astronaut"].image


@pytest.fixture(scope="session")
def grace_hopper() -> Image:
    """Grace Hopper (US Navy): RGB, uint8, (600, 512, 3), one face."""
    return portraits()["grace_hopper"].image


@pytest.fixture(scope="session")
def people() -> dict[str, Portrait]:
    """Both portraits with their face boxes and landmarks, by name."""
    return portraits()


@pytest.fixture
def media(tmp_path: Path) -> Media:
    """A factory of small clips and stills in this test's own folder."""
    return Media(tmp_path)


@pytest.fixture(scope="session")
def shared_media(tmp_path_factory: pytest.TempPathFactory) -> Media:
    """The same factory in one folder for the whole run: make a clip once, read it in many tests."""
    return Media(tmp_path_factory.mktemp("media"))


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """What a script of the project defines, by its path from the root; what lies beside it can be
    imported."""

    def defined(path: str) -> dict[str, Any]:
        file = HERE.parent / path
        monkeypatch.syspath_prepend(file.parent)
        return runpy.run_path(str(file))

    return defined
