"""Another runtime gives the same scores, or says how to get it."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scorer_factory import tinted_clip, write_scorer
from typer.testing import CliRunner

from deepkd.cli.app import app
from deepkd.errors import ModelError, UsageError
from deepkd.pipeline import Detector
from deepkd.scoring.model import Scorer
from deepkd.settings.choices import RUNTIMES
from deepkd.settings.detect import DetectConfig
from deepkd.settings.evaluation import BenchmarkConfig

CROPS = list(np.random.default_rng(0).integers(0, 256, (5, 160, 160, 3), np.uint8))


def test_the_settings_offer_every_runtime() -> None:
    for kind in (DetectConfig, BenchmarkConfig):
        assert kind.__dataclass_fields__["runtime"].metadata["choices"] == tuple(RUNTIMES)


def test_openvino_gives_the_same_scores() -> None:
    pytest.importorskip(
        "openvino", reason="OpenVINO is not installed (pip install 'deepkd[openvino]')"
    )
    plain, other = (
        Scorer.load("deepkd-nano", threads=1, runtime=name) for name in ("onnxruntime", "openvino")
    )
    assert (other.name, other.sha256, other.metadata) == (plain.name, plain.sha256, plain.metadata)
    for count in (1, 5):
        np.testing.assert_allclose(
            other.logits(CROPS[:count]), plain.logits(CROPS[:count]), atol=1e-4
        )
    for ours, theirs in zip(other.evidence(CROPS), plain.evidence(CROPS), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_what_a_runtime_cannot_run_is_an_error_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(content: bytes, threads: int | None) -> None:
        raise RuntimeError("\nno such operator\nat core.cpp:1")

    monkeypatch.setattr("deepkd.scoring.runtimes.OpenVino", refuse)
    path = write_scorer(tmp_path / "m.onnx")
    with pytest.raises(
        ModelError, match=r"m\.onnx: openvino cannot run it \(no such operator\); .*onnxruntime"
    ):
        Scorer.load(path, runtime="openvino")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_file_that_is_no_model_is_refused_in_every_runtime(runtime: str, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"junk")
    with pytest.raises(ModelError, match="damaged or not an ONNX model"):
        Scorer.load(tmp_path / "m.onnx", runtime=runtime)


def test_without_the_extra_its_name_is_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UsageError, match=r"pip install 'deepkd\[openvino\]'"):
        Scorer.load("deepkd-nano", runtime="openvino")
    model, clip = (
        write_scorer(tmp_path / "green.onnx"),
        tinted_clip(tmp_path / "clip.mp4", seconds=0.3),
    )
    words = ["detect", str(clip), "--model", str(model), "--runtime", "openvino"]
    result = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    assert result.exit_code == 2 and "deepkd[openvino]" in result.stderr and not result.stdout


def test_cuda_without_its_provider_is_refused_and_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    path = write_scorer(tmp_path / "m.onnx")
    with pytest.raises(UsageError, match=r"it has CPUExecutionProvider; .*onnxruntime-gpu"):
        Detector.load(DetectConfig(model=str(path), device="cuda"))
    with pytest.raises(UsageError, match="choose onnxruntime for device cuda"):
        Scorer.load(path, runtime="openvino", device="cuda")
