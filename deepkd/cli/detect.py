"""`deepkd detect`: clips to verdicts."""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepkd.cli.engines import Cluster, Shards, check_cluster, judge_on_cluster
from deepkd.cli.links import check_links
from deepkd.cli.options import ConfigFile, takes_settings
from deepkd.cli.parts import (
    Out,
    Resume,
    ShardName,
    choose_part,
    open_output_part,
)
from deepkd.cli.standard_output import StandardOutput
from deepkd.cli.written import check_written, keep_inputs
from deepkd.config import load_config
from deepkd.errors import DeepKDError
from deepkd.outputs import (
    settings_beside,
    write_whole,
)
from deepkd.settings.detect import DetectConfig
from deepkd.stores import is_stored

if TYPE_CHECKING:
    from deepkd.cluster.parts import Part, PartFiles
    from deepkd.pipeline import Detector
    from deepkd.report import Provenance, Report
    from deepkd.scoring.verdict import Verdict
    from deepkd.video.readahead import ReadAhead
    from deepkd.video.sources import Source

FOUND = 4
"""The exit code of --fail-on-fake when a FAKE was found, whatever else fails."""

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...",
        help="Files, folders, globs, links (https://), or - for a list on standard input.",
    ),
]
ReportFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Also write a report: .html (with evidence), .json, .jsonl or .csv."
    ),
]
VideoFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Also write the clip with boxes and scores drawn in: .webm."),
]
FailOnFake = Annotated[
    bool, typer.Option("--fail-on-fake", help="Exit with code 4 if a FAKE was found.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing output files.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only errors on standard error.")]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose", "-v", hidden=True, help="Print the time that each input took, by stage."
    ),
]


@takes_settings(DetectConfig)
def detect(
    sources: Sources,
    *,
    report: ReportFile = None,
    save_video: VideoFile = None,
    out: Out = None,
    resume: Resume = False,
    shard: ShardName = None,
    cluster: Cluster = None,
    shards: Shards = None,
    fail_on_fake: FailOnFake = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    config_file: ConfigFile = None,
    **settings: object,
) -> None:
    """Judge whether the faces in videos or images are forged.

    The answer for each input is FAKE, REAL, INCONCLUSIVE or NO_FACE, with the reason.

    FAKE is a reason to look closer, never a proof. REAL means that no sign of forgery was found.

    Exit codes: 0 all inputs were judged; 1 nothing could be judged; 2 wrong usage; 3 some inputs
    failed; 4 a FAKE was found (only with --fail-on-fake).
    """
    # NumPy needs no threads here, and they take time to start.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    config = load_config(DetectConfig, config_file, **settings)
    flags = {"resume": resume, "overwrite": overwrite}
    if cluster or shards:
        check_cluster(cluster, out, config, others=(shard, report, save_video))
        judged = judge_on_cluster(
            str(cluster), sources, str(out), config, partial(_load, config, None, quiet=quiet),
            shards=shards, quiet=quiet, **flags,
        )  # fmt: skip
        counts = judged.tally, judged.unfinished.count
        raise typer.Exit(exit_code(*counts, fail_on_fake=fail_on_fake))
    with choose_part(out, shard, others=(report, save_video), **flags) as files:
        outputs = _Outputs(files, report, save_video, resume, overwrite)
        outcome = _detect(sources, config, outputs, quiet=quiet, verbose=verbose)
    is_empty = files and not outcome.tally  # a short list leaves some shards without inputs
    code = 0 if is_empty else exit_code(outcome.tally, fail_on_fake=fail_on_fake)
    if save_video and outcome.last and not outcome.interrupted:
        _draw(outcome.last, save_video, config.timeout_s, code)
    if not quiet:
        _name_rest(sources, outcome, config)
    raise outcome.interrupted or typer.Exit(code)


@dataclass(frozen=True)
class _Outputs:
    """What is written; None where nothing is asked for."""

    part: "PartFiles | None"
    report: Path | None
    video: Path | None
    resume: bool
    overwrite: bool


def _detect(
    names: Sequence[str], config: DetectConfig, outputs: _Outputs, *, quiet: bool, verbose: bool
) -> "_Outcome":
    """Judge the sources, and write what is asked for but the video."""
    flags = {"resume": outputs.resume, "overwrite": outputs.overwrite}
    inputs = _find_inputs(names, outputs.part, outputs.report, outputs.video)
    check_links(names, inputs, config.keep, outputs.video)
    check_written(outputs.report, outputs.video, inputs, overwrite=outputs.overwrite)
    inputs = inputs if isinstance(inputs, list) else _begin(inputs)
    with _open_first(inputs, config) as first:
        detector, provenance = _load(config, outputs.report, quiet=quiet)
        with (
            open_output_part(outputs.part, provenance, config, **flags) as part,
            _reports(config, provenance, outputs.report, part) as reports,
        ):
            inputs = part.list_missing(inputs) if part else inputs
            outcome = _judge(inputs, detector, reports, first=first, quiet=quiet, verbose=verbose)
    outcome.tally = part.tally if part else outcome.tally
    return outcome


@dataclass
class _Outcome:
    tally: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    last: "Verdict | None" = None
    interrupted: KeyboardInterrupt | None = None


def exit_code(tally: Counter[str], unfinished: int = 0, *, fail_on_fake: bool = False) -> int:
    """The exit code for these numbers of verdicts (label -> number) and unfinished shards."""
    if fail_on_fake and tally["FAKE"]:
        return FOUND
    if not tally["ERROR"]:
        return (3 if unfinished else 0) if tally.total() else 1
    return 3 if tally.total() > tally["ERROR"] else 1


def _find_inputs(
    names: Sequence[str], part: "PartFiles | None", report: Path | None, video: Path | None
) -> Iterable["Source"]:
    """The inputs: a list, or one after the other for a part and from standard input."""
    from deepkd.video.sources import find_sources

    inputs: Iterable[Source] = find_sources(names, stdin=sys.stdin.buffer, takes_links=True)
    if part:
        return keep_inputs(part.shard.take(inputs), [part.lines, part.journal])
    outputs = [file for file in (report, report and settings_beside(report), video) if file]
    inputs = keep_inputs(inputs, outputs)
    return list(inputs) if video or "-" not in names else inputs


def _name_rest(names: Sequence[str], outcome: _Outcome, config: DetectConfig) -> None:
    """Name the first inputs that failed on standard error, and what was passed over."""
    from deepkd.cli.progress import name_first

    if not (config.format == "table" and sys.stdout.isatty()):
        name_first("error", outcome.failed, rest="more inputs failed")
    _name_passed_over(names)


def _name_passed_over(names: Sequence[str]) -> None:
    """Say how many files of folders were not judged because of their ending."""
    from deepkd.cli.progress import warn
    from deepkd.video.sources import count_passed_over

    if count := count_passed_over(names):
        kinds = ", ".join(
            f"{number} {end or 'without one'}" for end, number in count.most_common(5)
        )
        rest = f", {len(count) - 5} other endings" if len(count) > 5 else ""
        files = (
            "1 file in a folder was"
            if count.total() == 1
            else f"{count.total()} files in folders were"
        )
        warn(
            f"{files} passed over, by endings that are not of videos or images: {kinds}{rest};"
            " name a file to have it tried"
        )


def _begin(inputs: Iterable["Source"]) -> Iterator["Source"]:
    """The inputs, the first of which is looked for now.

    Raises:
        UsageError: standard input is no list.
    """
    rest = iter(inputs)
    return chain(list(islice(rest, 1)), rest)


@contextmanager
def _open_first(inputs: Iterable["Source"], config: DetectConfig) -> Iterator["ReadAhead | None"]:
    """The first input, decoded while the models are loaded; None where processes judge."""
    from deepkd.cli.start import take_started

    first = next(iter(inputs), None) if isinstance(inputs, list) and not config.workers else None
    no_file = first is None or first.problem or first.link or is_stored(first.path)
    path = None if first is None or no_file else first.path
    early = take_started(path, config)
    if path is None:
        yield None
        return
    from deepkd.video.frames import evenly
    from deepkd.video.readahead import ReadAhead

    with early or ReadAhead(path, evenly(config.samples)) as video:
        yield video


def _load(
    config: DetectConfig, report: Path | None, *, quiet: bool
) -> tuple["Detector", "Provenance"]:
    """The detector, and what a report says of it; a doubtful model is warned of."""
    from deepkd.cli.progress import warn
    from deepkd.languages import usual_language
    from deepkd.pipeline import Detector
    from deepkd.report import Provenance, shows_faces
    from deepkd.report.card import model_doubt

    with_faces = report is not None or shows_faces(config.format)
    detector = Detector.load(config, thumbnails=with_faces)
    language = config.language or usual_language()
    provenance = replace(Provenance.of(detector), language=language)
    if (doubt := model_doubt(provenance.metadata)) and not quiet:
        warn(doubt)
    return detector, provenance


@contextmanager
def _reports(
    config: DetectConfig, provenance: "Provenance", file: Path | None, part: "Part | None"
) -> Iterator[list["Report"]]:
    """The part or the report in a file, and the one on standard output.

    Both are finished even when the work is interrupted.
    """
    from deepkd.report import open_report, report_name

    with ExitStack() as stack:
        reports: list[Report] = [part] if part else []
        if file:
            beside = stack.enter_context(write_whole(file))
            out = stack.enter_context(beside.open("w", encoding="utf-8", newline=""))
            reports.append(open_report(report_name(file), out, provenance))
            stack.callback(reports[0].close)
        if part and config.format == "table":
            yield reports
            return
        answer = StandardOutput(config.format, provenance, alone=not reports)
        stack.callback(answer.close)
        yield [*reports, answer]
    if file:
        config.save(settings_beside(file))
    answer.check()


def _draw(verdict: "Verdict", file: Path, limit_s: float, code: int) -> None:
    """Draw the verdict into a copy of its clip; `file` is whole or absent.

    If that fails, the exit code for a FAKE stays.
    """
    from deepkd.report.video import write_video

    try:
        with write_whole(file) as beside:
            kept = verdict.origin.file if verdict.origin else None
            write_video(replace(verdict, path=kept or verdict.path), beside, limit_s=limit_s)
    except DeepKDError as error:
        if code == FOUND:
            error.exit_code = code
        raise


def _judge(
    inputs: Iterable["Source"],
    detector: "Detector",
    reports: Sequence["Report"],
    *,
    first: "ReadAhead | None",
    quiet: bool,
    verbose: bool,
) -> _Outcome:
    """Give every verdict to every report. Ctrl-C ends it early and keeps what is done."""
    outcome, mute = _Outcome(), quiet or _prints_on_terminal(detector.config.format)
    try:
        verdicts = detector.judge_all(inputs, workers=detector.config.workers, first=first)
        for verdict in _with_progress(verdicts, inputs, quiet=mute):
            outcome.tally[verdict.label] += 1
            outcome.last = verdict
            if verdict.label == "ERROR":
                outcome.failed.append(f"{verdict.path}: {verdict.reason}")
            for report in reports:
                report.add(verdict)
            if verbose:
                _print_details(verdict)
    except KeyboardInterrupt as interrupt:
        outcome.interrupted = interrupt
    return outcome


def _prints_on_terminal(format: str) -> bool:
    """Whether verdicts are printed one by one on a terminal, where a bar would be in their way."""
    return format != "table" and sys.stdout.isatty() and sys.stderr.isatty()


def _with_progress(
    verdicts: Iterator["Verdict"], inputs: Iterable["Source"], *, quiet: bool
) -> Iterator["Verdict"]:
    """The verdicts, with a bar or lines on standard error where there are several."""
    total = len(inputs) if isinstance(inputs, list) else None
    if quiet or total in (0, 1):
        yield from verdicts
        return
    from deepkd.cli.progress import progress

    with progress("Judging", "inputs") as show:
        show(0, total)
        for done, verdict in enumerate(verdicts, 1):
            yield verdict
            show(done, total)


def _print_details(verdict: "Verdict") -> None:
    from deepkd.text import visible

    count = verdict.frames_sampled
    stages = ", ".join(f"{stage} {ms:.0f} ms" for stage, ms in verdict.timing_ms.items())
    looked = (
        f"{count} frame{'' if count == 1 else 's'}; {stages}" if stages else "could not be judged"
    )
    print(f"{visible(verdict.path)}: {looked}", file=sys.stderr)
