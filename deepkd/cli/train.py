"""`deepkd train`: a model on labelled crops."""

from pathlib import Path
from typing import Annotated, Any

import typer

from deepkd.cli.options import ConfigFile, takes_settings
from deepkd.config import load_config
from deepkd.errors import UsageError
from deepkd.settings.training import DataSource, TrainConfig, TrainingConfig

Data = Annotated[
    list[Path] | None,
    typer.Option(
        help=(
            "Crops to train on: a folder with index.csv whose splits are train and val, or pictures"
            " in train/CLASS/ and val/CLASS/, where CLASS is real or fake or one of any two names."
            " Several may be given; how often each is drawn is set by the tables named data of the"
            " config file."
        )
    ),
]
Run = Annotated[Path, typer.Option(help="Folder of the run: weights, metrics, curves, settings.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the run in --out where it stopped.")
]


def list_tables(data: list[Path] | None) -> list[dict[str, str]] | None:
    """The folders of --data as a config file would name them; None where none are given."""
    return [{"path": str(path)} for path in data] if data else None


def list_crops(config: TrainingConfig) -> list[DataSource]:
    """The folders to train on.

    Raises:
        UsageError: none is given.
    """
    if not config.data:
        raise UsageError("no crops to train on; give --data FOLDER, or [[data]] tables by --config")
    return config.list_sources()


@takes_settings(TrainConfig)
def train(
    *,
    data: Data = None,
    out: Run,
    resume: Resume = False,
    config_file: ConfigFile = None,
    **settings: Any,
) -> None:
    """Train a teacher, or any model of the registry or of timm, on labelled crops.

    Writes the best weights by validation AUC, or the last (model.safetensors), metrics.jsonl,
    curves.png and config.json. Start it under `torchrun` to use several GPUs or processes. Ctrl-C
    ends it after its step, with a checkpoint to --resume from; a second one at once.
    """
    config = load_config(TrainConfig, config_file, data=list_tables(data), **settings)
    from deepkd.cli.training import following, warn
    from deepkd.training.supervised import train as train_model

    with following(out, "train") as report:
        train_model(list_crops(config), out, config, resume=resume, report=report, warn=warn)
