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
            "Crops to train on: a folder from `deepkd extract`, or pictures in train/CLASS/ and "
            "val/CLASS/. May be given several times."
        )
    ),
]
Run = Annotated[Path, typer.Option(help="Folder for the weights, metrics, curves and settings.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue the run in --out where it stopped.")
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
    """Train a model on labelled crops, such as a teacher for `deepkd distill`.

    Writes model.safetensors (the weights), metrics.jsonl, curves.png and config.json. Start it
    under `torchrun` to use several GPUs. Ctrl-C saves a checkpoint and stops; --resume continues
    from it. A second Ctrl-C stops at once.
    """
    config = load_config(TrainConfig, config_file, data=list_tables(data), **settings)
    from deepkd.cli.training import follow_run, warn
    from deepkd.runs import train_model

    train_model(list_crops(config), out, config, resume=resume, follow=follow_run, warn=warn)
