"""`deepkd distill`: a student from a teacher."""

from pathlib import Path
from typing import Annotated, Any

import typer

from deepkd.cli.options import check_format, takes_settings
from deepkd.cli.train import Data, Resume, Run, list_crops, list_tables
from deepkd.config import load_config
from deepkd.settings.training import DistillConfig
from deepkd.shipped import recipe_file

Teachers = Annotated[
    list[Path],
    typer.Option(
        help=(
            "Trained model: a run folder, a .safetensors or a published .pth; or MODEL=FILE, a "
            "model's name and its state dict. May be given several times: the student learns from"
            " the mean."
        )
    ),
]
Recipe = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help=(
            "Settings: a TOML file, the .config.json beside a result, or the name of a recipe, such"
            " as hinton."
        ),
    ),
]
Format = Annotated[
    str, typer.Option(help="Output format of the comparison: table or json.", hidden=True)
]


@takes_settings(DistillConfig)
def distill(
    *,
    data: Data = None,
    teacher: Teachers,
    out: Run,
    resume: Resume = False,
    recipe: Recipe = None,
    format: Format = "table",
    **settings: Any,
) -> None:
    """Distill a teacher into a small student, and compare the two.

    Writes the student's run folder with model.onnx, which `deepkd detect --model` takes. With
    --alone the student is also trained without the teacher, in OUT/alone, on the same labels and
    for the same time, to show what the teacher adds.
    """
    config = load_config(
        DistillConfig, recipe and recipe_file(recipe), data=list_tables(data), **settings
    )
    crops = list_crops(config)
    from deepkd.benchmark.comparison import compare
    from deepkd.cli.training import follow_run, warn
    from deepkd.runs import distill_models
    from deepkd.tables.comparison import FORMATS
    from deepkd.training.processes import leads

    check_format(format, FORMATS)
    models = distill_models(
        teacher, crops, out, config, resume=resume, follow=follow_run, warn=warn
    )
    if leads():
        FORMATS[format](compare(models, crops, split="val", limit=config.val_limit, out=out))
