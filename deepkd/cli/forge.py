"""`deepkd forge`: real faces to labelled forgeries."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from deepkd.cli.options import ConfigFile, takes_settings
from deepkd.config import load_config
from deepkd.settings.data import ForgeConfig

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...",
        help="Folders, files or globs of real faces, .csv lists, or - for standard input.",
    ),
]
Out = Annotated[Path, typer.Option(help="Empty or new folder for the forgeries and their list.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the forgeries in --out.")]


@takes_settings(ForgeConfig)
def forge(
    sources: Sources,
    *,
    out: Out,
    overwrite: Overwrite = False,
    config_file: ConfigFile = None,
    **settings: object,
) -> None:
    """Make labelled forgeries from real faces, to train on or to test with.

    Crops come with an index.csv for train and evaluate, clips with a clips.csv for extract and
    evaluate. Both lists hold the real faces, too.

    Exit codes: 0 done; 1 nothing could be made; 2 wrong usage; 3 some sources failed.
    """
    config = load_config(ForgeConfig, config_file, **settings)
    from deepkd.cli.progress import name_first, progress
    from deepkd.data.forge.clips import LIST_NAME
    from deepkd.data.forge.run import forge as forge_faces
    from deepkd.data.index import INDEX_NAME
    from deepkd.text import visible

    with progress("forge", "sources") as show:
        summary = forge_faces(
            sources, out, config, overwrite=overwrite, stdin=sys.stdin.buffer, progress=show
        )
    listing = INDEX_NAME if config.kind == "crops" else LIST_NAME
    typer.echo(
        f"{summary.real} real and {summary.fake} forged {config.kind}: {visible(out / listing)}"
    )
    name_first("no face", [f"{video}: {why}" for video, why in summary.no_face])
    name_first("failed", [f"{video}: {why}" for video, why in summary.failed])
    name_first("warning", summary.warnings)
    raise typer.Exit(summary.exit_code)
