"""Extraction of tiny real clips: what is written, what is refused, what can be resumed."""

import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from media import Media

from deepkd.data.extract.journal import Journal
from deepkd.data.extract.run import Summary, extract
from deepkd.data.extract.worker import choose_crop_rule
from deepkd.data.index import read_index
from deepkd.data.splits import SPLIT_UNITS
from deepkd.errors import ConfigError, DataError, OutputError, UsageError
from deepkd.settings.choices import LAYOUTS
from deepkd.settings.data import ExtractConfig
from deepkd.video.crops import CROP_RULES
from deepkd.video.faces import DETECTORS

QUICK = ExtractConfig(frames=3, face_px=96, workers=0)
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def clips(shared_media: Media) -> Path:
    """real/a, fake/a (its forgery), fake/two (two people), real/noise (nobody)."""
    small = {"seconds": 0.6, "fps": 10, "size": (160, 120), "face_share": 0.6}
    shared_media.clip("clips/real/a.mp4", **small)  # type: ignore[arg-type]
    shared_media.clip("clips/fake/a.mp4", forged=True, **small)  # type: ignore[arg-type]
    shared_media.clip("clips/real/noise.mp4", faces=(), **small)  # type: ignore[arg-type]
    pair = ("astronaut", "grace_hopper")
    return shared_media.clip(
        "clips/fake/two.mp4", faces=pair, seconds=0.6, size=(320, 160)
    ).parents[1]


def run(*sources: Path, out: Path, config: ExtractConfig = QUICK, **options: bool) -> Summary:
    return extract([str(source) for source in sources], out, config, **options)  # type: ignore[arg-type]


def test_clips_become_labelled_crops_and_an_index(clips: Path, tmp_path: Path) -> None:
    summary = run(clips, out=tmp_path / "out")
    rows = read_index(tmp_path / "out")
    videos = {row.video: [r for r in rows if r.video == row.video] for row in rows}
    assert {name: len(group) for name, group in videos.items()} == {
        "fake/a.mp4": 3,
        "fake/two.mp4": 6,
        "real/a.mp4": 3,
    }
    assert {row.label for row in videos["real/a.mp4"]} == {"REAL"} and videos["fake/two.mp4"][
        0
    ].label == "FAKE"
    assert videos["fake/a.mp4"][0].original == "real/a.mp4"
    assert videos["fake/a.mp4"][0].split == videos["real/a.mp4"][0].split
    assert {row.track for row in videos["fake/two.mp4"]} == {0, 1}
    assert [row.t_s for row in videos["real/a.mp4"]] == pytest.approx([0.1, 0.3, 0.5], abs=0.1)
    for row in rows:
        crop = cv2.imread(str(tmp_path / "out" / row.file))
        assert crop.shape == (96, 96, 3) and crop.std() > 20
        assert (
            row.face_probability
            and row.face_probability > 0.7
            and row.face_px
            and 30 < row.face_px < 120
        )
    assert summary.crops == len(rows) == 12 and summary.exit_code == 0
    real, fake = summary.tallies["REAL"], summary.tallies["FAKE"]
    assert (real.clips, real.with_faces, real.no_face, real.failed, real.crops) == (2, 1, 1, 0, 3)
    assert (fake.clips, fake.with_faces, fake.no_face, fake.failed, fake.crops) == (2, 2, 0, 0, 9)
    ((video, reason),) = summary.no_face
    assert video == "real/noise.mp4" and "in 3 frames of 160x120" in reason
    assert not (tmp_path / "out/.parts").exists()


def test_the_settings_lie_beside_the_result(clips: Path, tmp_path: Path) -> None:
    config = QUICK.replace(margin=0.5, image_format="png", people="largest")
    run(clips / "fake/two.mp4", out=tmp_path / "out", config=config)
    settings = json.loads((tmp_path / "out/extract.json").read_text())
    assert settings["rule"] == {
        "name": "margin-0.5",
        "reference": "longer",
        "scale": 1.5,
        "shift_y": 0.0,
    }
    assert (
        settings["frames"] == 3
        and settings["deepkd"]
        and settings["sources"] == [str(clips / "fake/two.mp4")]
    )
    rows = read_index(tmp_path / "out")
    assert len(rows) == 3 and len({row.track for row in rows}) == 1
    assert {Path(row.file).suffix for row in rows} == {".png"}
    assert len(list((tmp_path / "out/crops").rglob("*.png"))) == 3, (
        "the other person's crops are gone"
    )


def test_worker_processes_write_the_same(clips: Path, tmp_path: Path) -> None:
    run(clips, out=tmp_path / "here")
    run(clips, out=tmp_path / "workers", config=QUICK.replace(workers=2))
    assert (tmp_path / "here/index.csv").read_text() == (tmp_path / "workers/index.csv").read_text()


def test_broken_clips_are_reported_and_harm_no_other(
    clips: Path, tmp_path: Path, media: Media
) -> None:
    media.junk("set/real/junk.mp4")
    media.junk("set/real/text.mp4", text=True)
    media.junk("set/real/empty.mp4", size=0)
    media.audio("set/real/audio.mp4")
    os.mkfifo(tmp_path / "set/real/pipe.mp4")
    (tmp_path / "set/real/gone.mp4").symlink_to("nowhere")
    media.truncated("set/real/cut.mp4", seconds=2, share=0.9)
    summary = run(tmp_path / "set", clips / "real/a.mp4", out=tmp_path / "out")
    names = ["audio", "empty", "gone", "junk", "pipe", "text"]
    assert [video for video, _ in summary.failed] == [f"real/{name}.mp4" for name in names]
    assert all(len(why) > 20 for _, why in summary.failed)
    assert {row.video for row in read_index(tmp_path / "out")} == {"a.mp4", "real/cut.mp4"}
    assert any(warning.startswith("real/cut.mp4: ") for warning in summary.warnings)
    assert summary.exit_code == 3


def test_nothing_readable_is_an_error_or_exit_code_1(tmp_path: Path, media: Media) -> None:
    with pytest.raises(DataError, match=r"nothing to extract: .*does not exist"):
        run(tmp_path / "gone.mp4", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert run(media.junk(), out=tmp_path / "out").exit_code == 1


# Output that is there, or cannot be


def test_an_existing_extraction_is_kept_unless_told_otherwise(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(clips / "real", out=out)
    with pytest.raises(
        OutputError, match="add --resume to go on with it, or --overwrite to replace it"
    ):
        run(clips / "real", out=out)
    with pytest.raises(OutputError, match=r"other settings \(frames 3 -> 2; rule .*--overwrite"):
        run(clips / "real", out=out, config=QUICK.replace(frames=2, margin=0.3), resume=True)
    with pytest.raises(UsageError, match="--resume and --overwrite contradict"):
        run(clips / "real", out=out, resume=True, overwrite=True)
    run(clips / "fake/a.mp4", out=out, config=QUICK.replace(frames=2), overwrite=True)
    assert len(read_index(out)) == 2 and [path.name for path in (out / "crops").iterdir()] == ["a"]


def test_what_is_there_outlives_an_overwrite_that_cannot_begin(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(clips / "real/a.mp4", out=out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="runs on the CPU"):
        run(clips / "real/a.mp4", out=out, config=QUICK.replace(device="cuda"), overwrite=True)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_strangers_files_are_never_mixed_with_ours(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    for overwrite in (False, True):
        with pytest.raises(OutputError, match=r"holds other files \(thesis.tex\)"):
            run(clips, out=tmp_path, overwrite=overwrite)


@pytest.mark.parametrize("where", ["a-file/out", "a-file", "/proc/nowhere/out"])
def test_folders_that_cannot_be_made_are_refused_before_the_work(
    clips: Path, tmp_path: Path, where: str
) -> None:
    (tmp_path / "a-file").touch()
    with pytest.raises(OutputError, match="cannot be made"):
        run(clips, out=tmp_path / where)


def test_output_inside_the_source_is_not_read_again(
    clips: Path, tmp_path: Path, media: Media
) -> None:
    media.still("real/one.jpg")
    run(tmp_path, out=tmp_path / "out")
    summary = run(tmp_path, out=tmp_path / "out", resume=True)
    assert summary.resumed == len(summary.splits.clips) == 1


def test_two_runs_do_not_write_one_folder(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(clips / "real/a.mp4", out=out)
    for options in ({"resume": True}, {"overwrite": True}):
        with (
            Journal(out / "journal.jsonl"),
            pytest.raises(OutputError, match="another extraction is writing"),
        ):
            run(clips / "real/a.mp4", out=out, **options)
    assert len(read_index(out)) == 3


def test_a_second_run_leaves_the_settings_of_the_first(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    settings = out / "extract.json"
    settings.write_text("of the first")
    with (
        Journal(out / "journal.jsonl"),
        pytest.raises(OutputError, match="another extraction is writing"),
    ):
        run(clips / "real/a.mp4", out=out)
    assert settings.read_text() == "of the first"


# Going on


def test_resume_does_only_what_is_new_or_changed(clips: Path, tmp_path: Path, media: Media) -> None:
    out = tmp_path / "out"
    files = [media.path(f"set/real/{name}.mp4") for name in "abc"]
    for file in files:
        file.write_bytes((clips / "real/a.mp4").read_bytes())
    run(files[0].parent, out=out)
    before = {path: path.stat().st_ino for path in (out / "crops").rglob("*.jpg")}
    files[1].write_bytes((clips / "fake/a.mp4").read_bytes())
    for crop in (out / "crops/c").iterdir():
        crop.unlink()
    summary = run(files[0].parent, out=out, resume=True)
    after = {path: path.stat().st_ino for path in (out / "crops").rglob("*.jpg")}
    assert summary.resumed == 1 and before.keys() == after.keys() and len(read_index(out)) == 9
    kept = {path.parent.name for path in before if before[path] == after[path]}
    assert kept == {"a"}, "b has another content, the crops of c were gone"


def test_resume_tries_failed_clips_again_and_takes_labels_anew(
    clips: Path, tmp_path: Path, media: Media
) -> None:
    out, late = tmp_path / "out", media.junk("set/real/late.mp4")
    assert run(tmp_path / "set", out=out).exit_code == 1
    late.write_bytes((clips / "real/a.mp4").read_bytes())
    assert run(tmp_path / "set", out=out, resume=True).exit_code == 0
    assert {row.label for row in read_index(out)} == {"REAL"}
    listing = tmp_path / "list.csv"
    listing.write_text("path,label\nset/real/late.mp4,FAKE\n")
    run(listing, out=out, resume=True)
    assert {row.label for row in read_index(out)} == {"FAKE"}


def test_clips_of_sources_that_are_not_named_again_are_told_of(clips: Path, tmp_path: Path) -> None:
    def is_told(*sources: Path, resume: bool = True) -> bool:
        warnings = run(*sources, out=tmp_path / "out", resume=resume).warnings
        return any(
            line.startswith("1 clips that were extracted before are not in the index")
            for line in warnings
        )

    assert not is_told(clips / "real/a.mp4", resume=False)
    assert is_told(clips / "fake/two.mp4")
    assert not is_told(clips / "real/a.mp4", clips / "fake/two.mp4")
    assert {row.video for row in read_index(tmp_path / "out")} == {"a.mp4", "two.mp4"}


@pytest.mark.parametrize("workers", [0, 1])
def test_a_clip_that_takes_too_long_is_reported_and_nothing_of_it_stays(
    workers: int, clips: Path, tmp_path: Path
) -> None:
    out, config = tmp_path / "out", QUICK.replace(workers=workers)
    slow = run(clips / "real/a.mp4", out=out, config=config.replace(timeout_s=1e-3))
    assert slow.failed == [
        ("a.mp4", "took longer than 0.001 s; raise --timeout, or lower --frames")
    ]
    assert slow.exit_code == 1 and not list(out.rglob("*.jpg"))
    assert run(clips / "real/a.mp4", out=out, config=config, resume=True).crops == 3


def start_run(
    source: Path, out: Path, *options: str, limit_bytes: int | None = None
) -> "subprocess.Popen[str]":
    """A real `deepkd extract` with workers, as a process of its own."""

    def limit() -> None:
        if limit_bytes:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    command = [
        sys.executable,
        "-m",
        "deepkd",
        "extract",
        str(source),
        "--out",
        str(out),
        "--frames",
        "4",
        *options,
    ]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limit,
    )


def wait_for_records(process: "subprocess.Popen[str]", out: Path, count: int) -> None:
    journal = out / "journal.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if journal.exists() and journal.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.005)
    raise AssertionError(
        f"the run ended or hung before {count} clips: {process.communicate(timeout=5)}"
    )


@pytest.fixture(scope="module")
def many(shared_media: Media) -> Path:
    first = shared_media.clip("many/real/00.mp4", seconds=1, size=(240, 180))
    for number in range(1, 12):
        (first.parent / f"{number:02d}.mp4").write_bytes(first.read_bytes())
    return first.parents[1]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_run_leaves_whole_files_and_goes_on(
    many: Path, tmp_path: Path, how: signal.Signals
) -> None:
    out = tmp_path / "out"
    process = start_run(many, out, "--workers", "1")
    wait_for_records(process, out, 1)
    process.send_signal(how)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == (-how if how is signal.SIGKILL else 130), errors
    assert not (out / "index.csv").exists()
    done = {path.name: path.stat().st_ino for path in (out / "crops").iterdir()}
    assert 1 <= len(done) < 12 and all(
        len(list((out / "crops" / name).iterdir())) == 4 for name in done
    )
    with pytest.raises(OutputError, match="--resume"):
        run(many, out=out)
    summary = run(many, out=out, config=ExtractConfig(frames=4, workers=0), resume=True)
    assert summary.resumed >= 1 and summary.crops == 12 * 4 == len(read_index(out))
    kept = [name for name, inode in done.items() if (out / "crops" / name).stat().st_ino == inode]
    assert len(kept) >= summary.resumed


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the worker through /proc")
def test_a_killed_worker_is_replaced_and_its_clip_done_again(many: Path, tmp_path: Path) -> None:
    process = start_run(many, tmp_path / "out", "--workers", "1")
    wait_for_records(process, tmp_path / "out", 1)
    for child in children(process.pid):
        if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text():
            os.kill(child, signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert len(read_index(tmp_path / "out")) == 12 * 4


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_full_disk_ends_the_run_with_what_to_do(clips: Path, tmp_path: Path) -> None:
    process = start_run(clips / "real/a.mp4", tmp_path / "out", limit_bytes=4000)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "cannot be written" in errors and "go on with --resume" in errors.replace("\n", " ")
    assert not (tmp_path / "out/index.csv").exists() and not (tmp_path / "out/crops").exists()
    run(
        clips / "real/a.mp4",
        out=tmp_path / "out",
        config=ExtractConfig(frames=4, workers=0),
        resume=True,
    )
    assert len(read_index(tmp_path / "out")) == 4


def test_the_reason_for_no_face_is_told(tmp_path: Path, media: Media) -> None:
    black = media.path("dark.png")
    cv2.imwrite(str(black), np.zeros((200, 200, 3), np.uint8))
    reasons = {
        "dark.png": "is dark (mean brightness 0 of 255)",
        "small.png": "(30x20) is smaller than the smallest face",
        "wide.png": "no face of 80 px or more in 1 frames of 1280x400",
    }
    media.still("small.png", size=(30, 20))
    media.still("wide.png", size=(1280, 400), faces=())
    summary = run(*(tmp_path / name for name in reasons), out=tmp_path / "out")
    assert {video: reasons[video] in why for video, why in summary.no_face} == dict.fromkeys(
        reasons, True
    )
    assert summary.exit_code == 0 and (tmp_path / "out/index.csv").read_text().count("\n") == 1


def test_settings_offer_what_the_registries_hold() -> None:
    choices = {item.name: item.metadata["choices"] for item in dataclasses.fields(ExtractConfig)}
    assert set(choices["dataset"]) == {"auto", *LAYOUTS}
    assert set(choices["crop_rule"]) == set(CROP_RULES)
    assert set(choices["detector"]) == set(DETECTORS)
    assert choices["split_by"] == SPLIT_UNITS
    assert choose_crop_rule(ExtractConfig()) is CROP_RULES["dfdc"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"margin": 0.3, "crop_rule": "dfdc"}, "--margin 0.3 and --crop-rule dfdc contradict"),
        ({"val_share": 0.6, "test_share": 0.5}, "--val-share and --test-share leave nothing"),
        ({"frames": 0}, "frames=0: takes at least 1"),
        ({"image_format": "gif"}, "choose from jpeg, png"),
    ],
)
def test_contradictions_are_refused_by_name(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ExtractConfig(**settings)  # type: ignore[arg-type]
