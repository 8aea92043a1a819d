"""The trail from public ImageNet weights to the shipped models, with tiny settings."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from crop_factory import write_crops
from warm import run_deepkd

from deepkd.config import load_config
from deepkd.models.checkpoints import load_checkpoint
from deepkd.settings.distillation import DistillConfig
from deepkd.settings.training import TrainConfig

ROOT = Path(__file__).resolve().parents[1]
TINY = ["--epochs", "1", "--limit", "8", "--batch", "4", "--workers", "0", "--device", "cpu"]
RECIPE = 'image_size = 64\naugment = "none"\n{kind}\n[[data]]\npath = "one"\nweight = 2.0\n'


@pytest.fixture
def trail(script: Callable[[str], dict[str, Any]], tmp_path: Path) -> dict[str, Any]:
    torch.manual_seed(0)
    network: Any = timm.create_model("tf_efficientnet_lite0")
    named = {f"_{number}": tensor for number, tensor in enumerate(network.state_dict().values())}
    torch.save(named, tmp_path / "lite0.pth")
    write_crops(tmp_path / "one")
    module = script("tools/make_models.py")
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    for stage in module["STAGES"]:
        kind = 'model = "tf_efficientnet_lite0"' if not stage.teachers else ""
        kind = kind or f'student = "{ {"large": "tf_efficientnet_lite0"}.get(stage.name, "lite") }"'
        (recipes / f"{stage.name}.toml").write_text(RECIPE.format(kind=kind))
    module["write_config"].__globals__.update(RECIPES=recipes, deepkd=run_warm)
    return module


def run_warm(*words: object) -> None:
    """A command as the script runs it, without waiting for its imports."""
    done = run_deepkd([*map(str, words)], ROOT)
    assert done.returncode == 0, done.stderr


def parse(module: dict[str, Any], tmp_path: Path, *stages: str) -> tuple[Any, list[Any]]:
    words = ["--data", str(tmp_path / "one"), "--lite0", str(tmp_path / "lite0.pth")]
    words += ["--out", str(tmp_path / "runs"), "--stages", *stages, "--", *TINY]
    found: tuple[Any, list[Any]] = module["parse"](words)
    return found


def test_stages_are_made_once_and_start_from_those_before(
    trail: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options, stages = parse(trail, tmp_path, "large-teacher", "large")
    large = next(stage for stage in stages if stage.name == "large")
    teacher_only = type(large)(large.name, large.start, ("large-teacher",))
    trail["make"](stages[0], options)
    trail["make"](teacher_only, options)
    model = load_checkpoint(tmp_path / "runs" / "large")
    assert model.architecture == "tf_efficientnet_lite0" and model.trained
    assert model.metadata["recipe"]["data"] == [{"path": "one", "weight": 2.0}]
    capfd.readouterr()
    trail["make"](stages[0], options)
    assert "large-teacher: done" in capfd.readouterr().out
    shallow = trail["make_shallow"](model)
    assert shallow.params < model.params and shallow.trained


def test_a_folder_that_the_settings_name_must_be_given(
    trail: dict[str, Any], tmp_path: Path
) -> None:
    options, stages = parse(trail, tmp_path, "large-teacher")
    recipes = trail["write_config"].__globals__["RECIPES"]
    recipe = recipes / "large-teacher.toml"
    recipe.write_text(recipe.read_text() + '[[data]]\npath = "two"\n')
    with pytest.raises(Exception, match="draws from two; give it as --data, too"):
        trail["make"](stages[0], options)


def test_the_shipped_settings_are_sound(script: Callable[[str], dict[str, Any]]) -> None:
    for stage in script("tools/make_models.py")["STAGES"]:
        kind = DistillConfig if stage.teachers else TrainConfig
        config = load_config(kind, ROOT / "recipes" / "shipped" / f"{stage.name}.toml")
        assert [source.path.name for source in config.list_sources()] == [
            "dfdc-crops",
            "wild-crops",
        ]


def test_a_gpu_script_trains_and_writes_weights_in_parts(
    trail: dict[str, Any], tmp_path: Path
) -> None:
    environment = {
        **os.environ,
        "PYTHON": sys.executable,
        "MORE": " ".join(TINY),
        "RECIPES": str(tmp_path / "recipes"),
    }
    subprocess.run(
        [ROOT / "tools/gpu_train.sh", tmp_path / "gpu", tmp_path / "lite0.pth", tmp_path / "one"],
        env=environment,
        check=True,
        capture_output=True,
    )
    parts = sorted((tmp_path / "gpu").glob("large-teacher.??"))
    assert parts and all(part.stat().st_size <= 15 * 2**20 for part in parts)
    joined = tmp_path / "joined.safetensors"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    whole = load_checkpoint(tmp_path / "gpu" / "runs" / "large-teacher").module.state_dict()
    for name, tensor in load_checkpoint(joined).module.state_dict().items():
        torch.testing.assert_close(tensor, whole[name], rtol=1e-3, atol=1e-4)
    assert (tmp_path / "gpu" / "metrics.jsonl").read_text().count("\n") == 1
