"""`deepkd export`: a trained model as one file for other programs."""

from pathlib import Path
from typing import Annotated

import typer


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
        typer.Option(help="Name that the file gives itself; the model's own unless set."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing file.")
    ] = False,
) -> None:
    """Write a trained model as ONNX, for `deepkd detect` and any other runtime, or as TorchScript.

    Pre-processing is folded in, so that uint8 RGB crops go straight in; input format, calibration
    and thresholds are in the file's metadata. Logits are compared with torch's first, and an export
    that differs by over 1e-4 (of the largest logit, where that is over 1) is refused.
    """
    from deepkd.cli.progress import wrote
    from deepkd.errors import UsageError
    from deepkd.models.checkpoints import load_checkpoint
    from deepkd.models.export import ENDINGS, FORMATS
    from deepkd.outputs import check_ending, check_outputs

    if format not in FORMATS:
        raise UsageError(f"unknown format '{format}'; choose from {', '.join(FORMATS)}")
    check_ending(out, *ENDINGS[format])
    check_outputs(files=[out], overwrite=overwrite)
    model = load_checkpoint(run)
    model.name = name or model.name
    FORMATS[format](model, out)
    wrote(out, f" ({out.stat().st_size:,} bytes)")
