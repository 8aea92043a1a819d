"""Judging: the queue of the store, worked off by worker processes."""

import asyncio
import ctypes
import multiprocessing
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepkd.serve.clips import Evidence, Person, Result
from deepkd.serve.store import ATTEMPTS, Store
from deepkd.text import visible

if TYPE_CHECKING:
    from deepkd.pipeline import Detector
    from deepkd.scoring.verdict import TrackVerdict, Verdict
    from deepkd.settings.detect import DetectConfig
    from deepkd.video.frames import Frame

POINTS = 120
"""Points of a small time line, at most."""
AGAIN_S = 5.0
"""Seconds until workers that cannot start are tried again."""
SHORTEST_S = 0.001
"""Length by which no progress is divided: a still image has 0."""


@dataclass(frozen=True)
class Task:
    """One clip to judge."""

    id: str
    path: Path
    name: str
    bytes: int
    progress: Path
    """File to note the progress in."""


class Judging:
    """A thread that gives queued clips to worker processes and keeps what they find."""

    def __init__(
        self,
        store: Store,
        config: "DetectConfig",
        *,
        made_with: str,
        workers: int,
        threads: int,
        log_names: bool = False,
    ) -> None:
        self.store, self.made_with, self.workers = store, made_with, workers
        self.problem = ""
        """Why nothing is judged at present; "" where all is well."""
        self.seconds, self.done = 0.0, Counter[str]()
        self._start = partial(
            start_worker, config, store.read_model(made_with)["thresholds"], threads
        )
        self._began: dict[str, float] = {}
        self._alarm, self._bell = multiprocessing.Pipe(duplex=False)
        self._log_names = log_names
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: set[asyncio.Event] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="judging", daemon=True)

    def start(self) -> None:
        """Start the workers, which load their models."""
        self._thread.start()

    def wake(self) -> None:
        """Say that a clip was queued."""
        with suppress(OSError):
            self._bell.send_bytes(b"!")

    def stop(self) -> None:
        """End the workers; what they were judging waits for the next start."""
        self._stopping.set()
        self._bell.close()
        self._thread.join()

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tell `subscribe` in this loop."""
        self._loop = loop

    @contextmanager
    def subscribe(self) -> Iterator[asyncio.Event]:
        """An event of the loop that is set whenever a clip is finished."""
        event = asyncio.Event()
        self._listeners.add(event)
        try:
            yield event
        finally:
            self._listeners.discard(event)

    def _tell(self) -> None:
        for event in self._listeners:
            event.set()

    def __iter__(self) -> Iterator[Task]:
        """The clips that wait now, see `run_tasks`."""
        return self

    def __next__(self) -> Task:
        """The next clip, taken out of the queue; asked for once a worker is ready."""
        self.problem = ""
        while clip := self.store.take(self.made_with):
            task = Task(
                clip.id, self.store.locate(clip), clip.name, clip.bytes,
                self.store.locate_progress(clip.id),
            )  # fmt: skip
            if clip.attempts < ATTEMPTS:
                self._began[clip.id] = time.monotonic()
                return task
            self.keep(task, None, f"the server ended {clip.attempts} times while judging it")
        raise StopIteration

    def _run(self) -> None:
        from deepkd.pool import run_tasks

        while not self._stopping.is_set():
            try:
                self.store.queue_again()
                for outcome in run_tasks(self._start, self, workers=self.workers, wake=self._alarm):
                    self.keep(outcome.task, outcome.result, outcome.error)
            except Exception as error:  # the disk may be full: say so, and try again
                self.problem = str(error)
                say(f"error: nothing is judged ({visible(error)}); next try in {AGAIN_S:g} s")
                self._stopping.wait(AGAIN_S)

    def keep(self, task: Task, result: Result | None, error: str) -> None:
        """Store the result of a clip, or why there is none, and tell those who listen."""
        took_s = time.monotonic() - self._began.pop(task.id, time.monotonic())
        self.seconds += took_s
        result = result or make_failure(task, error)
        if self.store.finish(task.id, result):
            self.done[result.verdict] += 1
            name = f" ({task.name})" if self._log_names else ""
            say(f"judged {task.id[:8]}{name}: {result.verdict} in {took_s:.1f} s")
        if self._loop:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._tell)

    def estimate_clip_s(self) -> float:
        """How long a clip takes on average, 5 s before one is known."""
        count = self.done.total()
        return self.seconds / count if count else 5.0


def say(text: str) -> None:
    """Write a line of the log."""
    print(text, file=sys.stderr, flush=True)


def start_worker(
    config: "DetectConfig", thresholds: dict[str, float], threads: int
) -> Callable[[Task], Result]:
    """Load the models in a worker process.

    Args:
        config: how to judge.
        thresholds: as of `Provenance`.
        threads: CPU threads of each library.
    """
    import cv2

    from deepkd.pipeline import Detector

    cv2.setNumThreads(threads)
    detector = Detector.load(config, thumbnails=True, threads=threads)
    return partial(judge_clip, detector, thresholds)


def judge_clip(detector: "Detector", thresholds: dict[str, float], task: Task) -> Result:
    """Judge one clip as `deepkd detect` does, and note the progress."""
    from deepkd.video.frames import evenly
    from deepkd.video.readahead import ReadAhead
    from deepkd.video.sources import Source

    video = ReadAhead(task.path, evenly(detector.config.samples), threads=detector.threads)
    furthest = 0.0

    def note(frame: "Frame") -> "Frame":
        nonlocal furthest  # a closer look goes back
        furthest = max(furthest, frame.t_s / max(video.info.duration_s, SHORTEST_S))
        with suppress(OSError):
            task.progress.write_text(f"{furthest:.3f}", encoding="ascii")
        return frame

    verdict = detector.judge(Source(task.path), video=video, alter=note)
    result = make_result(verdict, task, thresholds)
    return_memory()
    return result


def return_memory() -> None:
    """Give the system what the C library keeps of freed memory, which grows with each clip."""
    with suppress(OSError, AttributeError, TypeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)


def make_result(verdict: "Verdict", task: Task, thresholds: dict[str, float]) -> Result:
    """What is kept of a verdict: all of it, under the clip's own name."""
    from deepkd.report.html import describe, describe_file

    reason = verdict.reason.replace(str(task.path), task.name)
    verdict = replace(verdict, path=Path(task.name), reason=reason)
    file = describe_file(task.bytes, task.id)
    return Result(
        str(verdict.label), verdict.score, visible(reason),
        tuple(_summarize_person(track, verdict.duration_s or 0.0) for track in verdict.tracks),
        Evidence(verdict.to_dict(), describe(verdict, thresholds, file=file)),
    )  # fmt: skip


def make_failure(task: Task, error: str) -> Result:
    """The result for a clip that cannot be judged."""
    from deepkd.scoring.verdict import Verdict

    return make_result(Verdict.from_failure(task.path, error), task, {})


def _summarize_person(track: "TrackVerdict", duration_s: float) -> Person:
    """A person in a few words, with the highest score of each part of the clip."""
    span_s = max(duration_s, track.frames[-1].t_s) or 1.0
    highest: dict[int, tuple[float, float]] = {}
    for frame in track.frames:
        share = frame.t_s / span_s
        part = int(share * POINTS)
        if frame.flaw is None and frame.score > highest.get(part, (0, -1.0))[1]:
            highest[part] = (round(share, 4), round(frame.score, 4))
    return Person(track.name, str(track.label), track.score, tuple(highest.values()))


def make_key(provenance: Any) -> str:
    """A key for the model and the settings that verdicts depend on."""
    import hashlib
    import json

    free = {"workers", "format", "timeout_s", "model", "language"}
    settings = {key: value for key, value in provenance.settings.items() if key not in free}
    text = json.dumps([provenance.sha256, settings], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
