"""Perceptrons with two hidden layers, as on MNIST in Hinton et al. 2015, arXiv:1503.02531."""

from functools import partial

from torch import Tensor, nn

from deepkd.models.spec import ModelSpec
from deepkd.scoring.model import InputFormat

MNIST_FORMAT = InputFormat(size=28, mean=(0.1307,) * 3, std=(0.3081,) * 3)
"""Mean and deviation of the training pictures of MNIST, in each of the three equal channels."""


class Perceptron(nn.Module):
    """Two hidden layers of rectified units on the grey picture: (N, 3, 28, 28) -> (N, outputs).

    Taps: `layers.1` and `layers.4` show the features (N, units) of the hidden layers.
    """

    def __init__(self, units: int, dropout: tuple[float, float], outputs: int = 1) -> None:
        """Make an untrained one.

        Args:
            units: of each hidden layer.
            dropout: probability at the picture, and at the hidden layers.
            outputs: logits.
        """
        super().__init__()
        at_picture, at_hidden = dropout
        self.drop = nn.Dropout(at_picture)
        self.layers = nn.Sequential(
            nn.Linear(MNIST_FORMAT.size**2, units), nn.ReLU(), nn.Dropout(at_hidden),
            nn.Linear(units, units), nn.ReLU(), nn.Dropout(at_hidden),
        )  # fmt: skip
        self.head = nn.Linear(units, outputs)

    def forward(self, views: Tensor) -> Tensor:
        """(N, 3, 28, 28), normalised -> logits (N, outputs)."""
        logits: Tensor = self.head(self.layers(self.drop(views.mean(1).flatten(1))))
        return logits


def _build(units: int, dropout: tuple[float, float], outputs: int = 1) -> nn.Module:
    return Perceptron(units, dropout, outputs)


def _spec(units: int, dropout: tuple[float, float] = (0.0, 0.0)) -> ModelSpec:
    return ModelSpec(partial(_build, units, dropout), MNIST_FORMAT)


MLP_800, MLP_1200 = _spec(800), _spec(1200)
MLP_1200_DROPOUT = _spec(1200, (0.2, 0.5))
"""The teacher; the shares of Hinton et al. 2012, arXiv:1207.0580, sec. 2."""
