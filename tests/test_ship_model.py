"""`tools/ship_model.py` ships a tiny student into a folder of its own, whole or not at all."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media import portraits
from model_factory import random_model

from deepkd.errors import ModelError
from deepkd.images import pattern
from deepkd.models.checkpoints import save_model
from deepkd.scoring.model import Scorer
from deepkd.shipped import PATTERN, sha256_of, weights_dir

ROOT = Path(__file__).resolve().parents[1]
OLD = {
    "SHA256SUMS": f"{'0' * 64}  mtcnn-pnet.onnx\n",
    "golden.json": '{"deepkd-old": {"astronaut": 1.5}}\n',
}


@pytest.fixture
def ship_model(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "tools")
    import ship_model

    return ship_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Weights that were shipped before."""
    (tmp_path / "weights").mkdir()
    for name, text in OLD.items():
        (tmp_path / "weights" / name).write_text(text)
    return tmp_path / "weights"


@pytest.fixture
def run(
    ship_model: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """Ships a trained pico under a name."""
    checkpoint = save_model(random_model("pico"), tmp_path / "model.safetensors")

    def main(name: str) -> None:
        words = ["ship_model.py", str(checkpoint), "--name", name, "--weights", str(folder)]
        monkeypatch.setattr(sys, "argv", words)
        ship_model.main()

    return main


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_student_is_shipped_with_checksum_and_golden_scores(
    run: Callable[..., None], folder: Path, capsys: pytest.CaptureFixture[str], ship_model: Any
) -> None:
    real = {path.name: sha256_of(path) for path in weights_dir().iterdir()}
    run("deepkd-tiny")
    path = folder / "deepkd-tiny.onnx"
    scorer = Scorer.load(path)
    assert scorer.name == "deepkd-tiny" and {file.name for file in folder.iterdir()} == {
        *OLD,
        path.name,
    }
    sums = (folder / "SHA256SUMS").read_text()
    assert sums == f"{sha256_of(path)}  {path.name}\n{OLD['SHA256SUMS']}"
    golden = json.loads((folder / "golden.json").read_text())
    assert golden["deepkd-old"] == {"astronaut": 1.5}
    crops = ship_model.golden_crops(scorer)
    assert crops.keys() == portraits().keys()
    crops[PATTERN] = pattern(scorer.format.size)
    assert crops.keys() == golden["deepkd-tiny"].keys()
    expected = scorer.logits(list(crops.values()))
    assert np.abs(expected - [golden["deepkd-tiny"][name] for name in crops]).max() <= 1e-3
    said = capsys.readouterr().out
    assert (
        f"--model {path} --document {folder / 'deepkd-tiny.md'}" in said and "pip install ." in said
    )
    assert real == {path.name: sha256_of(path) for path in weights_dir().iterdir()}, (
        "the real ones are as they were"
    )


@pytest.mark.parametrize("name", ["nano", "deepkd-", "deepkd-Nano", "deepkd-a/b", "mtcnn-pnet"])
def test_names_that_no_student_can_have_are_refused(
    run: Callable[..., None], folder: Path, name: str
) -> None:
    with pytest.raises(SystemExit, match=f"error: --name {name}: takes deepkd- and then"):
        run(name)
    assert content(folder) == OLD


@pytest.mark.parametrize(
    ("params", "size", "said", "not_said"),
    [
        (506_889, 2_200_000, "506,889 parameters", "bytes"),
        (506_888, 2_200_001, "2,200,001 bytes", "parameters"),
    ],
)
def test_what_is_over_the_budget_is_said(
    ship_model: Any, params: int, size: int, said: str, not_said: str
) -> None:
    ship_model.check_budget("deepkd-any", 506_888, 2_200_000)
    ship_model.check_budget("deepkd-large", 4_000_000, 9_000_000)
    with pytest.raises(ModelError, match=said) as caught:
        ship_model.check_budget("deepkd-any", params, size)
    assert not_said not in str(caught.value)


def test_a_failure_leaves_the_folder_as_it_was(
    run: Callable[..., None], folder: Path, ship_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ship_model, "STUDENT", (10**9, 1000))
    with pytest.raises(
        SystemExit,
        match=r"^error: too large for a shipped student: [\d,]+ bytes, 1,000 are allowed",
    ):
        run("deepkd-tiny")
    assert content(folder) == OLD
    monkeypatch.setattr(ship_model, "STUDENT", (10**9, 10**9))
    monkeypatch.setattr(ship_model, "checksum_lines", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("deepkd-tiny")
    assert content(folder) == OLD


def test_without_scikit_image_one_line_says_what_to_install(
    run: Callable[..., None], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("skimage", "skimage.data"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        SystemExit, match=r"^error: the golden scores take scikit-image; .*'\.\[dev\]'$"
    ):
        run("deepkd-tiny")
    assert content(folder) == OLD
