"""Runs: train, distill, load and evaluate models from Python.

Functions take the settings of the command with the same name. PyTorch is imported when a function
needs it.
"""

import dataclasses
import inspect
import os
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from deepkd.config import Config, build_config, load_config
from deepkd.settings.distillation import DistillConfig
from deepkd.settings.evaluation import EvaluateConfig
from deepkd.settings.training import TrainConfig
from deepkd.shipped import recipe_file

if TYPE_CHECKING:
    from deepkd.compression.gradual import Follow
    from deepkd.data.mixture import Data
    from deepkd.models.registry import TorchModel
    from deepkd.scoring.model import Scorer
    from deepkd.training.progress import Progress

AnyPath = str | os.PathLike[str]
C = TypeVar("C", bound=Config)
F = TypeVar("F", bound=Callable[..., Any])
STUDENT = "student distilled"
"""Name of the student among the models of a distillation."""


@dataclass(frozen=True)
class Run:
    """A finished training: the folder with its weights. It is accepted in place of a path."""

    path: Path
    name: str
    """Name of the model."""
    params: int
    """Number of parameters."""
    auc: float | None
    """Validation AUC of the saved weights; None for a model that tells classes apart."""
    log_loss: float
    """Validation log loss of the saved weights."""
    epoch: int
    """Epoch of the saved weights, counted from 1."""
    accuracy: float | None = None
    """Validation accuracy of a model that tells classes apart."""

    def __fspath__(self) -> str:
        return str(self.path)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**dataclasses.asdict(self), "path": str(self.path)}


@dataclass(frozen=True)
class EvaluationResult:
    """Figures of one model on labelled crops or videos; None where the data cannot give a figure.

    Rows are crops, or videos where the data has no crops.
    """

    name: str
    """Of the model."""
    rows: int
    auc: float | None
    log_loss: float | None
    eer: float | None
    """Equal error rate: at the threshold where both classes have the same error rate."""
    accuracy: float | None
    """Share of the rows with the right label at the model's threshold."""
    document: dict[str, Any] = dataclasses.field(repr=False)
    """Every figure with its 95% interval, as `deepkd evaluate --format json` prints them."""

    def to_dict(self) -> dict[str, Any]:
        """The document of schema deepkd.evaluate/1."""
        return self.document


def takes_settings(kind: type[Config], *, without: tuple[str, ...] = ()) -> Callable[[F], F]:
    """Show the settings of `kind` in a function's signature, in place of its `**settings`."""

    def decorate(function: F) -> F:
        hints = typing.get_type_hints(kind)
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        named = {*without, *(p.name for p in own)}
        shown = [
            inspect.Parameter(
                item.name, inspect.Parameter.KEYWORD_ONLY,
                default=item.default, annotation=hints[item.name],
            )
            for item in dataclasses.fields(kind) if item.name not in named
        ]  # fmt: skip
        function.__signature__ = signature.replace(parameters=[*own, *shown])  # type: ignore[attr-defined]
        return function

    return decorate


@takes_settings(TrainConfig)
def train(
    data: AnyPath | Sequence[AnyPath],
    *,
    out: AnyPath,
    model: str | None = None,
    epochs: int | None = None,
    config: TrainConfig | AnyPath | None = None,
    resume: bool = False,
    **settings: Any,
) -> Run:
    """Train a model on labelled crops.

    Args:
        data: one or more folders of crops with splits `train` and `val`.
        out: folder of the run, for weights, metrics and settings.
        model: a model's name; cross-efficient-vit unless set.
        epochs: passes over the crops; 10 unless set.
        config: settings to start from, or a TOML file of them.
        resume: go on with the run in `out` where it stopped, or, with more `epochs`, past its end.
        settings: any setting of `deepkd train`, such as `batch=64`.

    Returns:
        The run, which `distill`, `evaluate` and `load_model` accept as a model.

    Raises:
        ConfigError: a setting is unknown or has a wrong value.
        DataError: the index or a split is wrong.
        OutputError: `out` holds a run already, or cannot be written.
        TrainingError: the training cannot go on, e.g. its loss is not finite.

    Example:
        >>> run = deepkd.train("crops", model="pico", out="runs/teacher", epochs=1, batch=8)
        >>> 0 <= run.auc <= 1
        True
    """
    chosen = _config(TrainConfig, config, model=model, epochs=epochs, **settings)
    return _run(Path(out), train_model(_paths(data), Path(out), chosen, resume=resume))


@takes_settings(DistillConfig)
def distill(
    data: AnyPath | Sequence[AnyPath],
    *,
    teacher: AnyPath | Sequence[AnyPath],
    out: AnyPath,
    student: str | None = None,
    epochs: int | None = None,
    config: DistillConfig | AnyPath | None = None,
    resume: bool = False,
    **settings: Any,
) -> Run:
    """Distill a teacher into a small student.

    Writes the student's run, with `model.onnx` for `Detector`. With `alone` the student is also
    trained without the teacher, in the folder `alone` of `out`.

    Args:
        data: one or more folders of crops with splits `train` and `val`.
        teacher: a run or checkpoint, or several, whose logits are averaged.
        out: folder of the student's run.
        student: a model's name; nano unless set.
        epochs: passes over the crops; 10 unless set.
        config: settings to start from, a TOML file of them, or a recipe's name.
        resume: go on with the run in `out` where it stopped, or, with more `epochs`, past its end.
        settings: any setting of `deepkd distill`, such as `alpha=0.5`.

    Returns:
        The student's run.

    Raises:
        ConfigError, DataError, OutputError, TrainingError: see `train`.
        ModelError: a teacher is missing, damaged or untrained.

    Example:
        >>> student = deepkd.distill(
        ...     "crops", teacher="teacher", student="pico", out="runs/student", epochs=1, batch=8
        ... )
        >>> deepkd.Detector(model="runs/student/model.onnx").scorer.params == student.params
        True
    """
    chosen = _config(DistillConfig, config, student=student, epochs=epochs, **settings)
    models = distill_models(_paths(teacher), _paths(data), Path(out), chosen, resume=resume)
    return _run(Path(out), models[STUDENT])


@takes_settings(EvaluateConfig, without=("format", "features_limit"))
def evaluate(
    model: AnyPath,
    data: AnyPath,
    *,
    split: str | None = None,
    config: EvaluateConfig | AnyPath | None = None,
    **settings: Any,
) -> EvaluationResult:
    """Measure a model on labelled crops or videos.

    Args:
        model: a run, a checkpoint, an ONNX file, or a shipped model's name.
        data: folder of crops, of pictures in SPLIT/CLASS/, or of videos.
        split: split to measure on, `test` unless set; `all` takes everything.
        config: settings to start from, or a TOML file of them.
        settings: any setting of `deepkd evaluate`, such as `resamples=0`.

    Raises:
        ConfigError: a setting is unknown or has a wrong value.
        DataError: the data cannot be used, e.g. the model was trained on it.
        ModelError: the model cannot be used.

    Example:
        >>> result = deepkd.evaluate("deepkd-nano", "crops", split="test", resamples=0)
        >>> result.rows, result.to_dict()["schema"]
        (4, 'deepkd.evaluate/1')
    """
    from deepkd.evaluation.evaluate import evaluate_files, to_document

    chosen = _config(EvaluateConfig, config, data=Path(data), split=split, **settings)
    (found,) = evaluate_files([os.fspath(model)], chosen)
    figures = found.whole
    return EvaluationResult(
        found.name,
        figures.rows,
        auc=figures.auc.value,
        log_loss=figures.log_loss.value,
        eer=figures.eer.value,
        accuracy=figures.accuracy.value,
        document=to_document([found], chosen).to_dict(),
    )


def load_model(
    name_or_path: AnyPath, *, runtime: str = "onnxruntime", device: str = "cpu"
) -> "Scorer | TorchModel":
    """Load a model whose `logits` scores crops.

    An ONNX file or a shipped model needs no PyTorch; a run or a checkpoint does.

    Args:
        name_or_path: a shipped model's name, an ONNX file, a run or a checkpoint.
        runtime: library that runs an ONNX file.
        device: device of a PyTorch model.

    Returns:
        A model with `name`, `format`, `params` and `logits(crops)`: RGB uint8 crops (H, W, 3) of
        any size give one forgery logit each, (N,).

    Raises:
        ModelError: it is missing, damaged, of another kind, or untrained.

    Example:
        >>> import numpy as np
        >>> model = deepkd.load_model("deepkd-nano")
        >>> model.logits([np.zeros((160, 160, 3), np.uint8)]).shape
        (1,)
    """
    from deepkd.scoring.model import Scorer, is_onnx

    path = os.fspath(name_or_path)
    if is_onnx(path):
        return Scorer.load(path, runtime=runtime)
    from deepkd.models.checkpoints import load_checkpoint

    return load_checkpoint(Path(path), device=device)


@contextmanager
def _ignore_progress(run: Path, title: str) -> Iterator[Callable[["Progress"], None]]:
    """Ignore the progress of a training."""
    yield lambda progress: None


def _ignore_warning(text: str) -> None:
    """Ignore a warning."""


def train_model(
    data: "Data",
    out: Path,
    config: TrainConfig,
    *,
    resume: bool = False,
    follow: "Follow" = _ignore_progress,
    warn: Callable[[str], None] = _ignore_warning,
) -> "TorchModel":
    """Train a model on labelled crops; `train` and the command call this.

    Args:
        data: folders of crops.
        out: folder of the run.
        config: settings.
        resume: go on with the run in `out`.
        follow: see `deepkd.compression.gradual.Follow`.
        warn: takes each warning.

    Raises: see `train`.
    """
    from deepkd.training.supervised import train

    with follow(out, "train") as report:
        return train(data, out, config, resume=resume, report=report, warn=warn)


def distill_models(
    teachers: Sequence[Path],
    data: "Data",
    out: Path,
    config: DistillConfig,
    *,
    resume: bool = False,
    follow: "Follow" = _ignore_progress,
    warn: Callable[[str], None] = _ignore_warning,
) -> "Mapping[str, TorchModel]":
    """Distill a student and export it; with `alone`, also train it without a teacher.

    `distill` and the command call this.

    Args:
        teachers: runs or checkpoints.
        data: folders of crops.
        out: folder of the student's run.
        config: settings.
        resume: go on with the run in `out`.
        follow: see `deepkd.compression.gradual.Follow`.
        warn: takes each warning.

    Returns:
        The models to compare by their names: teachers, `STUDENT` and perhaps `student alone`.

    Raises: see `distill`.
    """
    from deepkd.distillation.distiller import distill, train_alone
    from deepkd.models.export import export_onnx
    from deepkd.models.outside import allow_code
    from deepkd.training.processes import leads

    if config.model_code:
        allow_code(config.model_code)
    loaded = [_load_teacher(path, data) for path in teachers]
    with follow(out, "distill") as report:
        student = distill(loaded, data, out, config, resume=resume, report=report, warn=warn)
    if leads():
        export_onnx(student, out / "model.onnx")
    models = {f"teacher {number}": model for number, model in enumerate(loaded, 1)}
    models = {"teacher": models.pop("teacher 1"), **models, STUDENT: student}
    if config.alone:
        alone = out / "alone"
        with follow(alone, "train alone") as report:
            models["student alone"] = train_alone(data, alone, config, resume=resume, report=report)
    return models


def _load_teacher(teacher: Path, data: "Data") -> "TorchModel":
    """A run or a checkpoint; `NAME=FILE` is a network by its name with a state dict."""
    from deepkd.data.classes import class_names
    from deepkd.data.mixture import list_sources
    from deepkd.models.checkpoints import load_checkpoint, load_weights

    name, _, file = str(teacher).partition("=")
    if teacher.exists() or not file:
        return load_checkpoint(teacher)
    return load_weights(name, Path(file), classes=class_names(list_sources(data)[0].path))


def _config(kind: type[C], config: C | AnyPath | None, **settings: Any) -> C:
    """The settings of a call: those of `config`, changed where a value is given."""
    if isinstance(config, str | os.PathLike):
        return load_config(kind, recipe_file(Path(config)), **settings)
    return build_config(kind, config, **settings)


def _paths(given: AnyPath | Sequence[AnyPath]) -> list[Path]:
    return [Path(one) for one in ([given] if isinstance(given, str | os.PathLike) else given)]


def _run(path: Path, model: "TorchModel") -> Run:
    kept = model.metadata["validation"]
    return Run(
        path,
        model.name,
        model.params,
        kept.get("val_auc"),
        kept["val_log_loss"],
        kept["epoch"],
        kept.get("val_accuracy"),
    )
