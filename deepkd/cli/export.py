"""`deepkd export`: a trained model as one file for other programs."""

from pathlib import Path
from typing import Annotated

import typer

from deepkd.cli.options import check_format


def export(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="Trained model: a run folder, a .safetensors or .pth."),
    ],
    out: Annotated[Path, typer.Option(help="File to write.")],
    format: Annotated[
        str, typer.Option(help="onnx (for deepkd detect and most runtimes) or torchscript.")
    ] = "onnx",
    name: Annotated[
        str | None,
        typer.Option(help="Name of the model in reports; by default the model's own."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing file.")
    ] = False,
) -> None:
    """Write a trained model as ONNX, for `deepkd detect` and other runtimes, or as TorchScript.

    The file takes uint8 RGB crops: pre-processing is part of it. Its metadata holds the input
    format, calibration and thresholds. Its logits are compared with PyTorch's; if they differ by
    more than 1e-4 (relative to the largest logit, if that is over 1), nothing is written.
    """
    from deepkd.cli.progress import wrote
    from deepkd.models.checkpoints import load_checkpoint
    from deepkd.models.export import ENDINGS, FORMATS
    from deepkd.outputs import check_ending, check_outputs

    check_format(format, FORMATS)
    check_ending(out, *ENDINGS[format])
    check_outputs(files=[out], overwrite=overwrite)
    model = load_checkpoint(run)
    model.name = name or model.name
    FORMATS[format](model, out)
    wrote(out, f" ({out.stat().st_size:,} bytes)")
