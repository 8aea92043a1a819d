"""Small untrained networks that behave like trained ones: every layer matters, and logits differ
from crop to crop."""

from dataclasses import replace

import torch
from torch import nn

from deepkd.models.cross_efficient_vit import CROSS_EFFICIENT_VIT
from deepkd.models.efficient_vit import EFFICIENT_VIT
from deepkd.models.registry import TorchModel, build_model
from deepkd.models.spec import ModelSpec
from deepkd.scoring.model import InputFormat


def random_model(name: str = "nano") -> TorchModel:
    """A student at 64 pixels with random batch norms and classifier, called trained."""
    torch.manual_seed(0)
    model = build_model(name, image_size=64)
    for layer in model.module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.2)
    nn.init.normal_(model.module.get_classifier().weight, 0, 0.2)  # type: ignore[operator]
    model.trained = True
    return model


class Resampled(nn.Module):
    """A network with an operator that ONNX's opset has no name for."""

    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        self.classifier = nn.Linear(3, outputs)

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        smaller = nn.functional.interpolate(views, size=16, mode="bicubic", antialias=True)
        return self.classifier(smaller.mean((2, 3)))


RESAMPLED = ModelSpec(Resampled, InputFormat(size=64))
SLIM_CROSS_EFFICIENT_VIT = replace(
    CROSS_EFFICIENT_VIT, shape={"sm_dim": 24, "lg_dim": 32, "depth": 1}
)
SLIM_EFFICIENT_VIT = replace(EFFICIENT_VIT, shape={"dim": 64, "depth": 2, "mlp_dim": 128})


def milliseconds(model: TorchModel) -> float:
    """A clock that does not depend on the machine: one for a million multiply-accumulates."""
    return model.macs / 1e6
