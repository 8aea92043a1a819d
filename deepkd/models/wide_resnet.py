"""Wide residual networks for small pictures (Zagoruyko & Komodakis 2016, arXiv:1605.07146)."""

from functools import partial
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from deepkd.models.spec import ModelSpec
from deepkd.scoring.model import InputFormat

CIFAR_FORMAT = InputFormat(size=32, mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616))
"""Mean and deviation of the training pictures of CIFAR-10."""


class Block(nn.Module):
    """The pre-activation block of fig. 1a: two 3 x 3 convolutions."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(channels_in), nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        same = channels_in == channels and stride == 1
        self.shortcut = None if same else nn.Conv2d(channels_in, channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, H, W) -> (N, channels, H / stride, W / stride)."""
        y = F.relu(self.bn1(x))
        short = x if self.shortcut is None else self.shortcut(y)
        return short + self.conv2(F.relu(self.bn2(self.conv1(y))))


class WideResNet(nn.Module):
    """WideResNet of depth 6 n + 4 (table 1).

    Taps: `groups.0`, `groups.1`, `groups.2` give the maps of the three groups (16 x width channels
    at the full side, 32 at half, 64 at a quarter of it), `pool` the features (N, 64 x width).
    """

    def __init__(self, depth: int, width: int, outputs: int = 1) -> None:
        """Make an untrained one.

        Args:
            depth: layers with weights, 6 n + 4.
            width: how many times as wide as a ResNet.
            outputs: logits.
        """
        super().__init__()
        channels = [16, 16 * width, 32 * width, 64 * width]
        self.stem = nn.Conv2d(3, channels[0], 3, 1, 1, bias=False)
        self.groups = nn.ModuleList()
        for group, (before, after) in enumerate(pairwise(channels)):
            blocks = [
                Block(after if i else before, after, 2 if group and not i else 1)
                for i in range((depth - 4) // 6)
            ]
            self.groups.append(nn.Sequential(*blocks))
        self.bn = nn.BatchNorm2d(channels[-1])
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(channels[-1], outputs)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, views: Tensor) -> Tensor:
        """(N, 3, S, S), normalised, S a multiple of 4 -> logits (N, outputs)."""
        x = self.stem(views)
        for group in self.groups:
            x = group(x)
        logits: Tensor = self.head(self.pool(F.relu(self.bn(x))))
        return logits


def _spec(depth: int, width: int) -> ModelSpec:
    return ModelSpec(partial(_build, depth, width), CIFAR_FORMAT)


def _build(depth: int, width: int, outputs: int = 1) -> nn.Module:
    return WideResNet(depth, width, outputs)


WRN_16_1, WRN_16_3 = _spec(16, 1), _spec(16, 3)
