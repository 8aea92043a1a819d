"""`deepkd distill`: a student from a teacher."""

from pathlib import Path
from typing import Annotated, Any

import typer

from deepkd.cli.options import takes_settings
from deepkd.cli.train import Data, Resume, Run, list_crops, list_tables
from deepkd.config import load_config
from deepkd.settings.training import DistillConfig
from deepkd.shipped import recipe_file


@takes_settings(DistillConfig)
def distill(
    *,
    data: Data = None,
    teacher: Annotated[
        list[Path],
        typer.Option(
            help="A run folder, a .safetensors or a published .pth; several speak with their mean, "
            "in which one that is named twice counts twice."
        ),
    ],
    out: Run,
    resume: Resume = False,
    recipe: Annotated[
        Path | None,
        typer.Option(
            "--config",
            help="TOML file with these settings, or the name of a recipe, such as hinton.",
        ),
    ] = None,
    format: Annotated[
        str, typer.Option(help="How to print the comparison: table or json.")
    ] = "table",
    **settings: Any,
) -> None:
    """Distil a teacher into a small student, and compare the two.

    Writes the student's run folder with model.onnx, which `deepkd detect --model` takes. With
    --alone the student is then trained on the same labels and schedule without the teacher (in
    OUT/alone), to show what the teacher brings.
    """
    config = load_config(
        DistillConfig, recipe and recipe_file(recipe), data=list_tables(data), **settings
    )
    crops = list_crops(config)
    from deepkd.benchmark.comparison import compare
    from deepkd.cli.training import following, warn
    from deepkd.distillation.distiller import distill as distill_model
    from deepkd.distillation.distiller import train_alone
    from deepkd.models.checkpoints import load_checkpoint
    from deepkd.models.export import export_onnx
    from deepkd.tables.comparison import FORMATS
    from deepkd.training.processes import leads

    show = FORMATS.get(format)
    if show is None:
        raise typer.BadParameter(
            f"unknown format '{format}'; choose from {', '.join(FORMATS)}", param_hint="--format"
        )
    teachers = [load_checkpoint(path) for path in teacher]
    with following(out, "distill") as report:
        student = distill_model(
            teachers, crops, out, config, resume=resume, report=report, warn=warn
        )
    if leads():
        export_onnx(student, out / "model.onnx")
    named = ["teacher", *(f"teacher {number}" for number in range(2, len(teachers) + 1))]
    contenders = {**dict(zip(named, teachers, strict=True)), "student distilled": student}
    if config.alone:
        with following(out / "alone", "train alone") as report:
            contenders["student alone"] = train_alone(
                crops, out / "alone", config, resume=resume, report=report
            )
    if leads():
        show(compare(contenders, crops, split="val", limit=config.val_limit, out=out))
