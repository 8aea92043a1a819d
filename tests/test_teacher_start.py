"""The start of the teacher: EfficientNet-B0 out of a smaller network, Cross Efficient ViT out of EfficientNet-B0."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import timm
import torch
from torch import nn

from deepkd.images import Image
from deepkd.models.checkpoints import load_checkpoint, save_model
from deepkd.models.registry import TorchModel, build_model, views_of

RECIPE = {"families": ["one", "two"], "epochs": 3}


@pytest.fixture
def start(script: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    return script("scripts/teacher_start.py")


class Pieces:
    """Crops of one photograph, (64, 64, 3)."""

    def __init__(self, picture: Image) -> None:
        self.pictures = [cv2.resize(picture[y : y + 256, x : x + 256], (64, 64), interpolation=cv2.INTER_AREA)
                         for y in range(0, 257, 64) for x in range(0, 257, 64)]  # fmt: skip

    def __len__(self) -> int:
        return len(self.pictures)

    def image(self, index: int) -> Image:
        return self.pictures[index]  # type: ignore[return-value]


def random_network(name: str, size: int) -> TorchModel:
    torch.manual_seed(0)
    model = build_model(name, image_size=size)
    nn.init.normal_(model.module.get_classifier().weight)  # type: ignore[operator]
    model.metadata["recipe"] = RECIPE
    return model


def test_what_is_enlarged_computes_the_same(start: dict[str, Any]) -> None:
    small, large = (
        nn.Conv2d(6, 8, 3, padding=1, bias=False),
        nn.Conv2d(10, 12, 5, padding=2, bias=False),
    )
    large.weight.data = start["_enlarged"](small.weight.data, large.weight.data)
    image = torch.randn(2, 10, 9, 9)
    torch.testing.assert_close(large(image)[:, :8], small(image[:, :6]))
    assert large(image)[:, 8:].abs().min() > 0, "what is new can learn"


@pytest.mark.parametrize("smaller", ["mobilenetv2_100", "tf_efficientnet_lite0"])
def test_a_grown_network_computes_about_what_its_source_does(
    smaller: str, start: dict[str, Any], astronaut: Image
) -> None:
    crops = Pieces(astronaut)
    source, fresh = random_network(smaller, 64), random_network("tf_efficientnet_b0", 64)
    # Padded as EfficientNet-B0 is, so that the two maps lie upon each other.
    source.module = timm.create_model(smaller, num_classes=1, pad_type="same")
    for model in (source, fresh):
        start["_take_statistics"](model, crops, len(crops))
    grown = start["grow"](source, crops, len(crops))
    assert grown.architecture == "tf_efficientnet_b0" and grown.format == source.format
    assert grown.metadata["recipe"] == {"families": RECIPE["families"]}
    wanted, near, far = (early(model, crops) for model in (source, grown, fresh))
    alike = [float(np.corrcoef(other.flatten(), wanted.flatten())[0, 1]) for other in (near, far)]
    assert alike[0] > 0.7 > abs(alike[1])


def early(model: TorchModel, crops: Pieces) -> "np.ndarray[Any, Any]":
    """What the first two stages, which both networks have block by block, make of crops."""
    network: Any = model.module.eval()
    batch = torch.from_numpy(model.format.batch([crops.image(index) for index in range(8)]))
    with torch.no_grad():
        return network.blocks[:2](
            network.bn1(network.conv_stem(views_of(batch, model.format)))
        ).numpy()  # type: ignore[no-any-return]


def test_the_teacher_looks_through_the_network_it_starts_from(
    start: dict[str, Any], astronaut: Image
) -> None:
    source, crops = random_network("tf_efficientnet_b0", 64), Pieces(astronaut)
    for norm in (one for one in source.module.modules() if isinstance(one, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.running_mean, 0, 0.1)
    teacher = start["embed"](source, crops, len(crops))
    assert teacher.architecture == "cross-efficient-vit" and not teacher.trained
    assert teacher.metadata["recipe"] == {"families": RECIPE["families"]}
    network: Any = teacher.module.eval()
    view = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        expected = source.module.eval().forward_features(view)  # type: ignore[operator]
        torch.testing.assert_close(network.sm_image_embedder.features(view), expected)
        assert network.lg_image_embedder.features(view).shape == (1, 24, 56, 56)
        views = torch.cat(list(start["_views"](teacher, crops, len(crops))))
        for embedder in (network.sm_image_embedder, network.lg_image_embedder):
            maps = embedder.features(views)
            tokens = embedder.to_patch_embedding(maps)[:, 0]
            torch.testing.assert_close(
                tokens.mean(0), torch.zeros(tokens.shape[1]), atol=0.01, rtol=0
            )
            assert float(tokens.var(0, correction=0).mean()) == pytest.approx(1, abs=0.3)
            torch.testing.assert_close(
                embedder.to_patch_embedding(maps.flip(3))[:, 0], tokens, atol=0.01, rtol=0
            )


def test_the_commands_write_what_training_starts_from(
    start: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, astronaut: Image
) -> None:
    monkeypatch.setitem(start["main"].__globals__, "load_crops", lambda *given: Pieces(astronaut))
    run = save_model(random_network("tf_efficientnet_lite0", 64), tmp_path / "lite0.safetensors")
    for step, architecture in (("grow", "tf_efficientnet_b0"), ("embed", "cross-efficient-vit")):
        out = tmp_path / f"{step}.safetensors"
        words = [
            "teacher_start.py",
            step,
            str(run),
            "--data",
            str(tmp_path),
            "--crops",
            "8",
            "--out",
            str(out),
        ]
        monkeypatch.setattr(sys, "argv", words)
        start["main"]()
        assert load_checkpoint(out, allow_untrained=True).architecture == architecture
        run = out


@pytest.mark.parametrize(
    ("step", "needed"),
    [("grow", "mobilenetv2_100 or tf_efficientnet_lite0"), ("embed", "tf_efficientnet_b0")],
)
def test_another_network_is_refused(
    step: str, needed: str, start: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = save_model(build_model("pico", image_size=32), tmp_path / "pico.safetensors")
    words = [
        "teacher_start.py",
        step,
        str(run),
        "--data",
        str(tmp_path),
        "--out",
        str(tmp_path / "out"),
    ]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(
        SystemExit, match=f"error: .*pico.safetensors: holds a pico, not a {needed}"
    ):
        start["main"]()
