"""`deepkd collect`: the parts of many runs of `deepkd detect --out` as one report."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from deepkd.cluster.collect import Collected, Names

Folders = Annotated[
    list[str],
    typer.Argument(
        metavar="DIR...", help="Folders, or s3://..., that 'deepkd detect --out' wrote to."
    ),
]
ReportFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Write the verdicts to one file: .jsonl, .csv, or .parquet (a row per person; needs"
        " `pip install 'deepkd\\[parquet]'`).",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing report.")]


def collect(folders: Folders, *, report: ReportFile = None, overwrite: Overwrite = False) -> None:
    """Join the results of many runs of `deepkd detect --out`.

    Says what is missing, judged twice or failed. An input that was judged twice appears once, with
    the later verdict.

    Exit codes: 0 all were judged; 1 nothing could be read; 2 wrong usage; 3 parts are missing or
    unfinished, or inputs failed.
    """
    from deepkd.cli.parts import show_tally
    from deepkd.cluster.collect import collect as join
    from deepkd.cluster.staging import fetch_parts

    with fetch_parts(folders) as found:
        collected = join(found, report, overwrite=overwrite)
    show_tally(collected.tally, str(report) if report else f"{collected.parts} parts")
    _report_problems(collected)
    raise typer.Exit(collected.exit_code)


def _report_problems(collected: "Collected") -> None:
    """Say on standard error what is missing, damaged, judged twice, or failed."""
    from deepkd.cli.progress import warn

    if len(collected.models) > 1:
        warn(f"several models judged: {', '.join(sorted(collected.models))}")
    _name_first("missing", collected.missing)
    _name_first("unfinished", collected.unfinished)
    _name_first("damaged", collected.damaged)
    _name_first("judged twice", collected.twice)
    _name_first("error", collected.failed)


def _name_first(heading: str, names: "Names") -> None:
    from deepkd.cli.progress import name_first, say

    name_first(heading, names.first)
    if names.count > len(names.first):
        say(f"{heading}: {names.count} in all")
