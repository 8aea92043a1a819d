"""`deepkd evaluate`: models on labelled crops or videos."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deepkd.cli.options import ConfigFile, takes_settings
from deepkd.config import load_config
from deepkd.errors import UsageError
from deepkd.outputs import (
    alone_in,
    check_ending,
    check_outputs,
    settings_beside,
)
from deepkd.settings.evaluation import EvaluateConfig
from deepkd.shards import Shard

if TYPE_CHECKING:
    from deepkd.evaluation.results import Evaluation, EvaluationDocument
    from deepkd.tables.curves import Curves

Models = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL...",
        help="Run folders, .safetensors, .pth or .onnx files, or names of shipped models.",
    ),
]
Scores = Annotated[
    Path | None,
    typer.Option(help="CSV file for all scores: file,label,score; for videos also answer,reason."),
]
Plots = Annotated[
    Path | None,
    typer.Option(
        help="Folder for plots (PNG): ROC, precision-recall, reliability, scores, robustness."
    ),
]
FeaturesFile = Annotated[
    Path | None,
    typer.Option(
        help="PNG file for a t-SNE plot of the last features of each PyTorch model on crops."
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Folder for the figures (JSON, CSV). After a stop, the same command continues from it."
    ),
]
ShardName = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help=(
            "With --out: only judge share I of N of the videos, chosen by a hash of each path."
            " Without it, the same command measures what all shares hold."
        ),
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
    shard: ShardName = None,
    overwrite: Overwrite = False,
    config_file: ConfigFile = None,
    **settings: Any,
) -> None:
    """Measure how accurate models are on labelled crops or videos, with 95% intervals.

    Videos are judged as `deepkd detect` does. A video without a score counts as INCONCLUSIVE; AUC
    and calibration leave it out. A video that cannot be read does not count. --perturb also
    measures robustness to codecs, noise, blur and more, at several levels. A model is not evaluated
    on its own training data.

    Pictures in SPLIT/CLASS/ of more than two classes give accuracy and top-5; --plots then draws
    the confusions.

    Exit codes: 0 done; 1 nothing could be measured; 2 wrong usage; 3 some videos failed.
    """
    config = load_config(EvaluateConfig, config_file, **settings)
    outputs = _Outputs(scores, plots, features, out)
    if shard:
        return _judge_share(models, config, shard, outputs, overwrite=overwrite)
    if config.data and _is_of_classes(config.data):
        return _evaluate_classes(models, config, plots)
    _evaluate(models, config, outputs, overwrite=overwrite)


def _evaluate(
    models: list[str], config: EvaluateConfig, outputs: "_Outputs", *, overwrite: bool
) -> None:
    """Write and print the figures of crops or videos."""
    from deepkd.cli.progress import progress, warn
    from deepkd.evaluation.evaluate import evaluate_files, to_document
    from deepkd.tables.evaluation import FORMATS

    outputs.check(_inputs(models, config), overwrite=overwrite)
    with alone_in(outputs.out) if outputs.out else nullcontext():
        with progress("evaluate", "scored") as show:
            found = evaluate_files(
                models,
                config,
                features=outputs.features is not None,
                out=outputs.out,
                overwrite=overwrite,
                warn=warn,
                progress=show,
            )
        document = to_document(found, config)
        for result in outputs.write(found, document):
            config.save(settings_beside(result))
    FORMATS[config.format](document)
    _exit(_list_failures(found))


def _judge_share(
    models: list[str], config: EvaluateConfig, shard: str, outputs: "_Outputs", *, overwrite: bool
) -> None:
    """Judge a share of the videos, and say where its verdicts are kept."""
    from deepkd.cli.progress import progress, warn
    from deepkd.evaluation.evaluate import judge_share
    from deepkd.evaluation.journal import JOURNAL_NAME
    from deepkd.text import visible

    which = Shard.parse(shard)
    if outputs.out is None:
        raise UsageError("--shard needs --out DIR")
    if outputs.scores or outputs.plots or outputs.features:
        raise UsageError(
            "--shard takes neither --scores, --plots nor --features; the same command without"
            " --shard writes them for the videos of all shares"
        )
    place = outputs.out / which.part
    with alone_in(place), progress("evaluate", "scored") as show:
        share = judge_share(
            models, config, which, out=outputs.out, overwrite=overwrite, warn=warn, progress=show
        )
        config.save(settings_beside(place / JOURNAL_NAME))
    if config.format == "table":
        print(f"{share.videos} videos in share {which}: {visible(share.folder)}")
    _exit([f"{file}: {reason}" for file, reason in share.failed.items()])


def _is_of_classes(data: Path) -> bool:
    from deepkd.data.classes import is_class_data

    return is_class_data(data)


def _evaluate_classes(models: list[str], config: EvaluateConfig, plots: Path | None) -> None:
    """Print the figures of pictures of classes, and draw their confusions."""
    from deepkd.evaluation.classes import evaluate_classes
    from deepkd.tables.classes import FORMATS as PRINTERS
    from deepkd.tables.classes import draw_confusions

    document = evaluate_classes(models, config)
    if plots:
        plots.mkdir(parents=True, exist_ok=True)
        draw_confusions(plots / "confusions.png", document)
        config.save(settings_beside(plots / "confusions.png"))
    PRINTERS[config.format](document)


@dataclass(frozen=True)
class _Outputs:
    """Files and folders to write; None where none is asked for."""

    scores: Path | None
    plots: Path | None
    features: Path | None
    out: Path | None

    def check(self, inputs: Sequence[Path], *, overwrite: bool) -> None:
        """Refuse what cannot be written, before any work is done."""
        if self.features:
            check_ending(self.features, ".png", option="--features")
        check_outputs(
            (self.scores, self.features),
            folders=(self.plots, self.out),
            inputs=inputs,
            overwrite=overwrite,
        )

    def write(
        self, found: "Sequence[Evaluation]", document: "EvaluationDocument"
    ) -> Iterator[Path]:
        """Write what is asked for; give each result once it is written."""
        if self.scores:
            yield _write_scores(self.scores, found)
        if self.out:
            yield _write_document(self.out, document)
        if self.plots:
            yield _draw(self.plots, found, document)
        if self.features:
            yield _draw_features(self.features, found)


def _exit(failed: Sequence[str]) -> None:
    """Name the videos that failed, and exit with 3 if there are any."""
    from deepkd.cli.progress import name_first

    name_first("failed", failed)
    if failed:
        raise typer.Exit(3)


def _inputs(models: Iterable[str], config: EvaluateConfig) -> list[Path]:
    """The files that are read, as far as they are known: models, and a list or an index."""
    from deepkd.data.index import INDEX_NAME

    data = [config.data, config.data / INDEX_NAME] if config.data else []
    return [*map(Path, models), *data]


def _list_failures(found: "Sequence[Evaluation]") -> list[str]:
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
