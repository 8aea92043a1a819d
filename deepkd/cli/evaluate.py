"""`deepkd evaluate`: models on a labelled index of crops."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepkd.cli.options import setting_option
from deepkd.config import load_config
from deepkd.settings import EvaluateConfig

if TYPE_CHECKING:
    from deepkd.evaluation.evaluate import Evaluation


def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="Run folders, .safetensors, .pth or .onnx files, or shipped names."),
    ],
    data: Annotated[Path | None, setting_option(EvaluateConfig, "data")] = None,
    split: Annotated[str | None, setting_option(EvaluateConfig, "split")] = None,
    scores: Annotated[
        Path | None, typer.Option(help="Write every crop's score here: a CSV of file,label,score.")
    ] = None,
    plots: Annotated[
        Path | None, typer.Option(help="Write ROC, reliability and score plots (PNG) to this folder.")
    ] = None,
    format: Annotated[str | None, setting_option(EvaluateConfig, "format")] = None,
    limit: Annotated[int | None, setting_option(EvaluateConfig, "limit")] = None,
    threshold: Annotated[float | None, setting_option(EvaluateConfig, "threshold")] = None,
    resamples: Annotated[int | None, setting_option(EvaluateConfig, "resamples")] = None,
    seed: Annotated[int | None, setting_option(EvaluateConfig, "seed")] = None,
    batch: Annotated[int | None, setting_option(EvaluateConfig, "batch")] = None,
    device: Annotated[str | None, setting_option(EvaluateConfig, "device")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing --scores file.")] = False,
    config_file: Annotated[Path | None, typer.Option("--config", help="TOML file with these settings.")] = None,
) -> None:
    """Measure how right models are on labelled crops, side by side, with 95% intervals, per crop and per video."""
    config = load_config(
        EvaluateConfig,
        config_file,
        **{"data": data, "split": split, "format": format, "limit": limit, "threshold": threshold},
        **{"resamples": resamples, "seed": seed, "batch": batch, "device": device},
    )
    from deepkd.cli.progress import progress
    from deepkd.evaluation.evaluate import evaluate_files, to_document, write_scores
    from deepkd.outputs import check_folder, check_output
    from deepkd.report.evaluation import FORMATS

    if scores:
        check_output(scores, overwrite=overwrite)
    if plots:
        check_folder(plots)
    with progress("evaluate", "crops") as show:
        found = evaluate_files(models, config, progress=show)
    if scores:
        write_scores(scores, found)
        config.save(scores.with_suffix(".config.json"))
    if plots:
        _draw(plots, found)
        config.save(plots / "config.json")
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
