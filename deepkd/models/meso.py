"""Meso-4, a small published detector to compare with.

Afchar et al., "MesoNet", WIFS 2018, arXiv:1809.00888. Written from the paper: four convolutions
with ReLU, batch normalisation and max pooling, then 16 hidden units.
"""

import torch
from torch import Tensor, nn

from deepkd.models.spec import ModelSpec
from deepkd.models.students import reset_classifier
from deepkd.scoring.model import InputFormat

SIDE_PX = 256
"""Side of the published input; the hidden layer's width hangs on it."""
STAGES = ((3, 8, 3, 2), (8, 8, 5, 2), (8, 16, 5, 2), (16, 16, 5, 4))
"""Channels in and out, kernel, pooling of each convolution."""
HIDDEN, DROPOUT, SLOPE = 16, 0.5, 0.1
"""Hidden units, dropout before and after them, slope of their leaky ReLU below zero."""


class Meso4(nn.Module):
    """The published Meso-4 with 27,977 parameters, and a logit in place of its sigmoid."""

    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels, width, kernel, pool in STAGES:
            layers += [
                nn.Conv2d(channels, width, kernel, padding=kernel // 2),
                nn.ReLU(),
                nn.BatchNorm2d(width, eps=1e-3, momentum=0.01),
                nn.MaxPool2d(pool),
            ]
        self.features = nn.Sequential(*layers)
        self.hidden = nn.Linear(STAGES[-1][1] * (SIDE_PX // 32) ** 2, HIDDEN)
        self.dropout = nn.Dropout(DROPOUT)
        self.activation = nn.LeakyReLU(SLOPE)
        self.classifier = nn.Linear(HIDDEN, outputs)

    def get_classifier(self) -> nn.Linear:
        """The last layer."""
        return self.classifier

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, 256, 256), RGB, 0 to 1 -> logits (N, outputs)."""
        hidden = self.hidden(self.dropout(torch.flatten(self.features(image), 1)))
        return self.classifier(self.dropout(self.activation(hidden)))


def build_meso4(outputs: int = 1) -> nn.Module:
    """An untrained Meso-4 that starts at logit 0 for every crop."""
    return reset_classifier(Meso4(outputs), outputs)


MESO4 = ModelSpec(build_meso4, InputFormat(size=SIDE_PX, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)))
