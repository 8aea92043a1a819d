"""`deepkd evaluate`: models on a labelled index of crops."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deepkd.cli.options import ConfigFile, takes_settings
from deepkd.config import load_config
from deepkd.settings import EvaluateConfig

if TYPE_CHECKING:
    from deepkd.evaluation.evaluate import Evaluation


@takes_settings(EvaluateConfig)
def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="Run folders, .safetensors, .pth or .onnx files, or shipped names."),
    ],
    *,
    scores: Annotated[
        Path | None, typer.Option(help="Write every crop's score here: a CSV of file,label,score.")
    ] = None,
    plots: Annotated[
        Path | None, typer.Option(help="Write ROC, reliability and score plots (PNG) to this folder.")
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            help="Write t-SNE of each model's penultimate features (PNG, a panel per model with its V-score) here; "
            "takes PyTorch models only."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace existing --scores and --features files.")
    ] = False,
    config_file: ConfigFile = None,
    **settings: Any,
) -> None:
    """Measure how right models are on labelled crops, side by side, with 95% intervals, per crop and per video."""
    config = load_config(EvaluateConfig, config_file, **settings)
    from deepkd.cli.progress import progress
    from deepkd.evaluation.evaluate import evaluate_files, to_document, write_scores
    from deepkd.outputs import check_folder, check_output
    from deepkd.report.evaluation import FORMATS

    for file in filter(None, (scores, features)):
        check_output(file, overwrite=overwrite)
    if plots:
        check_folder(plots)
    with progress("evaluate", "crops") as show:
        found = evaluate_files(models, config, features=features is not None, progress=show)
    if scores:
        write_scores(scores, found)
        config.save(scores.with_suffix(".config.json"))
    if plots:
        _draw(plots, found)
        config.save(plots / "config.json")
    if features:
        _draw_features(features, found)
        config.save(features.with_suffix(".config.json"))
    FORMATS[config.format](to_document(found, config))


def _draw(folder: Path, found: "list[Evaluation]") -> None:
    from deepkd.evaluation.metrics import roc_points
    from deepkd.report.plots import Curves, draw_evaluation

    draw_evaluation(
        folder,
        [
            Curves(
                name=one.name,
                labels=one.labels,
                probabilities=one.probabilities,
                roc=None if one.crops.auc.value is None else roc_points(one.labels, one.logits),
                auc=one.crops.auc.value,
            )
            for one in found
        ],
    )


def _draw_features(path: Path, found: "list[Evaluation]") -> None:
    from deepkd.report.plots import Panel, draw_features

    seen = [(one.name, one.features) for one in found if one.features]
    draw_features(path, [Panel(name, each.labels, each.points, each.v_score) for name, each in seen])
