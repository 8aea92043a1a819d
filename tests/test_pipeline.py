import dataclasses
import json
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from io import StringIO
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from media import Media, scene, write_video
from scorer_factory import tinted_clip, write_scorer

from deepkd.errors import ModelError, VideoError
from deepkd.parallel import AHEAD
from deepkd.pipeline import Detector, _criteria, find_people, judge_file
from deepkd.pool import Outcome
from deepkd.report import Provenance, open_report
from deepkd.scoring.thumbnails import SHOWN
from deepkd.scoring.verdict import Label, Verdict
from deepkd.settings.detect import DetectConfig
from deepkd.timing import Stopwatch, time_limit
from deepkd.video.faces import Face
from deepkd.video.frames import Frame, probe
from deepkd.video.sources import Source


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("detect")


@pytest.fixture(scope="module")
def model(folder: Path) -> str:
    return str(write_scorer(folder / "green.onnx"))


@pytest.fixture(scope="module")
def bench(model: str) -> Detector:
    return Detector.load(DetectConfig(model=model), thumbnails=True, threads=2)


def with_config(detector: Detector, **settings) -> Detector:
    """The same model and face detector with some settings changed."""
    config = detector.config.replace(**settings)
    return Detector.from_parts(detector.scorer, detector.faces, config)


@pytest.fixture(scope="module")
def two(folder: Path) -> Path:
    """Two people; the right one is forged between 1 and 2 s."""
    people = ("astronaut", "grace_hopper")
    return tinted_clip(
        folder / "two.mp4",
        faces=people,
        size=(480, 240),
        seconds=3,
        right_only=True,
        green=lambda t_s: 1 <= t_s < 2,
    )


@pytest.fixture(scope="module")
def verdict(bench: Detector, two: Path) -> Verdict:
    return bench.judge(Source(two))


def test_two_people_are_kept_apart(verdict: Verdict):
    left, right = verdict.tracks
    assert verdict.label is Label.FAKE
    assert (left.label, right.label) == (Label.REAL, Label.FAKE)
    assert verdict.score == right.score > 0.9
    assert all(frame.box[0] + frame.box[2] < 240 for frame in left.frames)
    assert all(frame.box[0] >= 240 for frame in right.frames)


def test_the_seconds_are_named(verdict: Verdict):
    start, end = verdict.tracks[1].forged_s
    assert 1 <= start < end < 2
    assert "person 2 looks forged from 0:01." in verdict.reason


def test_times_and_counts(verdict: Verdict):
    assert verdict.duration_s == pytest.approx(3, abs=0.05)
    assert verdict.fps == pytest.approx(10)
    times = [frame.t_s for frame in verdict.tracks[0].frames]
    assert times == sorted(times)
    assert len(times) == verdict.frames_sampled <= 16
    parts = sum(verdict.timing_ms[stage] for stage in ("decode", "faces", "score"))
    assert 0 < parts <= verdict.timing_ms["total"]


def test_few_thumbnails_are_kept(verdict: Verdict, model: str, two: Path):
    for track in verdict.tracks:
        kept = [frame for frame in track.frames if frame.thumbnail]
        assert len(kept) == 2 * SHOWN
        logits = sorted(frame.logit for frame in track.frames)
        assert {frame.logit for frame in kept} == {*logits[:SHOWN], *logits[-SHOWN:]}
        picture = cv2.imdecode(np.frombuffer(kept[0].thumbnail, np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape == (112, 112, 3)
    plain = Detector.load(DetectConfig(model=model), threads=2).judge(Source(two))
    assert not any(frame.thumbnail for track in plain.tracks for frame in track.frames)


def test_evidence_is_kept_for_the_faces_shown(folder: Path, two: Path):
    config = DetectConfig(model=str(write_scorer(folder / "located.onnx", evidence=True)))
    shown = Detector.load(config, thumbnails=True, threads=2).judge(Source(two))
    for track in shown.tracks:
        assert all((frame.evidence is not None) == bool(frame.thumbnail) for frame in track.frames)
        kept = [frame for frame in track.frames if frame.evidence is not None]
        assert [frame.evidence.mean() for frame in kept] == pytest.approx(
            [f.logit for f in kept], abs=1e-3
        )
    plain = Detector.load(config, threads=2).judge(Source(two))
    assert said([plain]) == said([shown])
    assert all(frame.evidence is None for track in plain.tracks for frame in track.frames)


NUMBER = (int, float)
FRAME = {"t_s": NUMBER, "box": [NUMBER], "score": NUMBER, "face_probability": NUMBER}
TRACK = {
    "id": int,
    "person": int,
    "verdict": str,
    "score": (*NUMBER, None),
    "evidence": str,
    "first_s": NUMBER,
    "last_s": NUMBER,
    "frames": [FRAME],
}
SHOT = {
    "start_s": NUMBER,
    "end_s": NUMBER,
    "verdict": str,
    "score": (*NUMBER, None),
    "persons": [int],
    "suspicious_s": [[NUMBER]],
}
VIDEO = {
    "path": str,
    "verdict": str,
    "score": (*NUMBER, None),
    "reason": str,
    "evidence": str,
    "duration_s": (*NUMBER, None),
    "fps": (*NUMBER, None),
    "frames_sampled": int,
    "has_sound": (bool, None),
    "shots": [SHOT],
    "tracks": [TRACK],
    "timing_ms": {"decode": NUMBER, "faces": NUMBER, "score": NUMBER, "total": NUMBER},
}
CREDENTIALS = {
    "state": str,
    "signer": (str, None),
    "tool": (str, None),
    "signed_at": (str, None),
    "digital_source_types": [str],
    "says_ai_generated": bool,
    "actions": [dict],
    "problems": [str],
    "address": (str, None),
}
SCHEMA = {"schema": str, "model": {"name": str, "sha256": str, "params": int}, "videos": [VIDEO]}


def check(value, schema, where="$"):
    """Every key and every type of schema deepkd.detect/1, and no other key."""
    if isinstance(schema, dict):
        assert list(value) == list(schema), where
        for key in schema:
            check(value[key], schema[key], f"{where}.{key}")
    elif isinstance(schema, list):
        assert isinstance(value, list), where
        for item in value:
            check(item, schema[0], f"{where}[]")
    else:
        kinds = schema if isinstance(schema, tuple) else (schema,)
        assert type(value) in {type(None) if kind is None else kind for kind in kinds}, where


def test_json_is_of_the_schema(bench: Detector, verdict: Verdict, media: Media):
    inputs = [
        media.junk(),
        media.clip("noise.mp4", faces=()),
        media.clip("short.mp4", seconds=0.1),
        media.still(),
    ]
    out = StringIO()
    report = open_report(
        "json", out, Provenance(bench.scorer.name, bench.scorer.sha256, bench.scorer.params)
    )
    for answer in (verdict, *bench.judge_all(map(Source, inputs))):
        report.add(answer)
    report.close()
    document = json.loads(
        out.getvalue(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON")
    )
    found = [video.pop("provenance", None) for video in document["videos"]]
    for credentials in filter(None, found):
        check(credentials, CREDENTIALS)
    assert [one and one["state"] for one in found] == ["none", None, "none", "none", "none"]
    check(document, SCHEMA)
    assert document["schema"] == "deepkd.detect/1"
    videos = document["videos"]
    assert [video["verdict"] for video in videos] == [
        "FAKE",
        "ERROR",
        "NO_FACE",
        "INCONCLUSIVE",
        "REAL",
    ]
    assert all(
        len(frame["box"]) == 4
        for video in videos
        for track in video["tracks"]
        for frame in track["frames"]
    )
    assert videos[1]["duration_s"] is videos[1]["fps"] is None


@pytest.mark.parametrize(
    ("settings", "verdict"),
    [
        ({"threshold_fake": 0.9999, "threshold_real": 0.001}, Label.INCONCLUSIVE),
        ({"threshold_fake": 1.0, "threshold_real": 0.9999}, Label.REAL),
        ({"rule": "upstream"}, Label.REAL),
        ({"frames": 2}, Label.FAKE),
        ({"frames": 2, "single_look": True}, Label.INCONCLUSIVE),
        ({"frames": 2, "every_s": 0.0}, Label.REAL),
        ({"min_frames": 40, "frames": 40}, Label.INCONCLUSIVE),
    ],
)
def test_settings_are_obeyed(settings: dict, verdict: Label, bench: Detector, two: Path):
    config = bench.config.replace(**settings)
    assert judge_file(two, bench.scorer, bench.faces, config).label is verdict


@pytest.mark.parametrize(
    ("duration_s", "settings", "needed"),
    [(60, {}, 3), (0.5, {}, 1), (60, {"every_s": 0.0}, 1), (60, {"every_s": 30.0}, 2)],
)
def test_frames_needed_are_those_that_can_be_had(
    duration_s: float, settings: dict, needed: int, bench: Detector, two: Path
):
    config = bench.config.replace(frames=1, **settings)
    info = dataclasses.replace(probe(two), duration_s=duration_s)
    assert _criteria(bench.scorer, config, info).min_frames == needed


def test_every_so_many_seconds(bench: Detector, two: Path):
    config = bench.config.replace(frames=2, single_look=True)
    configs = [config.replace(every_s=every_s) for every_s in (0.0, 0.5, None)]
    counts = [
        judge_file(two, bench.scorer, bench.faces, config).frames_sampled for config in configs
    ]
    assert counts == [2, 6, 4]


@pytest.mark.parametrize(
    ("duration_s", "settings", "count"),
    [
        (10, {}, 16),
        (60, {}, 75),
        (600, {}, 750),
        (1200, {}, 1500),
        (36_000, {}, 1500),
        (0, {}, 16),
        (60, {"every_s": 0.0}, 16),
        (3600, {"every_s": 1.0}, 3600),
        (10, {"frames": 40}, 40),
    ],
)
def test_how_many_frames(duration_s: float, settings: dict, count: int):
    assert DetectConfig(**settings).samples(duration_s) == count


@pytest.fixture(scope="module")
def long(folder: Path) -> Path:
    """30 s of which one second, between two samples of the middle, is forged."""
    return tinted_clip(
        folder / "long.mp4", seconds=30, fps=10, green=lambda t_s: 17.1 <= t_s < 18.1
    )


def test_a_forged_second_in_a_long_clip_is_found(bench: Detector, long: Path):
    answer = bench.judge(Source(long))
    assert answer.label is Label.FAKE
    start, end = answer.tracks[0].forged_s
    assert 17.1 <= start < end <= 18.1
    closer = [frame for frame in answer.tracks[0].frames if frame.is_closer]
    assert 3 <= len(closer) <= 20 and all(16 < frame.t_s < 19.2 for frame in closer)
    assert (
        len(times := [frame.t_s for frame in answer.tracks[0].frames])
        <= answer.frames_sampled
        <= 38 + 30
    )
    assert times == sorted(set(times))


def test_without_a_closer_look_it_is_missed(bench: Detector, long: Path):
    config = bench.config.replace(single_look=True)
    assert judge_file(long, bench.scorer, bench.faces, config).label is Label.REAL


def test_a_closer_look_at_one_odd_frame_is_no_verdict(bench: Detector, folder: Path):
    clip = tinted_clip(folder / "odd.mp4", seconds=12, fps=10, green=lambda t_s: 5.85 <= t_s < 6.15)
    every = bench.config.replace(frames=int(12 / 0.1), single_look=True)
    suspicious = [
        f.t_s
        for f in judge_file(clip, bench.scorer, bench.faces, every).tracks[0].frames
        if f.score > 0.9
    ]
    assert 1 <= len(suspicious) <= 4
    config = bench.config.replace(frames=15 * 2 - 1)
    answer = judge_file(clip, bench.scorer, bench.faces, config)
    assert answer.label is Label.REAL


def test_a_closer_look_follows_the_person(bench: Detector, folder: Path):
    people = ("astronaut", "grace_hopper")
    clip = tinted_clip(
        folder / "pair.mp4",
        faces=people,
        size=(480, 240),
        seconds=12,
        right_only=True,
        green=lambda t_s: 5.5 <= t_s < 6.5,
    )
    left, right = bench.judge(Source(clip)).tracks
    assert (left.label, right.label) == (Label.REAL, Label.FAKE)
    assert not any(frame.is_closer for frame in left.frames)
    assert all(frame.box[0] >= 240 for frame in right.frames)
    assert [frame for frame in right.frames if frame.is_closer]


def test_too_slow_is_an_error_and_the_next_input_is_judged(
    model: str, bench: Detector, media: Media
):
    hasty = with_config(bench, timeout_s=1e-4)
    slow = hasty.judge(Source(media.clip()))
    assert slow.label is Label.ERROR
    assert slow.reason == "took longer than 0.0001 s; raise --timeout, or lower --frames"
    assert bench.judge(Source(media.still())).label is Label.REAL
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


def test_time_limit_rings_inside_a_long_step():
    with (
        pytest.raises(VideoError, match=r"clip\.mp4: took longer than 0\.01 s"),
        time_limit(Path("clip.mp4"), 0.01),
    ):
        for _ in range(10**9):
            pass


def test_time_limit_holds_where_its_ringing_comes_to_nothing():
    late = pytest.raises(VideoError, match=r"took longer than 0\.01 s")
    with late, time_limit(Path("clip.mp4"), 0.01), suppress(VideoError):
        time.sleep(0.2)


def test_time_limit_holds_in_a_thread_too(bench: Detector, media: Media):
    answers: list[Verdict] = []
    hasty = with_config(bench, timeout_s=1e-4)
    source = Source(media.clip())
    thread = threading.Thread(target=lambda: answers.append(hasty.judge(source)))
    thread.start()
    thread.join()
    assert "took longer" in answers[0].reason


def test_small_faces_beside_larger_ones_are_sought_now_and_then_and_while_there_are_any(
    bench: Detector,
):
    large = Face((10, 10, 80, 100), 0.99, np.full((5, 2), 50, np.float32))
    small = dataclasses.replace(large, box=(150, 40, 20, 25), is_small=True)
    there, searched = range(3, 10), []

    class Crowd:
        def detect(self, image, *, thorough=False):
            number = int(image[0, 0, 0])
            searched.append(number) if thorough else None
            return [large, small] if thorough and number in there else [large]

    frames = [
        Frame(np.full((120, 200, 3), number, np.uint8), float(number), number)
        for number in range(14)
    ]
    people = Counter(person for person, _ in find_people(frames, Crowd(), bench.scorer.format))
    assert searched == [0, *range(4, 11), 12]
    assert people == {0: 14, 1: 6}


def test_a_person_who_returns_after_a_cut_keeps_the_number(bench: Detector, media: Media):
    near, far = {"face_share": 0.6, "size": (320, 240)}, {"face_share": 0.3, "size": (320, 240)}
    pictures = [
        scene((name,), phase=0.3 * i, **how)
        for name, how in (("astronaut", near), ("grace_hopper", near), ("astronaut", far))
        for i in range(8)
    ]
    found = bench.judge(Source(write_video(media.path("cuts.mp4"), pictures, fps=4)))
    assert [shot.people for shot in found.shots] == [(0,), (1,), (0,)]
    assert [shot.end_s for shot in found.shots] == pytest.approx([2, 4, 6], abs=0.4)
    assert {track.person for track in found.tracks} == {0, 1}
    assert found.reason.startswith("2 people; ") and found.has_sound is False
    assert len(found.sampled_s) == found.frames_sampled == 16


class Broken:
    """A detector that fails in a way nobody foresaw."""

    def detect(self, image, *, thorough=False):
        raise RuntimeError("no\nidea")


def test_a_surprise_is_an_error_of_that_input_alone(bench: Detector, media: Media):
    answer = Detector.from_parts(bench.scorer, Broken()).judge(Source(media.still()))
    assert answer.label is Label.ERROR
    assert answer.reason.startswith("not judged, RuntimeError at test_pipeline.py:")


def test_a_score_that_is_no_number_is_an_error(media: Media):
    sick = Detector.load(
        DetectConfig(model=str(write_scorer(media.path("sick.onnx"), bias=float("nan")))), threads=2
    )
    answer = sick.judge(Source(media.still()))
    assert (answer.label, answer.score) == (Label.ERROR, None)
    assert "no number" in answer.reason


def test_a_missing_model_is_refused_before_the_first_input():
    with pytest.raises(ModelError, match="no such model"):
        Detector("nothing.onnx")


def test_a_run_is_told_how_it_becomes_a_model(tmp_path: Path):
    with pytest.raises(
        ModelError, match=f"is a folder; of a run, make: deepkd export {tmp_path} --out model.onnx"
    ):
        Detector.load(DetectConfig(model=str(tmp_path)))


def said(verdicts) -> list[tuple]:
    return [(v.path.name, v.label, v.score, v.reason, len(v.tracks)) for v in verdicts]


def test_processes_say_the_same_in_the_same_order_and_outlive_a_killed_one(
    bench: Detector, media: Media
):
    inputs = [
        Source(media.still("a.jpg")),
        Source(media.junk("b.mp4")),
        Source(media.path("c.mp4"), "does not exist"),
        Source(media.clip("d.mp4", faces=())),
        Source(media.still("e.jpg", forged=True)),
        Source(media.audio("f.mp4")),
    ]

    def with_a_murder():
        for number, source in enumerate(inputs):
            if number == 4:
                [child.kill() for child in multiprocessing.active_children()]
            yield source

    assert said(bench.judge_all(with_a_murder(), workers=2)) == said(bench.judge_all(inputs))
    assert not multiprocessing.active_children()


def test_interrupted_the_verdicts_that_came_early_are_handed_out(
    bench: Detector, monkeypatch: pytest.MonkeyPatch
):
    inputs = [Source(Path(f"{number}.mp4")) for number in range(9)]

    def interrupted(start, tasks, *, workers, room):
        tasks = list(tasks)
        for number in (1, 0, 6, 3):
            yield Outcome(tasks[number], Verdict.from_failure(tasks[number][1].path, "done"))
        raise KeyboardInterrupt

    monkeypatch.setattr("deepkd.pool.run_tasks", interrupted)
    verdicts = bench.judge_all(inputs, workers=2)
    assert [next(verdicts).path.stem for _ in range(4)] == ["0", "1", "3", "6"]
    with pytest.raises(KeyboardInterrupt):
        next(verdicts)


def test_few_verdicts_wait_for_a_slow_one(bench: Detector, monkeypatch: pytest.MonkeyPatch):
    begun = 0

    def first_comes_last(start, tasks, *, workers, room):
        nonlocal begun
        done = [
            Outcome(task, Verdict.from_failure(task[1].path, "done")) for task in islice(tasks, 1)
        ]
        while room():
            begun += 1
            yield Outcome(task := next(tasks), Verdict.from_failure(task[1].path, "done"))
        yield from done
        assert room()

    monkeypatch.setattr("deepkd.pool.run_tasks", first_comes_last)
    verdicts = bench.judge_all((Source(Path("x")) for _ in range(10**6)), workers=2)
    next(verdicts)
    assert begun == 2 * AHEAD
    assert len(list(verdicts)) == begun


def test_leaving_early_ends_the_processes(bench: Detector, media: Media):
    still = media.still()
    verdicts = bench.judge_all((Source(still) for _ in range(10**6)), workers=2)
    assert next(verdicts).label is Label.REAL
    children = multiprocessing.active_children()
    verdicts.close()
    for child in children:
        child.join()
    assert children
    assert not any(child.is_alive() for child in children)


def test_inputs_are_only_read(bench: Detector, media: Media):
    path = media.clip()
    before = (path.read_bytes(), os.stat(path).st_mtime_ns, sorted(media.folder.iterdir()))
    bench.judge(Source(path))
    assert (path.read_bytes(), os.stat(path).st_mtime_ns, sorted(media.folder.iterdir())) == before


def test_stopwatch_gives_nested_time_to_the_innermost(monkeypatch: pytest.MonkeyPatch):
    clock = iter(range(100))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(clock)))
    watch = Stopwatch()
    inner = watch.each("inner", [1, 2])
    assert list(watch.each("outer", inner)) == [1, 2]
    assert watch.count == {"inner": 2, "outer": 2}
    timing = watch.timing_ms()
    assert timing["inner"] == 3000
    assert timing["inner"] + timing["outer"] <= timing["total"]
