"""Training on labels alone: what a teacher gets, and a student without one."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from deepkd.data.crops import load_crops
from deepkd.data.families import training_record
from deepkd.errors import ModelError
from deepkd.models.checkpoints import load_checkpoint
from deepkd.models.registry import TorchModel, build_model, normalise
from deepkd.settings import TrainConfig, TrainingConfig
from deepkd.training.engine import Objective, Progress, fit


class Supervised(Objective):
    """Binary cross-entropy with label smoothing on the model's own input format."""

    def __init__(self, model: TorchModel, label_smoothing: float) -> None:
        super().__init__()
        self.module = model.module
        self.format = model.format
        self.view_px = model.format.size
        self.label_smoothing = label_smoothing

    def forward(self, views: Tensor, labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        """Views (N, 3, view_px, view_px) in [0, 1], labels (N,) -> `total`, `bce`."""
        logits = self.module(normalise(views, self.format)).flatten().float()
        bce = F.binary_cross_entropy_with_logits(logits, smoothed(labels, self.label_smoothing))
        return {"total": bce, "bce": bce}


def smoothed(labels: Tensor, share: float) -> Tensor:
    """Labels moved toward the other class by `share` (Szegedy et al. 2016, eq. 3, two classes)."""
    return labels * (1 - share) + 0.5 * share


def start_model(name: str, config: TrainingConfig) -> TorchModel:
    """The model to train: fresh, or with the weights and input format of `config.init`.

    Raises:
        ConfigError: an unknown model.
        ModelError: `init` is not a checkpoint of that architecture.
    """
    torch.manual_seed(config.seed)
    if not config.init:
        return build_model(name, image_size=config.image_size)
    source = load_checkpoint(config.init, allow_untrained=True)
    model = build_model(name, format=source.format, image_size=config.image_size)
    if source.architecture != model.architecture:
        found, wanted = source.architecture, model.architecture
        raise ModelError(f"{config.init}: holds a {found}, not a {wanted}; give a checkpoint of the same model")
    model.module.load_state_dict(source.module.state_dict())
    return model


def train(
    data: Path,
    run: Path,
    config: TrainConfig,
    *,
    resume: bool = False,
    report: Callable[[Progress], None] = lambda progress: None,
) -> TorchModel:
    """Train a model on the split `train` of an index, choosing weights by the AUC on its split `val`.

    Raises:
        DataError: the index or a split is wrong.
        ConfigError, ModelError, OutputError, TrainingError: see `start_model` and `fit`.
    """
    train_crops = load_crops(data, "train", limit=config.limit)
    val_crops = load_crops(data, "val", limit=config.val_limit)
    model = start_model(config.model, config)
    model.metadata["recipe"] = {**config.recipe(), **training_record(train_crops)}
    objective = Supervised(model, config.label_smoothing)
    return fit(model, objective, train_crops, val_crops, config, run, resume=resume, report=report)
