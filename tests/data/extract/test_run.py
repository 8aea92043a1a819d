"""Extraction of tiny real clips: what is written, what is refused, what can be resumed."""

import dataclasses
import json
import os
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
