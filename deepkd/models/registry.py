"""Building the models of `MODELS`; and TorchModel, a built one that scores crops."""

import dataclasses
import difflib
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import timm
import torch
from timm.data import resolve_model_data_config
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from deepkd.errors import ConfigError, ModelError
from deepkd.images import Image
from deepkd.models.outside import own_spec, torchvision_spec
from deepkd.models.spec import ModelSpec
from deepkd.models.students import reset_classifier
from deepkd.models.subclasses import Subclassed, names_of, network_of
from deepkd.models.widths import as_lists, resize
from deepkd.scoring.calibration import Calibration
from deepkd.scoring.model import BATCH, InputFormat, refuse_classes
from deepkd.scoring.thresholds import Thresholds
from deepkd.settings.choices import MODELS
from deepkd.text import first_sentence
from deepkd.video.crops import CROP_RULES

PUBLISHED_FORMAT = InputFormat(
    size=224,
    color="BGR",
    value_range=255.0,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    resize="letterbox",
    crop=CROP_RULES["tight"],
)
"""What the published Cross Efficient ViT checkpoints were trained on: raw BGR, the detector's box
made square."""
TRIED = 2
"""Crops that a network is tried on."""


def model_spec(name: str) -> ModelSpec:
    """The registry's entry, or one made for a model from elsewhere.

    `NAME` or `timm:NAME` is a classifier of timm, `torchvision:NAME` one of torchvision, and
    `MODULE:FUNCTION` one of the user's own; see `models/outside.py`.

    Raises:
        ConfigError: neither knows it; the message lists the known and the closest names.
    """
    if name in MODELS:
        return MODELS.load(name)
    library, _, own = name.partition(":")
    if library == "torchvision":
        return torchvision_spec(own)
    if library not in ("", "timm") and own:
        return own_spec(library, own)
    own = own or name
    if timm.is_model(own):
        return ModelSpec(partial(_build_timm, own), _timm_format(own))
    close = difflib.get_close_matches(name, [*MODELS, *timm.list_models()], n=3)
    hint = f" (did you mean {', '.join(close)}?)" if close else ""
    raise ConfigError(
        f"unknown model '{name}'{hint}; choose from {', '.join(MODELS)}, or any timm classifier, or"
        " torchvision:NAME; of your own, MODULE:FUNCTION with --model-code FOLDER"
    )


def _build_timm(name: str, outputs: int = 1) -> nn.Module:
    return reset_classifier(timm.create_model(name, pretrained=False, num_classes=outputs), outputs)


def _timm_format(name: str) -> InputFormat:
    with torch.device("meta"):
        data = resolve_model_data_config(timm.create_model(name, pretrained=False, num_classes=1))
    return InputFormat(size=data["input_size"][1], mean=tuple(data["mean"]), std=tuple(data["std"]))


@dataclass
class TorchModel:
    """A torch module with its name, its input format and its metadata. It is a `CropModel`."""

    name: str
    architecture: str
    module: nn.Module
    format: InputFormat
    shape: dict[str, Any] | None = None
    """A student's shape and a pruned network's widths, to build it again; None where the
    architecture says it all."""
    trained: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)
    """Calibration, thresholds, recipe and metrics of a trained model, as in its checkpoint."""

    @cached_property
    def params(self) -> int:
        """Number of parameters (buffers such as running means are not counted)."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of one crop's forward pass, as torch counts them."""
        device = next(self.module.parameters()).device
        with evaluating(self.module), torch.no_grad(), FlopCounterMode(display=False) as counter:
            self.module(torch.zeros(1, 3, self.format.size, self.format.size, device=device))
        return int(counter.get_total_flops() // 2)

    @cached_property
    def sha256(self) -> str:
        """A hash of the weights, as they are when it is first asked for."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.module.state_dict().items()):
            digest.update(
                name.encode()
                + tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
            )
        return digest.hexdigest()

    @property
    def calibration(self) -> Calibration:
        """The checkpoint's calibration; the identity for a model that has none."""
        return Calibration.from_dict(self.metadata.get("calibration", {}))

    @property
    def thresholds(self) -> Thresholds:
        """The checkpoint's thresholds; one half for a model that has none."""
        return Thresholds.from_dict(self.metadata.get("thresholds", {}))

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that it tells apart; () for a model that gives a forgery logit."""
        return tuple(self.metadata.get("classes", ()))

    def logits(self, crops: Sequence[Image]) -> npt.NDArray[np.float32]:
        """One forgery logit per crop (RGB, uint8, any size), (N,), before calibration.

        Raises:
            ModelError: it tells classes apart, and not REAL from FAKE.
        """
        refuse_classes(self.name, self.classes)
        return self._outputs(crops, 1).flatten()

    def class_logits(self, pictures: Sequence[Image]) -> npt.NDArray[np.float32]:
        """A logit per class of each picture (RGB, uint8, any size), (N, classes).

        Raises:
            ModelError: it has no classes.
        """
        if not self.classes:
            raise ModelError(f"{self.name}: gives a forgery logit, no classes")
        return self._outputs(pictures, len(self.classes))

    def _outputs(self, crops: Sequence[Image], outputs: int) -> npt.NDArray[np.float32]:
        """(N, outputs)."""
        device = next(self.module.parameters()).device
        parts = []
        together = BATCH if outputs == 1 else BATCH * 8
        with evaluating(self.module), torch.inference_mode():
            for start in range(0, len(crops), together):
                batch = torch.from_numpy(self.format.batch(crops[start : start + together]))
                logits = self.module(views_of(batch.to(device), self.format))
                _check_logits(self.name, logits, len(batch), outputs)
                parts.append(logits.float().cpu().numpy())
        return np.concatenate(parts) if parts else np.zeros((0, outputs), np.float32)


def views_of(crops: Tensor, format: InputFormat) -> Tensor:
    """Crops of `InputFormat.batch`, RGB, uint8, (N, S, S, 3) -> network input (N, 3, S, S)."""
    return normalise(crops.permute(0, 3, 1, 2).float().div(255), format)


def normalise(batch: Tensor, format: InputFormat) -> Tensor:
    """Crops in [0, 1], RGB, (N, 3, S, S) -> colour order, value range, mean and std of `format`."""
    if format.color == "BGR":
        batch = batch.flip(1)
    mean, std = (batch.new_tensor(values).view(1, 3, 1, 1) for values in (format.mean, format.std))
    return (batch * format.value_range - mean) / std


class evaluating:
    """Context: modules in eval mode, put back into the mode they were in."""

    def __init__(self, *modules: nn.Module) -> None:
        self.training = [part for module in modules for part in module.modules() if part.training]
        self.modules: Iterable[nn.Module] = (
            modules if self.training else ()
        )  # setting modes takes longer than asking

    def __enter__(self) -> None:
        for module in self.modules:
            module.eval()

    def __exit__(self, *_: object) -> None:
        for part in self.training:
            part.training = True


def build_model(
    name: str,
    *,
    format: InputFormat | None = None,
    image_size: int | None = None,
    shape: dict[str, Any] | None = None,
    subclasses: Sequence[str] = (),
    classes: Sequence[str] = (),
) -> TorchModel:
    """An untrained model of the registry (or of timm), in eval mode.

    Args:
        name: a key of `MODELS` or a timm classifier.
        format: what it shall expect to see; None takes the registry's.
        image_size: another input side, pixels.
        shape: a student's own shape and a pruned network's `widths`, as the checkpoint recorded
            them.
        subclasses: names of REAL and FAKE subclasses that it shall tell apart; () gives one logit.
            See `Subclassed`.
        classes: names of the classes that it shall tell apart, in place of REAL and FAKE.

    Raises:
        ConfigError: an unknown name, a side that it cannot take, or subclasses that are not of both
            labels.
        ModelError: the widths are those of another architecture, or timm's model of that name is no
            classifier.
    """
    spec = model_spec(name)
    chosen = format or spec.format
    if image_size is not None:
        chosen = dataclasses.replace(chosen, size=image_size)
    widths = {key: (out, into) for key, (out, into) in (shape or {}).get("widths", {}).items()}
    form = {key: value for key, value in (shape or {}).items() if key != "widths"} or spec.shape
    if form.keys() - spec.shape.keys():
        unknown = ", ".join(sorted(form.keys() - spec.shape.keys()))
        raise ModelError(f"{name}: its shape has no {unknown}; it is the shape of another model")
    network = spec.build(outputs=len(subclasses) or len(classes) or 1, **form)
    module = Subclassed(network, subclasses) if subclasses else network
    resize(module, widths)
    if image_size not in (None, spec.format.size):
        _try_side(name, module.eval(), chosen.size, spec.format.size)
    kept = dict(form) | ({"widths": as_lists(widths)} if widths else {})
    named = {"subclasses": list(subclasses), "classes": list(classes)}
    metadata = {key: names for key, names in named.items() if names}
    return TorchModel(name, name, module.eval(), chosen, shape=kept or None, metadata=metadata)


def check_network(model: TorchModel) -> None:
    """Refuse a model whose network does not give a logit per crop and class; one small pass.

    Raises:
        ModelError: the network gives something else.
    """
    crops = torch.zeros(TRIED, 3, model.format.size, model.format.size)
    with evaluating(model.module), torch.no_grad():
        found = network_of(model.module)(crops)
    _check_logits(model.name, found, TRIED, len(columns_of(model)) or 1)


def columns_of(model: TorchModel) -> tuple[str, ...]:
    """The names of the columns that its network gives, of subclasses or classes; () for one."""
    return names_of(model.module) or model.classes


def _check_logits(name: str, found: object, count: int, outputs: int) -> None:
    if isinstance(found, Tensor) and tuple(found.shape) == (count, outputs):
        return
    shown = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
    raise ModelError(
        f"{name}: its network gives {shown} for {count} crops, not ({count}, {outputs}); its"
        " build(outputs) must return a network that gives (crops, outputs)"
    )


def _try_side(name: str, module: nn.Module, size: int, usual: int) -> None:
    """Refuse an input side, pixels, that the network cannot take."""
    try:
        with torch.no_grad():
            module(torch.zeros(1, 3, size, size))
    except Exception as error:  # torch's, and whatever architectures raise themselves
        raise ConfigError(
            f"{name}: cannot take image_size={size} ({first_sentence(error)}); it is made for"
            f" {usual} px: leave image_size out, or choose another model"
        ) from error
