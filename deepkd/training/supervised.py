"""Training on labels alone: what a teacher gets, and a student without one."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from deepkd.data.classes import ClassSet, is_class_data
from deepkd.data.clips import Warn
from deepkd.data.crops import CropSet
from deepkd.data.families import list_inherited, training_record
from deepkd.data.leakage import check_held_out
from deepkd.data.mixture import Data, list_sources, load_data
from deepkd.data.sampling import keep_labelled
from deepkd.errors import ConfigError, DataError, ModelError
from deepkd.models.checkpoints import load_checkpoint
from deepkd.models.outside import allow_code
from deepkd.models.registry import TorchModel, build_model, check_network, normalise
from deepkd.models.subclasses import (
    REAL_SUBCLASS,
    Subclassed,
    fake_subclass,
    names_of,
    outputs_and_logit,
)
from deepkd.settings.training import TrainConfig, TrainingConfig
from deepkd.training.engine import fit
from deepkd.training.objective import Objective
from deepkd.training.progress import Progress
from deepkd.training.validation import CLASSES

FOR_FORGERIES = (
    "self_blend",
    "face_swap",
    "subclasses",
    "sample_weight",
    "blends_by_label",
)
"""Settings that mean nothing for pictures of classes."""
Settings = TypeVar("Settings", bound=TrainingConfig)


class Supervised(Objective):
    """Binary cross-entropy with label smoothing on the model's own input format.

    With subclasses, also `-log P(method | FAKE)` of the forgeries whose method is known.
    """

    def __init__(
        self, model: TorchModel, label_smoothing: float, *, columns: Tensor | None = None
    ) -> None:
        """Take each row's subclass, (rows,), -1 for REAL or unknown, where the model has some."""
        super().__init__()
        self.module = model.module
        self.format = model.format
        self.view_px = model.format.size
        self.label_smoothing = label_smoothing
        # A forgery that is made while training has the row NO_ROW, -1, and no known subclass.
        self.columns = None if columns is None else F.pad(columns, (0, 1), value=-1)

    def forward(self, views: Tensor, labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        """Compute `total`, `bce` and, with subclasses, `subclass`; arguments as in `Objective`."""
        outputs, logits = outputs_and_logit(self.module, normalise(views, self.format))
        bce = F.binary_cross_entropy_with_logits(
            logits.flatten().float(), smooth(labels, self.label_smoothing)
        )
        if self.columns is None or not isinstance(self.module, Subclassed):
            return {"total": bce, "bce": bce}
        within = self.module.fake_loss(outputs, self.columns[rows].to(outputs.device))
        return {"total": bce + within, "bce": bce, "subclass": within}


class Classification(Objective):
    """Cross-entropy with label smoothing over the classes of a model."""

    task = CLASSES

    def __init__(self, model: TorchModel, label_smoothing: float) -> None:
        super().__init__()
        self.module = model.module
        self.format = model.format
        self.view_px = model.format.size
        self.label_smoothing = label_smoothing

    def forward(self, views: Tensor, labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        """Compute `total` and `ce`; labels are the numbers of classes."""
        logits = self.module(normalise(views, self.format)).float()
        ce = F.cross_entropy(logits, labels.long(), label_smoothing=self.label_smoothing)
        return {"total": ce, "ce": ce}


def smooth(labels: Tensor, share: float) -> Tensor:
    """Labels moved toward the other class by `share` (Szegedy et al. 2016, eq. 3, two classes)."""
    return labels * (1 - share) + 0.5 * share


def start_model(
    name: str,
    config: TrainingConfig,
    *,
    subclasses: Sequence[str] | None = None,
    classes: Sequence[str] = (),
) -> TorchModel:
    """The model to train: fresh, or with the weights and input format of `config.init`.

    Its recipe is what `config.init` knows of its own training data.

    Args:
        name: a key of `MODELS` or a timm classifier.
        config: seed, input side, what to start from.
        subclasses: those that it must tell apart; None takes those of `config.init`, and none for a
            fresh model.
        classes: those of the pictures, in place of REAL and FAKE.

    Raises:
        ConfigError: an unknown model.
        ModelError: the network does not give one logit per class; `init` is not a checkpoint of
            that architecture, or tells other subclasses apart.
    """
    if config.model_code:
        allow_code(config.model_code)
    torch.manual_seed(config.seed)
    if not config.init:
        size = config.image_size
        fresh = build_model(name, image_size=size, subclasses=subclasses or (), classes=classes)
        check_network(fresh)
        return fresh
    source = load_checkpoint(config.init, allow_untrained=True)
    _check_start(source, name, config, subclasses, classes)
    has, size, shape = names_of(source.module), config.image_size, source.shape
    model = build_model(
        name,
        format=source.format,
        image_size=size,
        shape=shape,
        subclasses=has,
        classes=source.classes,
    )
    model.module.load_state_dict(source.module.state_dict())
    model.metadata |= {key: source.metadata[key] for key in ("pruned",) if key in source.metadata}
    model.metadata["recipe"] = list_inherited(source)
    return model


def _check_start(
    source: TorchModel,
    name: str,
    config: TrainingConfig,
    subclasses: Sequence[str] | None,
    classes: Sequence[str],
) -> None:
    """Refuse a start of another architecture, or with other outputs."""
    if source.architecture != name:
        found = source.architecture
        raise ModelError(
            f"{config.init}: holds a {found}, not a {name}; give a checkpoint of the same model"
        )
    if source.classes != tuple(classes):
        known, wanted = (", ".join(names) or "REAL and FAKE" for names in (source.classes, classes))
        raise ModelError(f"{config.init}: tells {known} apart, not {wanted}; start from another")
    has = names_of(source.module)
    if subclasses is not None and has != tuple(subclasses):
        known, wanted = (", ".join(names) or "none" for names in (has, subclasses))
        raise ModelError(
            f"{config.init}: its subclasses are {known}, not {wanted}; start from another"
            " checkpoint"
        )


def subclasses_in(crops: CropSet) -> tuple[str, ...]:
    """REAL, and a subclass for each forgery method of the FAKE rows, in alphabetical order.

    Raises:
        DataError: no FAKE row names its method.
    """
    methods = sorted({row.method for row in crops.rows if row.label == "FAKE" and row.method})
    if not methods:
        raise DataError(
            "subclasses=method, but no FAKE row of the index names its method; fill that column or"
            " leave it"
        )
    return (REAL_SUBCLASS, *map(fake_subclass, methods))


def subclass_columns(crops: CropSet, subclasses: Sequence[str]) -> Tensor:
    """Each row's place among the subclasses, (rows,); -1 for REAL and for unknown methods."""
    places = {name: column for column, name in enumerate(subclasses)}
    named = [fake_subclass(row.method) if row.label == "FAKE" else "" for row in crops.rows]
    return torch.tensor([places.get(name, -1) for name in named])


def class_labels(crops: CropSet, subclasses: Sequence[str]) -> Tensor | None:
    """Each row's place among the subclasses, (rows,), NaN where it is unknown; None without any."""
    if not subclasses:
        return None
    columns = subclass_columns(crops, subclasses).float()
    columns[columns < 0] = torch.nan
    if REAL_SUBCLASS in subclasses:
        real = torch.tensor([row.label == "REAL" for row in crops.rows])
        columns[real] = subclasses.index(REAL_SUBCLASS)
    return columns


def train(
    data: Data,
    run: Path,
    config: TrainConfig,
    *,
    resume: bool = False,
    report: Callable[[Progress], None] = lambda progress: None,
    warn: Warn = lambda message: None,
) -> TorchModel:
    """Train a model on the split `train` of one or more folders of crops.

    Weights are chosen by the AUC on their split `val`.

    `warn` is told what `check_held_out` finds odd.

    Raises:
        DataError: the index or a split is wrong; see `train_on`.
        ConfigError, ModelError, OutputError, TrainingError: see `start_model` and `fit`.
    """
    train_crops, val_crops = load_splits(data, config)
    return train_on(train_crops, val_crops, run, config, resume=resume, report=report, warn=warn)


def train_on(
    train_crops: CropSet,
    val_crops: CropSet,
    run: Path,
    config: TrainConfig,
    *,
    resume: bool = False,
    report: Callable[[Progress], None] = lambda progress: None,
    warn: Warn = lambda message: None,
) -> TorchModel:
    """Train a model on the crops that have a label; the AUC on `val_crops` chooses weights.

    Of a start with subclasses, unless the settings ask for them, only the forgery logit is trained.

    Raises:
        DataError: a label is missing altogether, the splits share originals, or the crops name no
            method where the settings ask for subclasses.
        ConfigError, ModelError, OutputError, TrainingError: see `start_model` and `fit`.
    """
    train_crops = keep_labelled(train_crops)
    if isinstance(train_crops, ClassSet):
        return _train_classes(train_crops, val_crops, run, config, resume=resume, report=report)
    subclasses = subclasses_in(train_crops) if config.subclasses == "method" else None
    model = start_model(config.model, config, subclasses=subclasses)
    earlier = model.metadata.get("recipe", {})
    check_held_out(train_crops, val_crops, [(f"the start {config.init}", earlier)], warn=warn)
    model.metadata["recipe"] = {**config.to_metadata(), **training_record(train_crops, [earlier])}
    columns = None if subclasses is None else subclass_columns(train_crops, subclasses)
    objective = Supervised(model, config.label_smoothing, columns=columns)
    return fit(model, objective, train_crops, val_crops, config, run, resume=resume, report=report)


def _train_classes(
    pictures: ClassSet,
    val: CropSet,
    run: Path,
    config: TrainConfig,
    *,
    resume: bool,
    report: Callable[[Progress], None],
) -> TorchModel:
    """Train a model to tell classes apart; the accuracy on `val` chooses weights."""
    settings = settings_for_classes(config)
    model = start_model(config.model, settings, classes=pictures.classes)
    check_held_out(pictures, val, [], warn=lambda message: None)
    model.metadata["recipe"] = {**settings.to_metadata(), "index_sha256": pictures.index_sha256()}
    objective = Classification(model, settings.label_smoothing)
    return fit(model, objective, pictures, val, settings, run, resume=resume, report=report)


def settings_for_classes(config: Settings) -> Settings:
    """The settings with those replaced that make pairs of REAL and FAKE by default.

    Raises:
        ConfigError: a setting is given that is about forgeries only.
    """
    given = [
        f"{item.name}={getattr(config, item.name)}"
        for item in dataclasses.fields(config)
        if item.name in FOR_FORGERIES and getattr(config, item.name) != item.default
    ]
    if given or config.sampling == "balanced":
        named = ", ".join(given) or "sampling=balanced"
        raise ConfigError(f"{named}: is about REAL and FAKE; pictures of classes do not take it")
    return config.replace(sampling="shuffled")


def load_splits(data: Data, config: TrainingConfig) -> tuple[CropSet, CropSet]:
    """What to train on and what to validate on.

    Raises:
        DataError: the data or a split is wrong.
    """
    held_out = "train+val" if config.val_split != "val" else "train"
    split = held_out if is_class_data(list_sources(data)[0].path) else "train"
    return (
        load_data(data, split, limit=config.limit),
        load_data(data, config.val_split, limit=config.val_limit),
    )
