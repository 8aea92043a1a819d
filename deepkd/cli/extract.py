"""`deepkd extract`: clips to face crops."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deepkd.cli.engines import Cluster, choose_runner
from deepkd.cli.options import ConfigFile, takes_settings
from deepkd.config import load_config
from deepkd.settings.data import ExtractConfig

if TYPE_CHECKING:
    from deepkd.data.extract.run import Summary

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...",
        help="Data set folders, files, globs, .csv lists (path,label), or - for standard input.",
    ),
]
Out = Annotated[Path, typer.Option(help="Folder for the crops and their index.csv.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue the extraction in --out where it stopped.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the extraction in --out.")]


@takes_settings(ExtractConfig)
def extract(
    sources: Sources,
    *,
    out: Out,
    resume: Resume = False,
    overwrite: Overwrite = False,
    cluster: Cluster = None,
    config_file: ConfigFile = None,
    **settings: object,
) -> None:
    """Cut the faces out of labelled clips, as crops to train on.

    Reads published data sets (see --dataset), folders named real and fake, and folders of clips
    without labels. Writes crops, index.csv with a split for each crop, and keeps an original and
    its forgeries in one split.

    Exit codes: 0 done; 1 nothing could be read; 2 wrong usage; 3 some clips failed.
    """
    config = load_config(ExtractConfig, config_file, **settings)
    from deepkd.cli.progress import progress
    from deepkd.data.extract.run import extract as extract_crops

    with choose_runner(cluster, config) as run_on, progress("extract", "clips") as show:
        summary = extract_crops(
            sources,
            out,
            config,
            resume=resume,
            overwrite=overwrite,
            stdin=sys.stdin.buffer,
            progress=show,
            run_on=run_on,
        )
    _show(summary)
    raise typer.Exit(summary.exit_code)


def _show(summary: "Summary") -> None:
    """Print the results on standard output and the warnings on standard error."""
    from rich.console import Console

    from deepkd.cli.progress import name_first
    from deepkd.text import visible

    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    console.print(_make_table(summary))
    resumed = f", {summary.resumed} of them finished before" if summary.resumed else ""
    clips = len(summary.splits.clips)
    index = visible(summary.out / "index.csv")
    console.print(
        f"{summary.crops} crops of {clips} clips{resumed}, in {summary.seconds:.1f} s: {index}"
    )
    for heading, pairs in (("no face", summary.no_face), ("failed", summary.failed)):
        name_first(heading, [f"{video}: {why}" for video, why in pairs], out=sys.stdout)
    name_first("warning", summary.warnings)


def _make_table(summary: "Summary") -> Any:
    """Make the table of clips and crops by label, and of crops by split."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("label")
    for name in ("clips", "with faces", "no face", "failed", "crops", "train", "val", "test"):
        table.add_column(name, justify="right")
    for label, tally in sorted(summary.tallies.items(), reverse=True):
        splits = [summary.crops_by_split[(split, label)] for split in ("train", "val", "test")]
        numbers = (tally.clips, tally.with_faces, tally.no_face, tally.failed, tally.crops, *splits)
        table.add_row(label or "none", *map(str, numbers))
    return table
