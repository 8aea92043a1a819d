"""The options and the work of `--cluster`: shards on the machines of an engine."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from deepkd.errors import UsageError

if TYPE_CHECKING:
    from deepkd.cluster.judge import Judged
    from deepkd.data.extract.run import Runner
    from deepkd.report import Provenance
    from deepkd.settings.data import ExtractConfig
    from deepkd.settings.detect import DetectConfig

Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="ENGINE",
        help="With --out: run on many machines, by ray or ray://HOST:PORT; needs"
        " `pip install 'deepkd\\[cluster]'`. --workers is then the number of cores per shard.",
    ),
]
Shards = Annotated[
    int | None,
    typer.Option(
        min=1, hidden=True, help="With --cluster: number of shards; by default one per GB of clips."
    ),
]


def check_cluster(
    cluster: str | None,
    out: str | None,
    config: "DetectConfig",
    *,
    others: Iterable[object],
) -> None:
    """Refuse options that do not go together with `--cluster` or `--shards`.

    Raises:
        UsageError: contradicting options.
    """
    if cluster is None:
        raise UsageError("--shards needs --cluster")
    if out is None:
        raise UsageError("--cluster needs --out DIR, a folder that all machines share, or s3://...")
    if any(others):
        raise UsageError("--cluster takes neither --shard, --report nor --save-video")
    if config.format != "table":
        raise UsageError(
            f"--cluster takes no --format {config.format}; 'deepkd collect' makes a report of the"
            " parts"
        )


def judge_on_cluster(
    cluster: str,
    names: Sequence[str],
    out: str,
    config: "DetectConfig",
    load: Callable[[], tuple[object, "Provenance"]],
    *,
    shards: int | None,
    resume: bool,
    overwrite: bool,
    quiet: bool,
) -> "Judged":
    """Judge sources on the machines of an engine, and print the table of verdicts."""
    from deepkd.cli.parts import show_tally
    from deepkd.cli.progress import progress
    from deepkd.cluster.engine import open_engine
    from deepkd.cluster.judge import judge_on
    from deepkd.video.sources import find_sources

    engine = open_engine(cluster, cpus=max(1, config.workers))
    sources = find_sources(names, stdin=sys.stdin.buffer)
    _, provenance = load()
    with engine, progress("Judging", "inputs") as show:
        told = (lambda done, total: None) if quiet else show
        judged = judge_on(
            engine, sources, out, config, provenance.sha256,
            shards=shards, resume=resume, overwrite=overwrite, progress=told,
        )  # fmt: skip
    show_tally(judged.tally, out, earlier=judged.resumed)
    _name_problems(judged)
    return judged


@contextmanager
def choose_runner(cluster: str | None, config: "ExtractConfig") -> Iterator["Runner | None"]:
    """What runs the clips of an extraction on the machines of an engine; None without one."""
    if cluster is None:
        yield None
        return
    from deepkd.cluster.engine import open_engine
    from deepkd.cluster.extract import extract_on

    workers = max(1, config.workers or 0)
    with open_engine(cluster, cpus=workers) as engine:
        yield partial(extract_on, engine, workers=workers)


def _name_problems(judged: "Judged") -> None:
    from deepkd.cli.progress import name_first, say

    for heading, names in (("error", judged.failed), ("unfinished", judged.unfinished)):
        name_first(heading, names.first)
        if names.count > len(names.first):
            say(f"{heading}: {names.count} in all")
