"""The start from an ImageNet EfficientNet-Lite: its tensors under timm's names."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from deepkd.models.checkpoints import load_checkpoint


@pytest.fixture
def start(script: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    return script("tools/starts.py")


def run(start: dict[str, Any], monkeypatch: pytest.MonkeyPatch, weights: Path, out: Path) -> None:
    monkeypatch.setattr(
        sys, "argv", ["starts.py", "lite", str(weights), "--image-size", "64", "--out", str(out)]
    )
    start["main"]()


def test_the_start_computes_what_the_file_does_and_is_undecided(
    start: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network: Any = timm.create_model("tf_efficientnet_lite1").eval()
    for name, tensor in network.state_dict().items():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.1)
    named = {
        f"_other.{number}": tensor for number, tensor in enumerate(network.state_dict().values())
    }
    torch.save(named, tmp_path / "lite1.pth")
    run(start, monkeypatch, tmp_path / "lite1.pth", tmp_path / "start.safetensors")
    model = load_checkpoint(tmp_path / "start.safetensors", allow_untrained=True)
    assert (model.architecture, model.trained, model.format.size) == (
        "tf_efficientnet_lite1",
        False,
        64,
    )
    assert (model.format.color, model.format.mean, model.format.std) == (
        "RGB",
        (0.5,) * 3,
        (0.5,) * 3,
    )
    view = torch.randn(2, 3, 64, 64)
    found: Any = model.module.eval()
    with torch.no_grad():
        torch.testing.assert_close(found.forward_features(view), network.forward_features(view))
        assert found(view).abs().max() < 1e-6


def test_other_weights_are_refused(
    start: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(timm.create_model("efficientnet_b0").state_dict(), tmp_path / "b0.pth")
    with pytest.raises(
        SystemExit, match=r"error: .*b0.pth: not the weights of tf_efficientnet_lite0, "
    ):
        run(start, monkeypatch, tmp_path / "b0.pth", tmp_path / "start.safetensors")
