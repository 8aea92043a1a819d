"""Judge many clips on many machines: a part for each shard, as `deepkd detect --out` writes it."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

from deepkd.cluster.collect import Names
from deepkd.cluster.engine import Engine
from deepkd.cluster.parts import Part, PartFiles, open_part
from deepkd.cluster.plan import Plan
from deepkd.cluster.staging import claim_parts, stage_part
from deepkd.errors import ModelError, OutputError
from deepkd.journal import BusyError
from deepkd.outputs import scratch
from deepkd.pipeline import Detector
from deepkd.report import Provenance
from deepkd.scoring.verdict import Label
from deepkd.settings.detect import DetectConfig
from deepkd.shards import Shard
from deepkd.video.sources import Source

BUSY_S = 120.0
"""How long a shard waits for a part that a dead machine still seems to be writing."""
Progress = Callable[[int, int], None]
"""Told how many inputs are done, and of how many."""


@dataclass
class Judged:
    """The verdicts of some shards."""

    tally: Counter[str] = field(default_factory=Counter)
    """Verdict -> inputs, those of earlier runs too."""
    resumed: int = 0
    """Inputs that an earlier run judged."""
    failed: Names = field(default_factory=Names)
    """Inputs that could not be judged, with the reason."""
    unfinished: Names = field(default_factory=Names)
    """Shards that did not come to their end, with the reason."""

    def add(self, other: "Judged") -> None:
        """Take the verdicts of other shards, too."""
        self.tally += other.tally
        self.resumed += other.resumed
        self.failed.join(other.failed)


def judge_on(
    engine: Engine,
    sources: Iterable[Source],
    out: str,
    config: DetectConfig,
    sha256: str,
    *,
    shards: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = lambda done, total: None,
) -> Judged:
    """Judge inputs on the machines of an engine.

    Args:
        engine: where the shards are judged; open.
        sources: the inputs, taken one by one.
        out: folder of the parts, which all machines share, or a prefix in a store.
        config: how to judge; `workers` is the number of processes for each shard.
        sha256: hash of the model that is meant, hex.
        shards: how many shards to cut; by default as many as the parts that are there are of, else
            by the bytes of the inputs.
        resume: go on with the parts that are there.
        overwrite: replace them.
        progress: told after each shard.

    Raises:
        UsageError: contradicting flags.
        OutputError: there are parts and no flag says what to do with them, or they are of another
            number of shards.
    """
    judged, done = Judged(), 0
    found = claim_parts(out, resume=resume, overwrite=overwrite)
    kept = _count_shards(out, found, shards)
    with scratch() as folder, closing(Plan(folder / "plan.sqlite")) as plan:
        plan.add(sources)
        count = kept or plan.shards_for(engine.slots())
        progress(0, plan.count)
        judge = partial(judge_shard, out, config, sha256, overwrite)
        works = (((cut[0], len(cut[1])), partial(judge, *cut)) for cut in plan.cut(count))
        for outcome in engine.run(works):
            shard, inputs = outcome.task
            if outcome.result is None:
                judged.unfinished.add(f"shard {shard}: {outcome.error}")
            else:
                judged.add(outcome.result)
            done += inputs
            progress(done, plan.count)
    return judged


def _count_shards(out: str, found: Iterable[Shard], asked: int | None) -> int | None:
    """The number of shards that the parts in a folder are of, else the number that is asked for."""
    counts = {shard.count for shard in found}
    if len(counts | ({asked} - {None})) > 1:
        raise OutputError(
            f"{out}: holds parts of {' and '.join(map(str, sorted(counts)))} shards"
            + (f", not {asked}" if asked else "")
            + "; leave out --shards, or choose another --out"
        )
    return next(iter(counts), asked)


def judge_shard(
    out: str,
    config: DetectConfig,
    sha256: str,
    overwrite: bool,
    shard: Shard,
    sources: Iterable[Source],
) -> Judged:
    """Judge what the part of a shard lacks, in processes of its own.

    Args:
        out: folder of the part, or a prefix in a store.
        config: how to judge; `workers` is the number of processes, at least 1, each with one
            thread.
        sha256: hash of the model that is meant, hex.
        overwrite: begin the part anew.
        shard: the shard.
        sources: its inputs.

    Raises:
        ModelError: the model is another one on this machine.
        OutputError: the part cannot be written.
    """
    detector = Detector.load(config, threads=1)
    provenance = Provenance.of(detector)
    if provenance.sha256 != sha256:
        raise ModelError(
            f"{config.model}: is another model on this node (SHA-256 {provenance.sha256[:8]}, not"
            f" {sha256[:8]}); give a file that all nodes share"
        )
    judged = Judged()
    with (
        stage_part(out, shard, resume=not overwrite, overwrite=overwrite) as files,
        _open_waiting(files, provenance, overwrite=overwrite) as part,
    ):
        config.save(files.settings)
        missing = part.list_missing(sources)
        for verdict in detector.judge_all(missing, workers=max(1, config.workers)):
            part.add(verdict)
            if verdict.label == Label.ERROR:
                judged.failed.add(f"{verdict.path}: {verdict.reason}")
        part.finish()
        judged.tally, judged.resumed = part.tally, part.resumed
    return judged


def _open_waiting(files: PartFiles, provenance: Provenance, *, overwrite: bool) -> Part:
    """The part, once what may be left of a lost run has closed it."""
    until = time.monotonic() + BUSY_S
    while True:
        try:
            return open_part(files, provenance, resume=not overwrite, overwrite=overwrite)
        except BusyError:
            if time.monotonic() > until:
                raise
            time.sleep(1.0)
