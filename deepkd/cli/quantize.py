"""`deepkd quantize`: a model in cheaper arithmetic, if that pays here."""

from pathlib import Path
from typing import Annotated, Any

import typer

from deepkd.cli.options import ConfigFile, takes_settings
from deepkd.config import load_config
from deepkd.settings.compression import QuantizeConfig


@takes_settings(QuantizeConfig)
def quantize(
    model: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="Run folder, .safetensors, .pth or .onnx file, or a shipped name."
        ),
    ],
    *,
    data: Annotated[
        Path, typer.Option(help="Labelled crops: some show int8's ranges, others judge.")
    ],
    out: Annotated[Path, typer.Option(help="ONNX file to write.")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing file.")
    ] = False,
    config_file: ConfigFile = None,
    **settings: Any,
) -> None:
    """Try int8, float16 and int8 weights, and write one only if that pays.

    A variant pays when it is faster on this machine than float32 and its AUC falls by at most
    --max-drop; otherwise the report says why not and nothing is written, unless --keep names it.
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
