"""Features: the input of a model's last layer, drawn in the plane, and how far it clusters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from deepkd.errors import DataError, ModelError
from deepkd.scoring.model import raw_logits

if TYPE_CHECKING:
    from deepkd.evaluation.scores import Crops
    from deepkd.models.registry import TorchModel
    from deepkd.scoring.model import CropModel

Array = npt.NDArray[np.float64]
PERPLEXITY = 30.0
"""Of t-SNE: about how many neighbours a crop has; fewer where there are few crops."""
KMEANS_STARTS = 10
"""Random starts of k-means, of which the best counts."""
FEWEST = 5
"""Crops below which a picture of neighbourhoods means nothing."""


@dataclass(frozen=True)
class Features:
    """The penultimate features of one model on some labelled crops."""

    points: Array
    """Where t-SNE puts each crop in the plane, (crops, 2), without a unit."""
    labels: Array
    """1 is FAKE, 0 is REAL, (crops,)."""
    v_score: float
    """How far k-means on the features finds the labels, 0 to 1 (see `v_score`)."""


def features_of(
    models: "Sequence[CropModel]", crops: "Crops", *, limit: int, seed: int, batch: int
) -> list[Features]:
    """The features of several models on the same labelled crops.

    Args:
        models: torch models; see `check_features`.
        crops: rows without a label are left out.
        limit: crops at most, drawn at random.
        seed: of the draw, of t-SNE and of k-means.
        batch: crops decoded together.

    Raises:
        ModelError: a model has no features.
        DataError: fewer than five labelled crops, or all of one label.
    """
    known = check_features(models)
    chosen = _draw_rows([index for index, row in enumerate(crops.rows) if row.label], limit, seed)
    labels = np.array([float(crops.rows[index].label == "FAKE") for index in chosen])
    if len(np.unique(labels)) < 2:
        raise DataError(
            f"all {len(chosen)} crops are {crops.rows[chosen[0]].label}; features are compared by"
            " label"
        )
    parts: list[list[Array]] = [[] for _ in known]
    for start in range(0, len(chosen), batch):
        images = [crops.image(index) for index in chosen[start : start + batch]]
        for part, model in zip(parts, known, strict=True):
            part.append(penultimate(model, images))
    joined = [np.concatenate(part) for part in parts]
    return [Features(in_the_plane(one, seed), labels, v_score(one, labels, seed)) for one in joined]


def check_features(models: "Sequence[CropModel]") -> "list[TorchModel]":
    """The models, all of which are torch models.

    Raises:
        ModelError: one is an ONNX file, which gives its logit only.
    """
    from deepkd.models.registry import TorchModel

    known = [model for model in models if isinstance(model, TorchModel)]
    for model in models:
        if not isinstance(model, TorchModel):
            advice = "give its run folder or .safetensors, or leave --features out"
            raise ModelError(
                f"{model.name}: an ONNX file gives its logit only, no features; {advice}"
            )
    return known


def _draw_rows(labelled: Sequence[int], limit: int, seed: int) -> list[int]:
    if len(labelled) < FEWEST:
        raise DataError(
            f"features of {len(labelled)} labelled crops say nothing; give at least {FEWEST}"
        )
    if len(labelled) <= limit:
        return list(labelled)
    return sorted(np.random.default_rng(seed).choice(labelled, limit, replace=False).tolist())


def penultimate(model: "TorchModel", images: Sequence[npt.NDArray[np.uint8]]) -> Array:
    """What goes into the linear layer that gives the logits, (images, channels).

    Where several such layers add up, as the two branches of the Cross Efficient ViT do, their
    inputs are joined.

    Args:
        model: a torch model.
        images: RGB, uint8, any size.

    Raises:
        ModelError: no linear layer of the network gives its logits.
    """
    from torch import nn

    from deepkd.models.registry import columns_of

    outputs = len(columns_of(model)) or 1
    heads = [
        part
        for part in model.module.modules()
        if isinstance(part, nn.Linear) and part.out_features == outputs
    ]
    seen: dict[Any, list[Array]] = {head: [] for head in heads}

    def keep(head: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen[head].append(inputs[0].flatten(1).double().cpu().numpy())

    hooks = [head.register_forward_pre_hook(keep) for head in heads]
    try:
        raw_logits(model, images)
    finally:
        for hook in hooks:
            hook.remove()
    found = [np.concatenate(parts) for parts in seen.values() if parts]
    if not found:
        raise ModelError(
            f"{model.name}: no linear layer gives its logits, so its features are not known"
        )
    return np.concatenate(found, axis=1)


def in_the_plane(features: Array, seed: int) -> Array:
    """t-SNE of the features (van der Maaten and Hinton 2008): (N, channels) -> (N, 2)."""
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    return np.asarray(
        TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(features), float
    )


def v_score(features: Array, labels: Array, seed: int) -> float:
    """V-measure between the labels and k-means clusters of the features, one per label.

    Rosenberg and Hirschberg 2007.

    The harmonic mean of how far each cluster holds one label only and each label lies in one
    cluster only: 1 where the clusters are the labels, about 0 where they have nothing to do with
    them.

    Args:
        features: (N, channels).
        labels: (N,).
        seed: of the starts of k-means.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import v_measure_score

    clusters = KMeans(len(np.unique(labels)), n_init=KMEANS_STARTS, random_state=seed).fit_predict(
        features
    )
    return float(v_measure_score(labels, clusters))
