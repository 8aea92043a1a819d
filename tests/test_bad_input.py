"""Bad input is the daily input: one row for each kind of it that `deepkd detect` meets."""

import json
import math
import os
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from media import Media, declare, scene, write_video
from scorer_factory import tinted_clip, write_scorer
from typer.testing import CliRunner

from deepkd.cli.app import app
from deepkd.pipeline import Detector
from deepkd.scoring.model import Scorer
from deepkd.settings.detect import DetectConfig
from deepkd.video.faces import Face, load_detector
from deepkd.video.sources import Source

UNIX = sys.platform != "win32"


@dataclass(frozen=True)
class Row:
    """What goes in, and what must come out."""

    make: Callable[[Media], Path | str | list[str]]
    verdict: str
    reason: str
    exit: int = 0
    flags: tuple[str, ...] = ()


def pictures(change, *, count=6, **options):
    """A maker of a clip whose every picture is changed."""

    def make(media: Media) -> Path:
        changed = (
            np.asarray(change(scene(phase=i / 3, **options)), np.uint8) for i in range(count)
        )
        return write_video(media.path("clip.mp4"), changed)

    return make


def cartoon(media: Media) -> Path:
    picture = np.full((240, 320, 3), 255, np.uint8)
    cv2.circle(picture, (160, 120), 80, (255, 220, 90), cv2.FILLED)
    for x in (130, 190):
        cv2.circle(picture, (x, 100), 9, (0, 0, 0), cv2.FILLED)
    cv2.ellipse(picture, (160, 140), (40, 25), 0, 0, 180, (0, 0, 0), 4)
    cv2.imwrite(str(media.path("cartoon.png")), picture)
    return media.path("cartoon.png")


def folder(media: Media) -> Path:
    media.path("x.mp4").mkdir()
    return media.path("x.mp4")


def fifo(media: Media) -> Path:
    os.mkfifo(media.path("pipe.mp4"))
    return media.path("pipe.mp4")


def loop(media: Media) -> Path:
    media.path("loop.mp4").symlink_to("loop.mp4")
    return media.path("loop.mp4")


def folder_loop(media: Media) -> Path:
    (media.path("clips/deep/x").parent / "up").symlink_to("..")
    return media.path("clips")


def dangling(media: Media) -> Path:
    media.path("gone.mp4").symlink_to("nowhere.mp4")
    return media.path("gone.mp4")


def locked(media: Media) -> Path:
    path = media.junk("locked.mp4")
    path.chmod(0)
    return path


def header_only(media: Media) -> Path:
    path = media.clip("head.mp4")
    path.write_bytes(path.read_bytes()[:200])
    return path


def begun_with(path: Path, head: bytes) -> Path:
    path.write_bytes(head + bytes(4096))
    return path


def index_at_the_end_cut_off(media: Media) -> Path:
    whole, path = media.clip("whole.mp4"), media.path("cut.mp4")
    with av.open(str(whole)) as source, av.open(str(path), "w") as copy:
        stream = copy.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    return path


def unknown_codec(media: Media) -> Path:
    path = media.clip("new.mp4")
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    return path


def larger_than_8k(media: Media) -> Path:
    path = media.still("huge.png")
    data = path.read_bytes()
    path.write_bytes(data[:16] + struct.pack(">II", 8000, 5000) + data[24:])
    return path


def hidden(media: Media) -> Path:
    """A face with black over nose and mouth, which the detector doubts."""
    covered = scene(phase=1 / 3).copy()
    covered[115:160] = 0
    cv2.imwrite(str(media.path("hidden.png")), covered[..., ::-1])
    return media.path("hidden.png")


def in_8k(media: Media) -> Path:
    picture = cv2.resize(scene(), (7680, 4320))
    return write_video(
        media.path("8k.mkv"), [picture], codec="mjpeg", options={"strict": "unofficial"}
    )


def renamed(media: Media) -> Path:
    return media.still("still.jpg").rename(media.path("still.mp4"))


def forged_second(media: Media) -> Path:
    return tinted_clip(media.path("long.mp4"), seconds=9, fps=5, green=lambda t_s: 5 <= t_s < 6)


def forged_with_false_length(media: Media) -> Path:
    return declare(tinted_clip(media.path("long.mkv"), seconds=2), 36_000)


def one_of_two(media: Media) -> Path:
    return tinted_clip(
        media.path("two.mp4"), faces=("astronaut", "grace_hopper"), size=(480, 240), right_only=True
    )


ROWS = {
    "noise": Row(lambda m: m.clip(faces=()), "NO_FACE", "no face was found in 10 frames"),
    "a still of noise": Row(lambda m: m.still(faces=()), "NO_FACE", "no face was found in 1 frame"),
    "cartoon": Row(cartoon, "NO_FACE", "no face was found"),
    "one frame": Row(
        lambda m: m.clip(seconds=0.1),
        "INCONCLUSIVE",
        "seen in too few frames to judge (1; 3 are needed)",
    ),
    "64x48": Row(lambda m: m.clip(size=(64, 48)), "INCONCLUSIVE", "too small"),
    "tiny face": Row(
        lambda m: m.clip(face_share=0.16), "INCONCLUSIVE", "the face is too small (under 40 pixels)"
    ),
    "blurred": Row(
        pictures(lambda image: cv2.GaussianBlur(image, (0, 0), 5)), "INCONCLUSIVE", "too blurred"
    ),
    "dark": Row(pictures(lambda image: image * 0.1), "INCONCLUSIVE", "too dark"),
    "hidden": Row(hidden, "INCONCLUSIVE", "cannot be judged, the face is hidden or unclear"),
    "a real face": Row(
        lambda m: m.clip(), "REAL", "1 person, who shows the model no sign of forgery in"
    ),
    "a forged face": Row(
        lambda m: tinted_clip(m.path("clip.mp4")), "FAKE", "1 person, who looks forged"
    ),
    "a still": Row(lambda m: m.still(), "REAL", "in 1 frame"),
    "one of two people": Row(one_of_two, "FAKE", "2 people; person 2 looks forged"),
    "one forged second": Row(forged_second, "FAKE", "who looks forged from 0:05."),
    "one forged second, sampled densely": Row(
        forged_second, "FAKE", "who looks forged from 0:05.0 to 0:05.8", 0, ("--every", "0.2")
    ),
    "zero bytes": Row(lambda m: m.junk(size=0), "ERROR", "is empty (0 bytes)", 1),
    "text": Row(lambda m: m.junk(text=True), "ERROR", "not a video or image", 1),
    "random bytes": Row(lambda m: m.junk(), "ERROR", "not a video or image", 1),
    "a picture of which only the beginning is there": Row(
        lambda m: begun_with(m.path("a.heic"), b"\0\0\0\x18ftypheic"),
        "ERROR",
        "the image is cut off or damaged",
        1,
    ),
    "cut off before its index": Row(
        index_at_the_end_cut_off,
        "ERROR",
        "is an MP4 that was cut off before its index, or damaged; get it anew",
        1,
    ),
    "header only": Row(
        header_only, "ERROR", "has no video that can be decoded; its streams are: data", 1
    ),
    "wrong extension": Row(renamed, "REAL", "in 1 frame"),
    "truncated": Row(
        lambda m: m.truncated("cut.mkv", seconds=3, share=0.8), "REAL", "; note: it ends at"
    ),
    "truncated between keyframes": Row(
        lambda m: m.truncated(seconds=3, share=0.9, options={"g": "250"}), "REAL", "; note: "
    ),
    "declared too long, and forged": Row(
        forged_with_false_length,
        "FAKE",
        "looks forged to the model in 15 frames; note: it ends at 2.0 s",
    ),
    "declared too long": Row(
        lambda m: declare(m.clip("long.mkv", seconds=2), 36_000),
        "REAL",
        "in 16 frames; note: it ends at 2.0 s of the 36000.0 s",
    ),
    "declared too short": Row(
        lambda m: declare(m.clip("short.mp4", seconds=2), 0.2),
        "REAL",
        "in 16 frames; note: it goes on to 2.0 s",
    ),
    "truncated too early": Row(
        lambda m: m.truncated(seconds=3, share=0.3), "ERROR", "re-encode it", 1
    ),
    "unknown codec": Row(unknown_codec, "ERROR", "its streams are: video (unknown codec)", 1),
    "8K": Row(in_8k, "REAL", "no sign of forgery in 1 frame", 0, ("--min-frames", "1")),
    "larger than 8K": Row(
        larger_than_8k, "ERROR", "8000x5000 px is more than the limit of 33177600 px", 1
    ),
    "hours long": Row(
        lambda m: m.clip(times=range(0, 7201, 600)), "REAL", "no sign of forgery in 13 frames"
    ),
    "interlaced": Row(lambda m: m.clip(options={"flags": "+ildct+ilme"}), "REAL", "no sign"),
    "audio only": Row(lambda m: m.audio(), "ERROR", "its streams are: audio (aac)", 1),
    "variable frame rate": Row(
        lambda m: m.clip(times=(0, 0.1, 0.5, 0.6, 1.3, 2.0)), "REAL", "no sign"
    ),
    "rotated": Row(lambda m: m.clip(rotation_deg=90, size=(242, 322)), "REAL", "no sign"),
    "odd size, lossless": Row(
        lambda m: m.clip("odd.mkv", size=(321, 241), codec="ffv1"), "REAL", "no sign"
    ),
    "10 bit": Row(lambda m: m.clip(pixel_format="yuv420p10le"), "REAL", "no sign"),
    "folder named x.mp4": Row(folder, "ERROR", "is a folder without videos or images", 1),
    "missing": Row(lambda m: m.path("nothing.mp4"), "ERROR", "does not exist", 1),
    "no match": Row(lambda m: f"{m.folder}/*.avi", "ERROR", "no file has a name like this", 1),
    "a name too long": Row(
        lambda m: m.path("x" * 300 + ".mp4"), "ERROR", "cannot be reached (File name too long)", 1
    ),
    "brackets in a name": Row(lambda m: m.clip("[red]a*.mp4"), "REAL", "no sign"),
}
if UNIX:
    ROWS |= {
        "FIFO": Row(fifo, "ERROR", "is a pipe, socket or device", 1),
        "device": Row(lambda m: "/dev/zero", "ERROR", "is a pipe, socket or device", 1),
        "symlink loop": Row(
            loop, "ERROR", "cannot be reached (Too many levels of symbolic links)", 1
        ),
        "folder in itself": Row(
            folder_loop, "ERROR", "is a link back to a folder above it; it was not followed", 1
        ),
        "dangling link": Row(dangling, "ERROR", "is a link to a file that does not exist", 1),
        "unreadable": Row(locked, "ERROR", "cannot be read (Permission denied)", 1),
    }


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_scorer(tmp_path_factory.mktemp("model") / "green.onnx"))


def run(*arguments: str, input: bytes | None = None):
    return CliRunner().invoke(app, ["detect", *arguments], input=input)


@pytest.mark.parametrize("name", ROWS)
def test_input(name: str, media: Media, model: str):
    if name == "unreadable" and os.getuid() == 0:
        pytest.skip("root reads everything")
    row = ROWS[name]
    result = run(str(row.make(media)), "--model", model, "--format", "json", *row.flags)
    (video,) = json.loads(result.stdout)["videos"]
    assert (video["verdict"], result.exit_code) == (row.verdict, row.exit)
    assert row.reason in video["reason"]
    assert (video["score"] is None) == (row.verdict in {"NO_FACE", "INCONCLUSIVE", "ERROR"})
    assert "not judged" not in video["reason"], "an error nobody foresaw"


NOSE = np.array([[0, 0], [0, 0], [40, 0], [0, 0], [0, 0]], np.float32)
"""How far the nose is moved, pixels; it is the third of the landmarks."""


def test_a_face_turned_away_is_not_judged(media: Media, model: str):
    found = load_detector("mtcnn", device="cpu", threads=1)

    class Turned:
        """MTCNN, with the nose moved beyond the left eye: no profile can be made of the two
        portraits."""

        def detect(self, image: np.ndarray, *, thorough: bool = False) -> list[Face]:
            faces = found.detect(image, thorough=thorough)
            return [replace(face, landmarks=face.landmarks - NOSE) for face in faces]

    bench = Detector.from_parts(Scorer.load(model), Turned(), DetectConfig(model=model))
    answer = bench.judge(Source(media.clip()))
    assert (answer.label, answer.score) == ("INCONCLUSIVE", None)
    assert "1 person, who cannot be judged, the face is turned away" in answer.reason


SHAPES = {
    "variable frame rate": {"times": (0, 0.1, 0.5, 0.6, 1.3, 2.0)},
    "rotated": {"rotation_deg": 90, "size": (242, 322)},
    "rotated by half a turn": {"rotation_deg": 180},
    "mirrored": {"mirrored": True},
    "interlaced": {"options": {"flags": "+ildct+ilme"}},
    "odd size": {"name": "odd.mkv", "size": (321, 241), "codec": "ffv1"},
    "10 bit": {"pixel_format": "yuv420p10le"},
}


@pytest.mark.parametrize("name", SHAPES)
def test_times_and_boxes_are_right(name: str, media: Media, model: str):
    result = run(str(media.clip(**SHAPES[name])), "--model", model, "--format", "json")
    (track,) = json.loads(result.stdout)["videos"][0]["tracks"]
    width, height = SHAPES[name].get("size", (320, 240))
    times = SHAPES[name].get("times", [i / 10 for i in range(10)])
    side = min(0.45 * height, 0.8 * width * 111.5 / 88.1)
    assert len(track["frames"]) >= len(times) - 1
    for frame in track["frames"]:
        t_s, (x, y, w, h) = frame["t_s"], frame["box"]
        assert min(abs(t_s - time) for time in times) < 0.002
        centre = (
            width / 2 + 0.05 * side * math.cos(math.pi * t_s),
            height / 2 + 0.05 * side * math.sin(math.pi * t_s),
        )
        assert (x + w / 2, y + h / 2) == pytest.approx(centre, abs=0.07 * side)
        assert h == pytest.approx(side, rel=0.15)


def test_one_bad_file_does_not_stop_the_others(media: Media, model: str):
    media.junk("a.mp4"), media.still("b.jpg"), media.audio("c.mp4"), media.still("d.png", faces=())
    result = run(str(media.folder), "--model", model, "--format", "json")
    verdicts = {
        Path(video["path"]).name: video["verdict"] for video in json.loads(result.stdout)["videos"]
    }
    assert verdicts == {"a.mp4": "ERROR", "b.jpg": "REAL", "c.mp4": "ERROR", "d.png": "NO_FACE"}
    assert result.exit_code == 3
    assert "a.mp4: is damaged" in result.stderr
    assert "c.mp4: has no video" in result.stderr


def test_ten_thousand_files(media: Media, model: str):
    for number in range(10_000):
        media.path(f"{number:05}.mp4").touch()
    result = run(str(media.folder), "--model", model, "--format", "jsonl")
    lines = result.stdout.splitlines()
    assert len(lines) == 10_000
    assert {json.loads(line)["verdict"] for line in lines} == {"ERROR"}
    assert "9980 more inputs failed" in result.stderr
    assert result.exit_code == 1


def test_url_is_refused_before_any_work(media: Media, model: str):
    result = run(str(media.still()), "ftp://example.org/clip.mp4", "--model", model)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "ftp://example.org/clip.mp4: is a URL" in result.stderr
    assert "download it first" in result.stderr


def test_paths_on_standard_input(media: Media, model: str):
    names = [str(media.still("a b.jpg")), "http://127.0.0.1:9/x.mp4", str(media.path("gone.mp4"))]
    result = run("-", "--model", model, "--format", "json", input="\n".join(names).encode())
    videos = json.loads(result.stdout)["videos"]
    assert [video["verdict"] for video in videos] == ["REAL", "ERROR", "ERROR"]
    assert videos[1]["path"] == names[1] and "private" in videos[1]["reason"]
    assert result.exit_code == 3
    with_nul = run(
        "-", "--model", model, "--format", "json", input="\0".join(names).encode() + b"\0"
    )
    assert [video["verdict"] for video in json.loads(with_nul.stdout)["videos"]] == [
        "REAL",
        "ERROR",
        "ERROR",
    ]
    assert run("-", "--model", model, input=b"").exit_code == 1
