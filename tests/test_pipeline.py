import dataclasses
import json
import os
from collections import Counter
from io import StringIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from media import Media, scene, write_video
from scorer_factory import tinted_clip, write_scorer

from deepkd.errors import ModelError
from deepkd.judging import _criteria, judge_file
from deepkd.pipeline import Detector
from deepkd.report import Provenance, open_report
from deepkd.scoring.footage import find_people
from deepkd.scoring.thumbnails import SHOWN
from deepkd.scoring.verdict import Label, Verdict
from deepkd.settings.detect import DetectConfig
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


def test_inputs_are_only_read(bench: Detector, media: Media):
    path = media.clip()
    before = (path.read_bytes(), os.stat(path).st_mtime_ns, sorted(media.folder.iterdir()))
    bench.judge(Source(path))
    assert (path.read_bytes(), os.stat(path).st_mtime_ns, sorted(media.folder.iterdir())) == before
