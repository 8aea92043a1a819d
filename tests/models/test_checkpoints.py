"""A checkpoint comes back as it was saved; anything else is refused by name before it can judge."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from slim_models import SLIM

from deepkd.errors import ModelError
from deepkd.models.checkpoints import WEIGHTS_FILE, load_checkpoint, load_model, save_model
from deepkd.models.export import export_torchscript
from deepkd.models.registry import PUBLISHED_FORMAT, TorchModel, build_model
from deepkd.models.students import LiteShape, build_student
from deepkd.settings.choices import MODELS
from deepkd.video.crops import CROP_RULES

CROPS = list(np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8))


def trained(name: str = "pico") -> TorchModel:
    torch.manual_seed(0)
    model = build_model(name, image_size=64)
    model.trained = True
    model.metadata = {"calibration": {"temperature": 2.0, "bias": 0.1}, "recipe": {"seed": 0}}
    return model


def test_everything_travels_with_the_weights(tmp_path: Path) -> None:
    model = trained()
    model.format = model.format.from_dict(
        {**model.format.to_dict(), "crop": vars(CROP_RULES["margin"])}
    )
    save_model(model, tmp_path / WEIGHTS_FILE)
    for path in (tmp_path, tmp_path / WEIGHTS_FILE):
        again = load_model(path)
        assert isinstance(again, TorchModel)
        assert (again.name, again.format, again.metadata) == (
            model.name,
            model.format,
            model.metadata,
        )
        np.testing.assert_array_equal(again.logits(CROPS), model.logits(CROPS))
    assert not list(tmp_path.glob("*.part"))


def test_a_student_of_other_widths_is_built_as_it_was_saved(tmp_path: Path) -> None:
    shape = LiteShape(width=0.3, depth=0.5, head=64)
    model = trained()
    model.module, model.shape = build_student(shape), vars(shape)
    again = load_checkpoint(save_model(model, tmp_path / "m.safetensors"))
    assert again.params == model.params != build_model("pico").params


def test_a_published_state_dict_loads_strictly_in_its_own_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODELS, "targets", MODELS.targets | SLIM)
    torch.manual_seed(0)
    source = build_model("cross-efficient-vit", format=PUBLISHED_FORMAT)
    torch.save(
        {f"module.{name}": tensor for name, tensor in source.module.state_dict().items()},
        tmp_path / "c.pth",
    )
    again = load_model(tmp_path / "c.pth")
    assert (again.name, again.format) == ("cross-efficient-vit", PUBLISHED_FORMAT)
    np.testing.assert_allclose(again.logits(CROPS), source.logits(CROPS), atol=1e-4)


class _Code:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return print, ("code ran",)


def _truncated(path: Path) -> None:
    save_model(trained(), path)
    path.write_bytes(path.read_bytes()[:-1000])


def _untrained(path: Path) -> None:
    save_model(build_model("pico"), path)


def _foreign(path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, path)


def _other_network(path: Path) -> None:
    model = trained()
    model.architecture = "nano"
    model.shape = None
    save_model(model, path)


def _infinite(path: Path) -> None:
    model = trained()
    next(model.module.parameters()).data.fill_(float("nan"))
    save_model(model, path)


def _unknown_architecture(path: Path) -> None:
    model = trained()
    model.architecture = "nope"
    save_model(model, path)


def _torchscript(path: Path) -> None:
    export_torchscript(trained(), path)


BAD = {
    "missing.safetensors": (lambda path: None, "no such model"),
    "junk.safetensors": (
        lambda path: path.write_bytes(b"junk" * 100),
        "damaged or not a safetensors file",
    ),
    "truncated.safetensors": (_truncated, "damaged or not a safetensors file"),
    "untrained.safetensors": (_untrained, "never trained"),
    "foreign.safetensors": (_foreign, "without metadata"),
    "other.safetensors": (_other_network, "does not fit its architecture"),
    "nan.safetensors": (_infinite, "not finite"),
    "unknown.safetensors": (_unknown_architecture, "unknown model 'nope'"),
    "code.pth": (lambda path: torch.save({"x": _Code()}, path), "possibly code, and was not run"),
    "pickle.pth": (lambda path: path.write_bytes(pickle.dumps(_Code())), "refused|damaged"),
    "junk.pth": (lambda path: path.write_bytes(b"junk" * 100), "damaged|refused"),
    "tensor.pth": (lambda path: torch.save(torch.zeros(3), path), "not a state dict"),
    "resnet.pth": (lambda path: torch.save({"fc.weight": torch.zeros(2)}, path), "another network"),
    "junk.onnx": (lambda path: path.write_bytes(b"junk" * 100), "damaged or not an ONNX model"),
    "weights.bin": (lambda path: path.write_bytes(b"junk"), "unknown kind of model"),
    "exported.pt": (
        _torchscript,
        "exported.pt: a TorchScript export.*; give the run folder that it was exported from",
    ),
    "exported.ts": (_torchscript, "exported.ts: a TorchScript export"),
    "cut.pt": (
        lambda path: path.write_bytes(b"PK\x03\x04" + b"junk" * 100),
        "damaged or not a torch checkpoint",
    ),
    "folder": (lambda path: path.mkdir(), "holds no model.safetensors"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_judged_with_is_refused(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make, message = BAD[name]
    make(tmp_path / name)
    with pytest.raises(ModelError, match=message) as caught:
        load_model(tmp_path / name)
    assert name in str(caught.value)
    assert "code ran" not in capfd.readouterr().out
