"""Checkpoints: one safetensors file with the weights and, as JSON in its header, the metadata."""

import json
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from deepkd.errors import ConfigError, ModelError, OutputError
from deepkd.models.registry import PUBLISHED_FORMAT, TorchModel, build_model, model_spec
from deepkd.models.students import LiteShape
from deepkd.outputs import write_whole
from deepkd.scoring.model import METADATA_KEY, METADATA_SCHEMA, InputFormat, Scorer, is_onnx
from deepkd.settings.choices import MODELS
from deepkd.text import first_sentence

WEIGHTS_FILE = "model.safetensors"
"""The checkpoint inside a run folder."""
KINDS = "a run folder, a .safetensors or .pth file, or, where a command takes it, an .onnx file"
"""What a model may be given as, for messages."""
OLD_NAMES = {"micro": "lite", "nano": "lite", "pico": "lite"}
"""What older checkpoints call a student -> its name today, where the recorded shape is not that of
the registry's student of the same name."""
PUBLISHED = ("cross-efficient-vit", "efficient-vit")
"""Architectures whose published `.pth` files are plain state dicts under the authors' module
names."""


def save_model(model: TorchModel, path: Path) -> Path:
    """Write a checkpoint, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    header = {
        "schema": METADATA_SCHEMA,
        "name": model.name,
        "architecture": model.architecture,
        "shape": model.shape,
        "trained": model.trained,
        "input": model.format.to_dict(),
        **model.metadata,
    }
    weights = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in model.module.state_dict().items()
    }
    try:
        with write_whole(path) as beside:
            save_file(weights, beside, metadata={METADATA_KEY: json.dumps(header)})
    except SafetensorError as error:
        raise OutputError(
            f"{path}: cannot be written ({error}); make room, or give another --out"
        ) from error
    return path


def load_model(path: str | Path, *, device: str = "cpu") -> TorchModel | Scorer:
    """Load a trained model.

    Args:
        path: a run folder, `.safetensors`, published `.pth` or `.onnx`, or a shipped model's name.
        device: where PyTorch computes.

    Raises:
        ModelError: it is missing, damaged, of another kind, carries code, or was never trained; the
            message says which.
    """
    path = Path(path)
    if is_onnx(path):
        return Scorer.load(path)
    return load_checkpoint(path, device=device)


def load_checkpoint(
    path: Path, *, device: str = "cpu", allow_untrained: bool = False
) -> TorchModel:
    """A torch model from a run folder, a `.safetensors` or a published `.pth`, in eval mode.

    Raises:
        ModelError: as `load_model`.
    """
    if is_onnx(path):
        raise ModelError(
            f"{path}: an ONNX model, and what is asked for takes a network of PyTorch's; give the"
            " run folder, .safetensors or .pth file that it was exported from"
        )
    if path.is_dir():
        if not (path / WEIGHTS_FILE).is_file():
            raise ModelError(
                f"{path}: holds no {WEIGHTS_FILE}; give a finished run, or train one with 'deepkd"
                " train'"
            )
        path = path / WEIGHTS_FILE
    if not path.is_file():
        raise ModelError(f"{path}: no such model; give {KINDS}")
    if _is_torchscript(path):
        raise ModelError(
            f"{path}: a TorchScript export, which is for other programs; give the run folder that"
            " it was exported from, or, where a command takes it, an .onnx file"
        )
    readers = {".safetensors": _read_safetensors, ".pth": _read_published, ".pt": _read_published}
    if path.suffix not in readers:
        raise ModelError(f"{path}: unknown kind of model; give {KINDS}")
    model = readers[path.suffix](path)
    if not (model.trained or allow_untrained):
        raise ModelError(
            f"{path}: its weights were never trained, so its scores mean nothing; train it first"
        )
    model.module.eval().to(device)
    return model


def load_weights(name: str, path: Path, *, classes: Sequence[str] = ()) -> TorchModel:
    """A network by its name, with the plain state dict of a `.pth` or `.safetensors` file.

    Args:
        name: as `build_model` takes it, such as `torchvision:resnet18`.
        path: the file, from names of tensors to tensors.
        classes: what its outputs stand for, in order; () for one forgery logit.

    Raises:
        ConfigError: an unknown name.
        ModelError: the file cannot be read, carries code, or does not fit the network.
    """
    try:
        if path.suffix == ".safetensors":
            content: object = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path}: refused, it holds more than tensors, possibly code, and was not run"
        ) from error
    except Exception as error:  # damaged bytes lead the unpickler to errors of any class
        raise ModelError(f"{path}: cannot be read ({first_sentence(error)})") from error
    model = build_model(name, classes=classes)
    _fill(path, model.module, _plain_state_dict(path, content))
    model.trained = True
    return model


def _is_torchscript(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (
        Exception
    ):  # damaged bytes lead it to errors of any class; whoever reads the file tells of them
        return False


def _read_safetensors(path: Path) -> TorchModel:
    try:
        with safe_open(path, framework="pt") as file:
            raw = (file.metadata() or {}).get(METADATA_KEY)
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{path}: damaged or not a safetensors file ({error}); copy or train it again"
        ) from error
    header = _header(path, raw)
    model = _build(path, header)
    _fill(path, model.module, weights)
    return model


def _header(path: Path, raw: str | None) -> dict[str, Any]:
    if raw is None:
        raise ModelError(f"{path}: weights without metadata; give a checkpoint that deepkd wrote")
    try:
        header = json.loads(raw)
    except ValueError as error:
        raise ModelError(f"{path}: its metadata is not JSON; copy or train it again") from error
    missing = {"schema", "name", "architecture", "shape", "trained", "input"} - header.keys()
    if missing or header["schema"] != METADATA_SCHEMA:
        raise ModelError(
            f"{path}: its metadata is not of schema {METADATA_SCHEMA}; make it with this version"
        )
    return header


def _build(path: Path, header: dict[str, Any]) -> TorchModel:
    known = {"schema", "name", "architecture", "shape", "trained", "input"}
    try:
        model = build_model(
            _current_name(header["architecture"], header["shape"]),
            format=InputFormat.from_dict(header["input"]),
            shape=header["shape"],
            subclasses=header.get("subclasses", ()),
            classes=header.get("classes", ()),
        )
    except ConfigError as error:
        raise ModelError(f"{path}: {error}") from error
    model.name = header["name"]
    model.trained = header["trained"] is True
    model.metadata = {key: value for key, value in header.items() if key not in known}
    return model


def _current_name(architecture: str, shape: dict[str, Any] | None) -> str:
    """The registry's name for what a checkpoint calls its architecture."""
    form = {key: value for key, value in (shape or {}).items() if key != "widths"}
    if architecture not in OLD_NAMES or not form:
        return architecture
    if architecture in MODELS and LiteShape.parse(form) == LiteShape.parse(
        MODELS.load(architecture).shape
    ):
        return architecture
    return OLD_NAMES[architecture]


def _read_published(path: Path) -> TorchModel:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = "it holds more than tensors, possibly code, and was not run"
        raise ModelError(
            f"{path}: refused, {reason}; convert it to safetensors where it came from"
        ) from error
    except Exception as error:  # damaged bytes lead the unpickler to errors of any class
        raise ModelError(
            f"{path}: damaged or not a torch checkpoint ({first_sentence(error)})"
        ) from error
    weights = _plain_state_dict(path, content)
    for name in PUBLISHED:
        spec = model_spec(name)
        with torch.device("meta"):
            expected = spec.build(**spec.shape).state_dict().keys()
        if expected & weights.keys() and next(iter(expected)).split(".")[0] in {
            key.split(".")[0] for key in weights
        }:
            model = build_model(name, format=PUBLISHED_FORMAT)
            _fill(path, model.module, weights)
            model.trained = True
            return model
    raise ModelError(
        f"{path}: a state dict of another network; the published ones are {', '.join(PUBLISHED)}"
    )


def _plain_state_dict(path: Path, content: object) -> dict[str, Tensor]:
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        raise ModelError(
            f"{path}: not a state dict (names to tensors); save one with"
            " torch.save(model.state_dict())"
        )
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}


def _fill(path: Path, module: nn.Module, weights: dict[str, Tensor]) -> None:
    expected = module.state_dict()
    missing, extra = (
        sorted(expected.keys() - weights.keys()),
        sorted(weights.keys() - expected.keys()),
    )
    if missing or extra:
        first = f"lacks {missing[0]}" if missing else f"has {extra[0]}"
        raise ModelError(
            f"{path}: does not fit its architecture: {len(missing)} missing, {len(extra)} extra;"
            f" {first}"
        )
    for name, tensor in weights.items():
        if tensor.shape != expected[name].shape:
            shapes = f"{tuple(tensor.shape)} instead of {tuple(expected[name].shape)}"
            raise ModelError(f"{path}: does not fit its architecture: {name} is {shapes}")
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ModelError(
                f"{path}: {name} is not finite; the training diverged or the file is damaged"
            )
    module.load_state_dict(weights)
