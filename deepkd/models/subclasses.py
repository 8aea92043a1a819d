"""Subclasses: a network that tells forgery methods apart, and its forgery logit."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from deepkd.errors import ConfigError

REAL_SUBCLASS = "REAL"
"""The column of real crops; a forgery's is called `FAKE/` and its method."""


def fake_subclass(method: str) -> str:
    """The name of the column of a forgery method."""
    return f"FAKE/{method}"


def forgery_logit(outputs: Tensor, fake_columns: Sequence[int]) -> Tensor:
    """The log-odds of FAKE; a class is as probable as its subclasses together.

    arXiv:2002.03936, sec. 2: `z = logsumexp(FAKE columns) - logsumexp(REAL columns)`, so
    `sigmoid(z)` is the sum of the FAKE columns' softmax.

    Args:
        outputs: a logit per subclass, (N, S).
        fake_columns: which of the S are FAKE; at least one is, and one is not.

    Returns:
        (N, 1), float32 or wider.
    """
    real_columns = [column for column in range(outputs.shape[1]) if column not in fake_columns]
    fake, real = (
        outputs[:, list(columns)].logsumexp(1, keepdim=True)
        for columns in (fake_columns, real_columns)
    )
    return fake - real


class Subclassed(nn.Module):
    """A network with a logit per subclass, read as one forgery logit: (N, 3, S, S) -> (N, 1)."""

    def __init__(self, network: nn.Module, names: Sequence[str]) -> None:
        """Take the names of the network's outputs, in order.

        Raises:
            ConfigError: a name twice, or not both REAL and FAKE among them.
        """
        super().__init__()
        self.network = network
        self.names = tuple(names)
        # A list, not a buffer: buffers are averaged over a training.
        self.fake_columns = [
            column for column, name in enumerate(names) if name.startswith(fake_subclass(""))
        ]
        if len(set(names)) < len(names) or not 0 < len(self.fake_columns) < len(names):
            raise ConfigError(
                f"subclasses {', '.join(names)}: takes distinct ones, both {REAL_SUBCLASS} and"
                " FAKE/METHOD"
            )

    def forward(self, views: Tensor) -> Tensor:
        """Normalised (N, 3, S, S) -> forgery logit (N, 1)."""
        return self.read(self.network(views))

    def read(self, outputs: Tensor) -> Tensor:
        """The forgery logit (N, 1) of the network's outputs (N, subclasses)."""
        return forgery_logit(outputs.float(), self.fake_columns)

    def fake_loss(self, outputs: Tensor, columns: Tensor) -> Tensor:
        """Mean of `-log P(subclass | FAKE)`; with the binary loss, the cross-entropy of all.

        By the chain rule `-log P(subclass) = -log P(FAKE) - log P(subclass | FAKE)`; the first term
        is the binary loss.

        Args:
            outputs: (N, subclasses).
            columns: each sample's subclass, (N,), -1 where it is unknown or REAL; these count as 0
                in the mean.
        """
        outputs = outputs.float()
        chosen = outputs.gather(1, columns.clamp_min(0)[:, None]).squeeze(1)
        return torch.where(
            columns >= 0, outputs[:, self.fake_columns].logsumexp(1) - chosen, 0.0
        ).mean()


def names_of(module: nn.Module) -> tuple[str, ...]:
    """The names of a network's subclasses; () where it has none."""
    return module.names if isinstance(module, Subclassed) else ()


def network_of(module: nn.Module) -> nn.Module:
    """The network that gives a logit per subclass; the module itself where it has none."""
    return module.network if isinstance(module, Subclassed) else module


def outputs_and_logit(module: nn.Module, views: Tensor) -> tuple[Tensor, Tensor]:
    """A logit per subclass, (N, S), and the forgery logit, (N, 1); without subclasses the same."""
    if isinstance(module, Subclassed):
        outputs = module.network(views)
        return outputs, module.read(outputs)
    logit = module(views)
    return logit, logit
