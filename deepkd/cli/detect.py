"""`deepkd detect`: clips to verdicts."""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from deepkd.cli.options import ConfigFile, takes_settings
from deepkd.config import load_config
from deepkd.errors import DeepKDError, UsageError, VideoError
from deepkd.outputs import (
    check_outputs,
    file_id,
    refuse_inputs_as_outputs,
    settings_beside,
    writing,
)
from deepkd.settings.detect import DetectConfig

if TYPE_CHECKING:
    from deepkd.pipeline import Detector
    from deepkd.report import Provenance, Report
    from deepkd.scoring.model import Scorer
    from deepkd.scoring.verdict import Verdict
    from deepkd.video.readahead import ReadAhead
    from deepkd.video.sources import Source

FOUND = 4
"""The exit code of --fail-on-fake when a FAKE was found, whatever else fails."""

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...", help="Files, folders, globs, or - for paths on standard input."
    ),
]
ReportFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Write a report too: .html (with evidence), .json, .jsonl, .csv."
    ),
]
VideoFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write the clip with boxes and scores drawn in: .webm."),
]
FailOnFake = Annotated[
    bool, typer.Option("--fail-on-fake", help="Exit with 4 when a FAKE was found.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing output files.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only errors on standard error.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say how long each input took, and on what.")
]


@takes_settings(DetectConfig)
def detect(
    sources: Sources,
    *,
    report: ReportFile = None,
    save_video: VideoFile = None,
    fail_on_fake: FailOnFake = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    config_file: ConfigFile = None,
    **settings: Any,
) -> None:
    """Judge whether the faces in videos or images are forged.

    The answer for each input is FAKE, REAL, INCONCLUSIVE or NO_FACE, with the reason.

    FAKE is a reason to look closer, never a proof; REAL is no certificate.

    Exit codes: 0 all were judged; 1 nothing could be judged; 2 wrong usage; 3 some inputs failed;
    4 a FAKE was found (with --fail-on-fake only).
    """
    # NumPy needs no threads here, and they take time to start.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    config = load_config(DetectConfig, config_file, **settings)
    from deepkd.video.sources import find_sources

    outputs = [file for file in (report, report and settings_beside(report), save_video) if file]
    inputs: Iterable[Source] = _refuse_inputs_as_outputs(
        find_sources(sources, stdin=sys.stdin.buffer), outputs
    )
    if save_video or "-" not in sources:
        inputs = list(inputs)
    _check_outputs(report, save_video, inputs, overwrite=overwrite)
    with _open_first(inputs, config) as first:
        detector, provenance = _load(config, report, quiet=quiet)
        with _reports(config, provenance, report) as reports:
            outcome = _judge(inputs, detector, reports, first=first, quiet=quiet, verbose=verbose)
    code = exit_code(outcome.tally, fail_on_fake=fail_on_fake)
    if save_video and outcome.last and not outcome.interrupted:
        _draw(outcome.last, save_video, config.timeout_s, code)
    if not quiet and not (config.format == "table" and sys.stdout.isatty()):
        from deepkd.cli.progress import name_first

        name_first("error", outcome.failed, rest="more inputs failed")
    if not quiet:
        _name_passed_over(sources)
    if outcome.interrupted:
        raise outcome.interrupted
    raise typer.Exit(code)


@dataclass
class _Outcome:
    tally: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    last: "Verdict | None" = None
    interrupted: KeyboardInterrupt | None = None


def exit_code(tally: Counter[str], *, fail_on_fake: bool = False) -> int:
    """The exit code for these numbers of verdicts (label -> number)."""
    if fail_on_fake and tally["FAKE"]:
        return FOUND
    if not tally["ERROR"]:
        return 0 if tally.total() else 1
    return 3 if tally.total() > tally["ERROR"] else 1


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


def _refuse_inputs_as_outputs(
    inputs: Iterable["Source"], outputs: Sequence[Path]
) -> Iterator["Source"]:
    """The inputs, as long as no output would replace one of them, under whatever name.

    Raises:
        OutputError: an output is the input that is next.
    """
    existing = [file for file in outputs if file_id(file)]
    for source in inputs:
        if existing:
            refuse_inputs_as_outputs(existing, [source.path])
        yield source


def _check_outputs(
    report: Path | None, video: Path | None, inputs: Iterable["Source"], *, overwrite: bool
) -> None:
    """Refuse what cannot be written before any work is done."""
    from deepkd.report import report_name

    if report:
        report_name(report)
        check_outputs([report], overwrite=overwrite)
    if video:
        _check_video(video, list(inputs), overwrite=overwrite)


def _check_video(video: Path, inputs: Sequence["Source"], *, overwrite: bool) -> None:
    """Refuse --save-video for anything but one video."""
    from deepkd.video.stills import check_file, still_kind

    if len(inputs) != 1:
        raise UsageError(
            f"--save-video takes one input, not {len(inputs)}; run deepkd once for each clip"
        )
    if video.suffix.lower() != ".webm":
        raise UsageError(f"--save-video {video}: writes WebM; give a name that ends in .webm")
    check_outputs(files=[video], overwrite=overwrite)
    path = inputs[0].path
    with suppress(VideoError):  # which the verdict reports
        if still_kind(check_file(path)):
            raise UsageError(
                f"--save-video takes a video, and {path} is a still image; --report shows it"
            )


@contextmanager
def _open_first(inputs: Iterable["Source"], config: DetectConfig) -> Iterator["ReadAhead | None"]:
    """The first input, decoded while the models are loaded; None where processes judge."""
    from deepkd.cli.start import take_started

    first = next(iter(inputs), None) if isinstance(inputs, list) and not config.workers else None
    path = None if first is None or first.problem else first.path
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
    from deepkd.pipeline import Detector
    from deepkd.report import Provenance, shows_faces
    from deepkd.report.card import model_doubt

    with_faces = report is not None or shows_faces(config.format)
    detector = Detector.load(config, thumbnails=with_faces)
    scorer, limits = cast("Scorer", detector.scorer), detector.thresholds
    if (doubt := model_doubt(scorer.metadata)) and not quiet:
        warn(doubt)
    thresholds = limits.to_dict() if limits else {}
    about = (scorer.name, scorer.sha256, scorer.params, scorer.metadata)
    return detector, Provenance(*about, config.as_dict(), thresholds)


@contextmanager
def _reports(
    config: DetectConfig, provenance: "Provenance", file: Path | None
) -> Iterator[list["Report"]]:
    """The report in a file, and the one on standard output.

    Both are finished even when the work is interrupted.
    """
    from deepkd.report import open_report, report_name

    with ExitStack() as stack:
        reports: list[Report] = []
        if file:
            beside = stack.enter_context(writing(file))
            out = stack.enter_context(beside.open("w", encoding="utf-8", newline=""))
            reports.append(open_report(report_name(file), out, provenance))
            stack.callback(reports[0].close)
        answer = _StandardOutput(config.format, provenance, alone=not file)
        stack.callback(answer.close)
        yield [*reports, answer]
    if file:
        config.save(settings_beside(file))
    answer.check()


class _StandardOutput:
    """The report on standard output.

    When standard output is closed, a report in a file goes on, and `check` raises the error.
    """

    def __init__(self, format: str, provenance: "Provenance", *, alone: bool) -> None:
        from deepkd.report import encoding_of, open_report

        self._alone = alone
        self._error: OSError | None = None
        self._report: Report | None = None
        encoding = encoding_of(format)
        sys.stdout.reconfigure(encoding=encoding, errors="backslashreplace")  # type: ignore[union-attr]
        with self._kept():
            self._report = open_report(format, sys.stdout, provenance)

    def add(self, verdict: "Verdict") -> None:
        with self._kept():
            if self._report:
                self._report.add(verdict)

    def close(self) -> None:
        with self._kept():
            if self._report:
                self._report.close()
            sys.stdout.flush()

    def check(self) -> None:
        """Raise what went wrong (OSError)."""
        if self._error:
            raise self._error

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._error = self._error or error
            os.dup2(
                os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
            )  # takes the rest, also at exit
            if self._alone:
                self.check()


def _draw(verdict: "Verdict", file: Path, limit_s: float, code: int) -> None:
    """Draw the verdict into a copy of its clip; `file` is whole or absent.

    If that fails, the exit code for a FAKE stays.
    """
    from deepkd.report.video import write_video

    try:
        with writing(file) as beside:
            write_video(verdict, beside, limit_s=limit_s)
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
    total = len(inputs) if isinstance(inputs, list) else 0
    if quiet or total < 2:
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
