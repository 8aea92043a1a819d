"""The first clip is decoded while the command line is still being read; what is said does not hang
on that."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from media import Media
from scorer_factory import tinted_clip, write_scorer

from deepkd.cli import start
from deepkd.settings.detect import DetectConfig

ROOT = Path(__file__).parents[2]


def words(media: Media, *flags: str) -> list[str]:
    (
        tinted_clip(media.path("clip.mp4"), seconds=0.4),
        media.path("notes.toml").touch(),
        media.path("clips.mp4").mkdir(),
    )
    return [word.format(folder=media.folder) for word in flags]


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        (["detect", "{folder}/clip.mp4"], True),
        (
            [
                "detect",
                "--config",
                "{folder}/notes.toml",
                "{folder}/gone.mp4",
                "{folder}/clip.mp4",
                "-q",
            ],
            True,
        ),
        (["detect", "{folder}/clips.mp4", "{folder}/notes.toml"], False),
        (["detect", "{folder}/clip.mp4", "--help"], False),
        (["extract", "{folder}/clip.mp4"], False),
        ([], False),
    ],
)
def test_what_is_begun(flags: list[str], found: bool, media: Media):
    start._begin(words(media, *flags))
    video = start.take_started(media.path("clip.mp4"), DetectConfig())
    assert (video is not None) == found
    if video:
        with video:
            assert 0 < len(list(video)) <= 16 and video.info.duration_s == pytest.approx(
                0.4, abs=0.05
            )


@pytest.mark.parametrize(
    ("name", "settings"),
    [("other.mp4", {}), (None, {}), ("clip.mp4", {"frames": 3}), ("clip.mp4", {"every_s": 0.1})],
)
def test_what_was_begun_for_nothing_is_ended(name: str | None, settings: dict, media: Media):
    before = threading.active_count()
    start._begin(words(media, "detect", "{folder}/clip.mp4"))
    assert threading.active_count() == before + 1
    assert start.take_started(media.path(name) if name else None, DetectConfig(**settings)) is None
    assert threading.active_count() == before and not start._early


def test_decoding_waits_neither_for_numpy_nor_for_imports():
    loaded = (
        "import sys, deepkd.video.readahead; print(sorted({'numpy', 'cv2', 'typer'} &"
        " sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_imports_wait_for_the_first_frame_and_for_what_went_wrong(
    media: Media, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(start, "FIRST_S", 60.0)
    start._begin(words(media, "detect", "{folder}/clip.mp4"))
    assert not start._early[0]._items.empty()
    start._drop()
    media.path("broken.mp4").write_bytes(b"no video")
    start._begin(["detect", str(media.path("broken.mp4"))])
    assert not start._early[0]._items.empty()
    start._drop()


def test_a_verdict_for_a_program_loads_nothing_that_draws_or_checks_tables(media: Media):
    model, clip = (
        write_scorer(media.path("green.onnx")),
        tinted_clip(media.path("clip.mp4"), seconds=0.4),
    )
    code = (
        "import sys; from deepkd.cli.start import main\ntry: main()\nfinally: print(sorted({'rich',"
        " 'pydantic', 'tomllib', 'jinja2'} & sys.modules.keys()), file=sys.stderr)"
    )
    command = [
        sys.executable,
        "-c",
        code,
        "detect",
        str(clip),
        "--model",
        str(model),
        "--format",
        "json",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_the_decoder_gets_python_soon(media: Media, monkeypatch: pytest.MonkeyPatch):
    asked: list[float] = []
    monkeypatch.setattr(sys, "setswitchinterval", asked.append)
    clip = words(media, "detect", "{folder}/clip.mp4")
    start._begin([*clip, "--help"])
    assert not asked
    start._begin(clip)
    start._drop()
    assert asked == [start.SWITCH_S] and start.SWITCH_S < 5e-3  # Python's own


def test_the_program_says_what_its_options_ask_for(media: Media):
    model = str(write_scorer(media.path("green.onnx")))
    wrong = media.clip("first.mp4", faces=(), seconds=0.3)
    clip = tinted_clip(media.path("clip.mp4"), seconds=0.4)
    command = ["detect", "--save-video", str(wrong), "--overwrite", str(clip), "--model", model]
    done = subprocess.run(
        [sys.executable, "-m", "deepkd", *command], cwd=ROOT, capture_output=True, text=True
    )
    assert (
        done.returncode == 2 and "give a name that ends in .webm" in done.stderr and not done.stdout
    )
    command = ["detect", str(clip), "--model", model, "--format", "jsonl", "--frames", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "deepkd", *command], cwd=ROOT, capture_output=True, text=True
    )
    answer = json.loads(done.stdout)
    assert (answer["verdict"], answer["frames_sampled"], done.stderr) == ("FAKE", 2, "")
