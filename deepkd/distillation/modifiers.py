"""Modifiers: changes to logits, samples and labels before the losses see them."""

import dataclasses

import torch
from torch import Tensor

from deepkd.data.chance import share_of
from deepkd.data.crops import CropSet


def noisy(logits: Tensor, sigma: float, share: float) -> Tensor:
    """Multiply teacher logits by noise, `(1 + xi) z`, `xi ~ N(0, sigma^2)`, on a random `share`.

    A teacher that errs a little, as a regulariser (Sau & Balasubramanian 2016, arXiv:1610.09650);
    E[z'] = z. (N, ...) -> the same shape.
    """
    chosen = torch.rand(len(logits), device=logits.device) < share
    xi = sigma * torch.randn(len(logits), device=logits.device) * chosen
    return logits * (1 + xi.view(-1, *[1] * (logits.ndim - 1)))


def confidence(logits: Tensor) -> Tensor:
    """The confidence `|2 sigmoid(z) - 1|` of each logit, (N,) (after Mehta & Ozturk 2018)."""
    return (2 * logits.float().flatten().sigmoid() - 1).abs()


def mix(views: Tensor, labels: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Blend each sample with another by one share of the batch, `l ~ Beta(alpha, alpha)`.

    Zhang et al. 2018, arXiv:1710.09412.
    Views (N, 3, S, S) and labels (N,) -> the same shapes; a label that is missing stays missing.
    """
    share = torch.distributions.Beta(alpha, alpha).sample().item()
    order = torch.randperm(len(views), device=views.device)
    return share * views + (1 - share) * views[order], share * labels + (1 - share) * labels[order]


def with_labels_hidden(crops: CropSet, labelled_share: float) -> CropSet:
    """Hide the labels of all but about `labelled_share` of the families, always the same ones.

    The others are transfer data: they take the soft terms only (Bucila et al. 2006).
    """
    rows = [
        row
        if share_of(f"label of {row.original}") < labelled_share  # not the share that validates
        else dataclasses.replace(row, label="")
        for row in crops.rows
    ]
    return dataclasses.replace(crops, rows=rows)


def munge(features: Tensor, *, swap: float = 0.5, spread: float = 1.0, seed: int = 0) -> Tensor:
    """Draw new points near known ones, for transfer data in an embedding space.

    MUNGE, Bucila et al. 2006, fig. 2. Each feature of a point is, with probability `swap`,
    replaced by a draw from a normal distribution around its nearest neighbour's value, with their
    distance in that feature over `spread` as standard deviation. Not for pixels.

    Args:
        features: embeddings, (N, C), N at least 2.
        swap: probability per feature, 0 to 1.
        spread: the paper's `s`; larger stays closer.
        seed: of the draws.
    """
    generator = torch.Generator(device=features.device).manual_seed(seed)
    distances = torch.cdist(features, features)
    nearest = features[distances.fill_diagonal_(float("inf")).argmin(1)]
    chosen = torch.rand(features.shape, generator=generator, device=features.device) < swap
    noise = torch.randn(features.shape, generator=generator, device=features.device)
    return torch.where(chosen, nearest + noise * (features - nearest).abs() / spread, features)
