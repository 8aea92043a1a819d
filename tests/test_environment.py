"""A broken environment is named: the library, its file, and PYTHONPATH where that leads to it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CLIP = ROOT / "data" / "samples" / "forged.mp4"
BROKEN = {
    "it fails": "raise ImportError('built for another Python')",
    "it has nothing": "",
    "it is no Python": "def :",
    "it raises anything": "1 / 0",
    "it lacks a part": "import numpy._gone",
}


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-m", "deepkd", *words],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def break_library(folder: Path, name: str, code: str) -> Path:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(code)
    return folder / name / "__init__.py"


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_library_on_pythonpath_is_named(name: str, tmp_path: Path) -> None:
    file = break_library(tmp_path, "numpy", BROKEN[name])
    done = run(tmp_path, "detect", str(CLIP))
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1 and line.startswith("error: a library cannot be loaded or fails (")
    assert line.endswith(
        f"; it was imported from {file}, as PYTHONPATH is set and has {tmp_path}:"
        " unset PYTHONPATH, or take that folder out of it"
    )


@pytest.mark.parametrize("library", ["typer", "onnxruntime", "av"])
def test_whatever_library_it_is(library: str, tmp_path: Path) -> None:
    file = break_library(tmp_path, library, "")
    done = run(tmp_path, "detect", str(CLIP))
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"it was imported from {file}, as PYTHONPATH is set" in done.stderr


def test_doctor_names_it_too(tmp_path: Path) -> None:
    file = break_library(tmp_path, "numpy", "__version__ = '0.1'")
    broken = break_library(tmp_path, "onnxruntime", "raise ImportError('no')")
    done = run(tmp_path, "doctor", "--format", "json")
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    led = f"; it was imported from {{}}, as PYTHONPATH is set and has {tmp_path}"
    assert checks["numpy"]["detail"] == "0.1" + led.format(file)
    assert not checks["onnxruntime"]["ok"]
    assert led.format(broken) in checks["onnxruntime"]["detail"]
    assert led.format(file) in checks["find a face"]["detail"]
