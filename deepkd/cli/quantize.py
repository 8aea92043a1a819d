"""`deepkd quantize`: a model in int8 or float16."""

from pathlib import Path
from typing import Annotated, Any

import typer

from deepkd.cli.options import ConfigFile, takes_settings
from deepkd.config import load_config
from deepkd.settings.compression import QuantizeConfig

Model = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="Run folder, .safetensors, .pth or .onnx file, or name of a shipped model.",
    ),
]
Data = Annotated[
    Path,
    typer.Option(
        help=(
            "Labelled crops, or pictures in SPLIT/CLASS/, to set the value ranges of int8 and to"
            " measure AUC (of classes, accuracy)."
        )
    ),
]
Out = Annotated[Path, typer.Option(help="ONNX file to write.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")]


@takes_settings(QuantizeConfig)
def quantize(
    model: Model,
    *,
    data: Data,
    out: Out,
    overwrite: Overwrite = False,
    config_file: ConfigFile = None,
    **settings: Any,
) -> None:
    """Store a model in int8 or float16, and write the fastest variant.

    A variant is written if it is faster than float32 on this machine and loses at most --max-drop
    of AUC (of classes, accuracy). If none is, the report says why; --keep NAME always writes a
    variant.
    """
    config = load_config(QuantizeConfig, config_file, **settings)
    from deepkd.cli.progress import progress, say, warn
    from deepkd.compression.quantize import quantize as measure
    from deepkd.outputs import check_ending, check_outputs, settings_beside
    from deepkd.tables.quantize import FORMATS

    check_ending(out, ".onnx")
    check_outputs([out], overwrite=overwrite)
    with progress("quantize", "turns") as show:
        document = measure(
            model,
            data,
            out,
            config,
            say=lambda text: say(f"quantize: {text}"),
            warn=warn,
            progress=show,
        )
    if document.written:
        config.save(settings_beside(out))
    FORMATS[config.format](document)
