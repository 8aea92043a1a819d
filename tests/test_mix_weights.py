"""Mixed weights lie between two stages of a network, are calibrated, and know what both were trained on."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from crop_factory import write_crops

from deepkd.data.crops import load_crops
from deepkd.data.families import FAMILIES_KEY, known_families, training_record
from deepkd.evaluation.metrics import auc
from deepkd.models.checkpoints import load_checkpoint, save_model
from deepkd.models.registry import build_model
from deepkd.training.validation import crop_logits


@pytest.fixture
def mix(
    script: Callable[[str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    run = script("scripts/mix_weights.py")["main"]

    def mix(*words: object) -> None:
        monkeypatch.setattr(sys, "argv", ["mix_weights.py", *map(str, words)])
        run()

    return mix


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    return write_crops(tmp_path / "crops", families=20, tint=40)


def stage(folder: Path, name: str, crops: Path, *, size: int = 32, model: str = "pico") -> Path:
    """A checkpoint that says it was trained on the crops."""
    built = build_model(model, image_size=size)
    for tensor in built.module.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor))
    built.trained = True
    built.metadata["recipe"] = {"lr": 0.1, **training_record(load_crops(crops, "train"))}
    return save_model(built, folder / f"{name}.safetensors")


def test_the_mixture_lies_between_both(
    mix: Callable[..., None], crops: Path, tmp_path: Path
) -> None:
    elsewhere = write_crops(tmp_path / "elsewhere", families=10)
    index = elsewhere / "index.csv"
    index.write_text(index.read_text().replace("family-", "other-"))
    before, after = stage(tmp_path, "before", elsewhere), stage(tmp_path, "after", crops)
    mix(before, after, "--share", 0.25, "--data", crops, "--out", tmp_path / "mixed.safetensors")
    old, new, mixed = (
        load_checkpoint(path) for path in (before, after, tmp_path / "mixed.safetensors")
    )
    for name, tensor in mixed.module.state_dict().items():
        if tensor.is_floating_point():
            expected = 0.75 * old.module.state_dict()[name] + 0.25 * new.module.state_dict()[name]
            torch.testing.assert_close(tensor, expected)
    recipe = mixed.metadata["recipe"]
    assert (recipe["lr"], recipe["share_of_weights"]) == (0.1, 0.25)
    assert len(recipe[FAMILIES_KEY]) > len(new.metadata["recipe"][FAMILIES_KEY])
    assert known_families(recipe, ["family-0.mp4", "other-0.mp4", "nobody.mp4"]) == [
        "family-0.mp4",
        "other-0.mp4",
    ]
    assert {"calibration", "thresholds"} <= mixed.metadata.keys()
    val = load_crops(crops, "val")
    assert mixed.metadata["validation"]["val_auc"] == auc(val.labels, crop_logits(mixed, val))


@pytest.mark.parametrize(
    ("size", "model", "why"), [(64, "pico", "different formats"), (32, "nano", "not the same")]
)
def test_others_are_refused(
    mix: Callable[..., None], crops: Path, tmp_path: Path, size: int, model: str, why: str
) -> None:
    before, after = (
        stage(tmp_path, "before", crops),
        stage(tmp_path, "after", crops, size=size, model=model),
    )
    out = tmp_path / "mixed.safetensors"
    with pytest.raises(SystemExit, match=f"error: .*{why}"):
        mix(before, after, "--data", crops, "--out", out)
    with pytest.raises(SystemExit, match="takes 0 to 1"):
        mix(before, before, "--share", 1.5, "--data", crops, "--out", out)
    assert not out.exists()
