"""`deepkd evaluate`: models on labelled crops or videos."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deepkd.cli.options import ConfigFile, takes_settings
from deepkd.config import load_config
from deepkd.outputs import (
    alone_in,
    check_ending,
    check_outputs,
    settings_beside,
)
from deepkd.settings.evaluation import EvaluateConfig

if TYPE_CHECKING:
    from deepkd.evaluation.results import Evaluation, EvaluationDocument
    from deepkd.tables.curves import Curves

Models = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL...", help="Run folders, .safetensors, .pth or .onnx files, or shipped names."
    ),
]
Scores = Annotated[
    Path | None,
    typer.Option(
        help=(
            "Write every score here: a CSV of file,label,score, and of videos why one has none"
            " (answer,reason)."
        )
    ),
]
Plots = Annotated[
    Path | None,
    typer.Option(
        help="Write ROC, precision-recall, reliability, score and robustness plots (PNG) here."
    ),
]
FeaturesFile = Annotated[
    Path | None,
    typer.Option(
        help=(
            "Write t-SNE of each model's penultimate features on crops (PNG, a panel per model with"
            " its V-score) here; takes PyTorch models only."
        )
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help=(
            "Folder for the figures (JSON, CSV). What is finished of --perturb, and of videos,"
            " stays in it: run again to go on, also with further models."
        )
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Replace existing --scores and --features files and --out results."
    ),
]


@takes_settings(EvaluateConfig)
def evaluate(
    models: Models,
    *,
    scores: Scores = None,
    plots: Plots = None,
    features: FeaturesFile = None,
    out: Out = None,
    overwrite: Overwrite = False,
    config_file: ConfigFile = None,
    **settings: Any,
) -> None:
    """Measure how accurate models are on labelled crops or videos, with 95% intervals.

    Crops come with an index (deepkd extract) or in SPLIT/CLASS/; videos are judged as deepkd detect
    does. With --perturb they are damaged too, by codecs, noise, blur and more, in graded levels;
    videos before faces are looked for. A video that gets no score counts as INCONCLUSIVE where
    decisions are counted, and is left out of AUC and the like; one that cannot be read is in no
    figure. A model is not evaluated on its own training data. Exit codes: 0 done; 1 nothing could
    be measured; 2 wrong usage; 3 some videos failed.
    """
    config = load_config(EvaluateConfig, config_file, **settings)
    from deepkd.cli.progress import name_first, progress, warn
    from deepkd.evaluation.evaluate import evaluate_files, to_document
    from deepkd.tables.evaluation import FORMATS

    if features:
        check_ending(features, ".png", option="--features")
    check_outputs(
        (scores, features),
        folders=(plots, out),
        inputs=_inputs(models, config),
        overwrite=overwrite,
    )
    with alone_in(out) if out else nullcontext():
        with progress("evaluate", "scored") as show:
            found = evaluate_files(
                models,
                config,
                features=features is not None,
                out=out,
                overwrite=overwrite,
                warn=warn,
                progress=show,
            )
        document = to_document(found, config)
        for result in _write_results(found, document, scores, out, plots, features):
            config.save(settings_beside(result))
    FORMATS[config.format](document)
    if failed := _failed(found):
        name_first("failed", failed)
        raise typer.Exit(3)


def _inputs(models: Iterable[str], config: EvaluateConfig) -> list[Path]:
    """The files that are read, as far as they are known: models, and a list or an index."""
    from deepkd.data.index import INDEX_NAME

    data = [config.data, config.data / INDEX_NAME] if config.data else []
    return [*map(Path, models), *data]


def _failed(found: "Sequence[Evaluation]") -> list[str]:
    """Each video that could not be read and why; how many more once corrupted."""
    named: dict[str, None] = {}
    for each in found:
        unread = [f"{one.row.file}: {one.reason}" for one in each.unjudged if one.answer == "ERROR"]
        more = [
            f"{one.failed - len(unread)} more under {one.perturbation} {one.level:g}"
            for one in each.perturbed
            if one.failed > len(unread)
        ]
        named |= dict.fromkeys(unread + more)
    return list(named)


def _write_results(
    found: "Sequence[Evaluation]",
    document: "EvaluationDocument",
    scores: Path | None,
    out: Path | None,
    plots: Path | None,
    features: Path | None,
) -> Iterator[Path]:
    """Write what is asked for; each result once it is there, for the settings beside it."""
    if scores:
        yield _write_scores(scores, found)
    if out:
        yield _write_document(out, document)
    if plots:
        yield _draw(plots, found, document)
    if features:
        yield _draw_features(features, found)


def _write_scores(file: Path, found: "Sequence[Evaluation]") -> Path:
    from deepkd.evaluation.results import write_scores

    write_scores(file, found)
    return file


def _write_document(folder: Path, document: "EvaluationDocument") -> Path:
    """`evaluation.json`, `evaluation.csv`, and the heat map where there is one."""
    from deepkd.evaluation.evaluate import RESULT_NAME
    from deepkd.tables.evaluation import evaluation_table
    from deepkd.tables.table import as_json, write_texts

    texts = {
        RESULT_NAME: as_json(document),
        "evaluation.csv": evaluation_table(document).csv(),
    }
    write_texts(folder, texts)
    _draw_robustness(folder, document)
    return folder / RESULT_NAME


def _draw_robustness(folder: Path, document: "EvaluationDocument") -> None:
    from deepkd.tables.robustness import draw_robustness

    if document.models[0].robustness:
        draw_robustness(folder / "robustness.png", document.models)


def _draw(folder: Path, found: "Sequence[Evaluation]", document: "EvaluationDocument") -> Path:
    from deepkd.tables.curves import draw_evaluation

    draw_evaluation(folder, [_curves(one) for one in found])
    _draw_robustness(folder, document)
    return folder / "plots"


def _curves(found: "Evaluation") -> "Curves":
    from deepkd.evaluation.metrics import precision_points, roc_points
    from deepkd.tables.curves import Curves

    auc = found.whole.auc.value
    has_both = auc is not None
    return Curves(
        name=found.name,
        labels=found.labels,
        probabilities=found.probabilities,
        roc=roc_points(found.labels, found.logits) if has_both else None,
        auc=auc,
        precision=precision_points(found.labels, found.logits) if has_both else None,
        average_precision=found.whole.average_precision.value,
    )


def _draw_features(path: Path, found: "Sequence[Evaluation]") -> Path:
    from deepkd.tables.curves import FeaturePlot, draw_features

    seen = [(one.name, one.features) for one in found if one.features]
    draw_features(
        path, [FeaturePlot(name, each.labels, each.points, each.v_score) for name, each in seen]
    )
    return path
