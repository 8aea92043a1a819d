"""`deepkd export`: a trained model as one ONNX file."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Trained model: a run folder, a .safetensors or .pth.")],
    out: Annotated[Path, typer.Option(help="ONNX file to write.")],
    name: Annotated[
        str | None, typer.Option(help="Name that the file gives itself; the model's own unless set.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Write a trained model as ONNX, for `deepkd detect` and any other runtime.

    Pre-processing is folded in, so that uint8 RGB crops go straight in; input format, calibration and thresholds are in
    the file's metadata. Logits are compared with torch's first, and an export that differs by over 1e-4 is refused.
    """
    from rich.console import Console

    from deepkd.compression.export import export_onnx
    from deepkd.models.checkpoints import load_checkpoint
    from deepkd.outputs import check_output

    check_output(out, overwrite=overwrite)
    model = load_checkpoint(run)
    model.name = name or model.name
    export_onnx(model, out)
    Console(stderr=True).print(f"wrote {out} ({out.stat().st_size:,} bytes)", highlight=False, markup=False)
