"""Damaged files: bytes flipped, blocks zeroed, ends cut off. Each gets an answer, and none without
a face a verdict.

The cases are the same in every run (a fixed seed), and are judged in a worker process, so that a
crash of a library would be seen as the loss of that process.
"""

from pathlib import Path

import numpy as np
import pytest
from media import Media
from scorer_factory import write_scorer

from deepkd.pipeline import Detector
from deepkd.scoring.verdict import Label, Verdict
from deepkd.settings.detect import DetectConfig
from deepkd.video.sources import Source

CASES = 200
SMALL = {"size": (128, 96), "seconds": 0.8, "face_share": 0.6}
TIMEOUT_S = 20.0


def originals(media: Media) -> list[Path]:
    """Small whole files of the containers and codecs that come by most."""
    return [
        media.clip("a.mp4", **SMALL),
        media.clip("b.mkv", **SMALL, options={"g": "3"}),
        media.clip(
            "c.webm", codec="libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8"}, **SMALL
        ),
        media.clip("d.avi", codec="mpeg4", **SMALL),
        media.clip("e.ts", **SMALL),
        media.still("f.jpg", size=(128, 96), face_share=0.6),
        media.still("g.png", size=(128, 96), face_share=0.6),
    ]


def damaged(data: bytes, random: np.random.Generator) -> bytes:
    """The bytes with one to forty of them changed, a block of them zeroed, or cut; mostly near the
    head or anywhere."""
    content = bytearray(data)
    reach = len(content) if random.random() < 0.6 else min(len(content), 600)
    kind = random.integers(4)
    if kind <= 1:
        for at in random.integers(0, reach, random.integers(1, 40)):
            content[at] = random.integers(256) if kind else content[at] ^ (1 << random.integers(8))
    elif kind == 2:
        start = int(random.integers(0, reach))
        end = min(len(content), start + int(random.integers(1, 400)))
        content[start:end] = bytes(end - start)
    if kind == 3 or random.random() < 0.25:
        content = content[: int(random.integers(1, len(content)))]
    return bytes(content)


def test_the_damage_is_what_is_said():
    random = np.random.default_rng(0)
    whole = random.integers(1, 256, 3000, np.uint8)
    kinds = set()
    for _ in range(200):
        after = np.frombuffer(damaged(whole.tobytes(), random), np.uint8)
        changed = np.flatnonzero(after != whole[: len(after)])
        in_block = len(changed) and not after[changed].any() and np.ptp(changed) == len(changed) - 1
        assert len(changed) < 40 or in_block
        kinds.add(
            (
                len(after) < len(whole),
                "block" if len(changed) >= 40 else "bytes" if len(changed) else "none",
            )
        )
    assert kinds >= {(False, "block"), (False, "bytes"), (True, "none")}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[Verdict]:
    media, random = Media(tmp_path_factory.mktemp("fuzz")), np.random.default_rng(0)
    whole = originals(media)
    sources = []
    for number in range(CASES):
        original = whole[number % len(whole)]
        path = media.path(f"cases/{number:03}{original.suffix}")
        path.write_bytes(damaged(original.read_bytes(), random))
        sources.append(Source(path))
    model = str(write_scorer(media.path("green.onnx")))
    config = DetectConfig(model=model, workers=1, frames=6, timeout_s=TIMEOUT_S)
    bench = Detector.load(config, threads=1)
    assert {
        verdict.label for verdict in bench.judge_all(map(Source, whole), workers=config.workers)
    } == {Label.REAL}
    return list(bench.judge_all(sources, workers=config.workers))


def test_every_damaged_file_gets_its_answer(answers: list[Verdict]):
    assert [int(answer.path.stem) for answer in answers] == list(range(CASES))
    kinds = {answer.label for answer in answers}
    assert {
        Label.ERROR,
        Label.REAL,
    } <= kinds, "the damage is neither too little nor too much to tell anything"


def test_nothing_crashes_hangs_or_surprises(answers: list[Verdict]):
    for answer in answers:
        assert "not judged" not in answer.reason, "an error nobody foresaw"
        assert "its worker process was" not in answer.reason, "a crash"
        assert "took longer" not in answer.reason, "a hang"


def test_no_verdict_without_a_face(answers: list[Verdict]):
    for answer in answers:
        faces = [frame for track in answer.tracks for frame in track.frames if frame.flaw is None]
        if answer.label in {Label.FAKE, Label.REAL}:
            assert faces and answer.score is not None
        if answer.label in {Label.ERROR, Label.NO_FACE}:
            assert not answer.tracks and answer.score is None
