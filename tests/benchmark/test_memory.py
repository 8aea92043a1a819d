"""Peak memory of the process that opens the model, or an error, or nothing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from scorer_factory import SIDE, write_scorer

from deepkd.benchmark import memory
from deepkd.benchmark.memory import peak_rss_mb
from deepkd.errors import ModelError
from deepkd.tables.benchmark import COLUMNS

ROOT = Path(__file__).resolve().parents[2]


def test_memory_of_the_asking_process_does_not_count(tmp_path):
    path = write_scorer(tmp_path / "green.onnx")
    code = (
        "import numpy as np; from deepkd.benchmark.memory import peak_rss_mb;"
        "weight = np.ones(60_000_000);"  # 480 MB
        f"print(peak_rss_mb('onnxruntime', {str(path)!r}, size={SIDE}, threads=1))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 10 < float(done.stdout) < 400


def test_memory_is_measured_in_a_folder_with_modules_of_pythons_names(tmp_path, monkeypatch):
    path = write_scorer(tmp_path / "green.onnx")
    for name in ("types", "random", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not yours')")
    monkeypatch.chdir(tmp_path)
    assert peak_rss_mb("onnxruntime", path.name, size=SIDE, threads=1)


def test_memory_is_measured_by_the_code_that_asks(tmp_path):
    shutil.copytree(
        ROOT / "deepkd", tmp_path / "deepkd", ignore=shutil.ignore_patterns("__pycache__")
    )
    with (tmp_path / "deepkd" / "benchmark" / "memory.py").open("a") as file:
        file.write("\n\ndef _own_peak_mb():\n    return 7.5\n")
    path = write_scorer(tmp_path / "green.onnx")
    code = (
        "from deepkd.benchmark.memory import peak_rss_mb;"
        f"print(peak_rss_mb('onnxruntime', {str(path)!r}, size={SIDE}, threads=1))"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
    )
    assert done.stdout == "7.5\n", "a checkout that is not installed"


def test_memory_of_one_runtime_holds_no_session_of_another(tmp_path):
    pytest.importorskip("openvino")
    path = write_scorer(tmp_path / "green.onnx")
    code = (
        "import sys; sys.modules['onnxruntime'] = None; from deepkd.benchmark.memory import"
        f" _score_some;_score_some('openvino', {str(path)!r}, {SIDE}, 1); print('scored')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "scored\n"


def test_memory_that_cannot_be_measured_is_an_error(tmp_path):
    with pytest.raises(ModelError, match=r"none\.onnx: its memory could not be measured"):
        peak_rss_mb("onnxruntime", str(tmp_path / "none.onnx"), size=SIDE, threads=1)


def test_memory_is_unknown_where_the_system_has_no_measure(monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "is_file", lambda _: False)
    monkeypatch.setitem(sys.modules, "resource", None)
    assert memory._own_peak_mb() is None
    silent = subprocess.CompletedProcess([], 0, stdout="\n", stderr="")
    monkeypatch.setattr(memory.subprocess, "run", lambda *_, **__: silent)
    assert peak_rss_mb("onnxruntime", "any.onnx", size=SIDE, threads=1) is None
    memory_column = next(one for one, _ in COLUMNS if one.title == "Peak memory of a process")
    assert memory_column.format(None) == "-"
