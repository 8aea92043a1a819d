"""A disk that is full while a model is exported or quantised: an error, and no half file."""

import resource
import sys
from functools import partial
from pathlib import Path

import pytest
from crop_factory import write_crops
from model_factory import random_model
from warm import run_deepkd

from deepkd.errors import OutputError
from deepkd.models.checkpoints import save_model
from deepkd.models.export import export_onnx
from deepkd.outputs import scratch

LARGEST = 50_000
"""Bytes that a file may have: less than the smallest student's."""
COMMANDS = {
    "torchscript": ["export", "run.safetensors", "--out", "big.pt", "--format", "torchscript"],
    "quantize": [
        "quantize",
        "run.onnx",
        "--data",
        "crops",
        "--out",
        "big.onnx",
        "--samples",
        "2",
        "--runs",
        "3",
    ],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_named_and_nothing_is_left(name: str, tmp_path: Path) -> None:
    network = random_model("pico")
    save_model(network, tmp_path / "run.safetensors")
    export_onnx(network, tmp_path / "run.onnx")
    write_crops(tmp_path / "crops", tint=40)
    (tmp_path / "tmp").mkdir()
    before = files(tmp_path)
    done = run_deepkd(
        COMMANDS[name],
        tmp_path,
        environment={"PYTHONPATH": ":".join(sys.path), "TMPDIR": str(tmp_path / "tmp")},
        before=partial(resource.setrlimit, resource.RLIMIT_FSIZE, (LARGEST, LARGEST)),
    )
    assert done.returncode == 1, done.stderr
    assert "cannot be written" in done.stderr and "Traceback" not in done.stderr
    assert files(tmp_path) == before


def files(folder: Path) -> list[Path]:
    """All files but those that libraries keep among the temporary ones."""
    found = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return sorted(
        path for path in found if path.parts[0] != "tmp" or path.parts[1].startswith("deepkd-")
    )


def test_only_errors_of_the_folder_are_about_the_folder(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"temporary files cannot be written.*TMPDIR"),
        scratch() as folder,
    ):
        (folder / "missing" / "file").write_bytes(b"")
    assert not folder.exists()
    with pytest.raises(FileNotFoundError), scratch():
        (tmp_path / "missing" / "file").read_bytes()
