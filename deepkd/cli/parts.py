"""The parts that `deepkd detect --out` writes, and the table of their verdicts."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepkd.errors import UsageError

if TYPE_CHECKING:
    from deepkd.cluster.parts import Part, PartFiles
    from deepkd.report import Provenance
    from deepkd.settings.detect import DetectConfig

Out = Annotated[
    str | None,
    typer.Option(
        metavar="DIR",
        help="Write a line of JSON per input to a file in DIR, a folder or s3://...",
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="With --out: judge only what is missing there or failed.")
]
ShardName = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="With --out: judge only the I-th of N shares of the inputs.",
    ),
]


@contextmanager
def choose_part(
    out: str | None,
    shard: str | None,
    *,
    resume: bool,
    overwrite: bool,
    others: Iterable[Path | None],
) -> Iterator["PartFiles | None"]:
    """Where the part of `--out` goes, made sure that it can be written; None without `--out`.

    Args:
        out: the folder.
        shard: what `--shard` says.
        resume: go on with the part that is there.
        overwrite: replace it.
        others: other outputs, which cannot be had with parts.

    Raises:
        UsageError: contradicting options.
        OutputError: the part exists, or its folder cannot be written to.
    """
    if out is None:
        if resume or shard:
            raise UsageError(f"{'--resume' if resume else '--shard'} needs --out DIR")
        yield None
        return
    if any(others):
        raise UsageError(
            "--out takes neither --report nor --save-video; 'deepkd collect' makes a report of"
            " the parts"
        )
    from deepkd.cluster.staging import stage_part
    from deepkd.shards import Shard

    which = Shard.parse(shard) if shard else Shard()
    with stage_part(out, which, resume=resume, overwrite=overwrite) as files:
        yield files


@contextmanager
def open_output_part(
    files: "PartFiles | None",
    provenance: "Provenance",
    config: "DetectConfig",
    *,
    resume: bool,
    overwrite: bool,
) -> Iterator["Part | None"]:
    """The open part, with its settings beside it; None where no part is asked for.

    After the block it is finished, if all inputs were judged. With the format `table` a table of
    its verdicts is printed.

    Raises:
        OutputError: see `deepkd.cluster.parts.Part`.
    """
    if files is None:
        yield None
        return
    from deepkd.cluster.parts import open_part

    with open_part(files, provenance, resume=resume, overwrite=overwrite) as part:
        config.save(files.settings)
        yield part
        if part.is_complete:
            part.finish()
        if config.format == "table":
            show_tally(part.tally, str(files.lines), earlier=part.resumed)


def show_tally(tally: Counter[str], place: str, *, earlier: int = 0) -> None:
    """Print a table of verdicts, and a line that says where they lie.

    Args:
        tally: verdict -> inputs.
        place: where the verdicts lie.
        earlier: inputs that an earlier run judged.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from deepkd.scoring.verdict import Label
    from deepkd.text import visible

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Verdict")
    table.add_column("Inputs", justify="right")
    for label in Label:
        table.add_row(label, str(tally[label]))
    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    console.print(table)
    judged_before = f", {earlier} of them judged before" if earlier else ""
    inputs = f"{tally.total()} input{'' if tally.total() == 1 else 's'}"
    console.print(f"{inputs}{judged_before}: {visible(place)}")
