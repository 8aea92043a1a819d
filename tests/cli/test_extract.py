"""`deepkd extract` as a user sees it: the table, the warnings, the exit codes."""

from pathlib import Path

import pytest
from media import Media
from typer.testing import CliRunner, Result

from deepkd.cli.app import app

QUICK = ["--frames", "2", "--face-px", "64", "--workers", "0"]


def deepkd(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["extract", *map(str, arguments)], env={"COLUMNS": "120"})


@pytest.fixture(scope="module")
def clips(shared_media: Media) -> Path:
    small = {"seconds": 0.4, "size": (160, 120), "face_share": 0.6}
    shared_media.clip("cli/real/a.mp4", **small)  # type: ignore[arg-type]
    shared_media.clip("cli/fake/a.mp4", forged=True, **small)  # type: ignore[arg-type]
    return shared_media.clip("cli/real/noise.mp4", faces=(), seconds=0.4, size=(160, 120)).parents[
        1
    ]


def rows(output: str) -> dict[str, list[str]]:
    """label -> numbers of the table."""
    lines = (line.split() for line in output.splitlines())
    return {
        words[0]: words[1:]
        for words in lines
        if words and words[0] in ("REAL", "FAKE", "none", "label")
    }


def test_the_table_says_what_was_found(clips: Path, tmp_path: Path) -> None:
    result = deepkd(clips, "--out", tmp_path / "out", *QUICK, "--val-share", 0, "--test-share", 0)
    assert result.exit_code == 0
    table = rows(result.stdout)
    assert table["label"] == [
        "clips",
        "with",
        "faces",
        "no",
        "face",
        "failed",
        "crops",
        "train",
        "val",
        "test",
    ]
    assert table["REAL"] == ["2", "1", "1", "0", "2", "2", "0", "0"]
    assert table["FAKE"] == ["1", "1", "0", "0", "2", "2", "0", "0"]
    assert "4 crops of 3 clips" in result.stdout and "index.csv" in result.stdout
    assert (
        "no face: real/noise.mp4: no face of 40 px or more in 2 frames of 160x120" in result.stdout
    )
    assert "extract: 3/3 clips" in result.stderr and "extract:" not in result.stdout


def test_resume_tells_what_was_done_before(clips: Path, tmp_path: Path) -> None:
    arguments = (clips / "real", "--out", tmp_path / "out", *QUICK)
    assert deepkd(*arguments).exit_code == 0
    refused = deepkd(*arguments)
    assert (
        refused.exit_code == 1 and "--resume" in refused.stderr and "--overwrite" in refused.stderr
    )
    assert "2 clips, 2 of them finished before" in deepkd(*arguments, "--resume").stdout


def test_unlabelled_clips_have_no_split_and_no_warning(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes((clips / "real/a.mp4").read_bytes())
    result = deepkd(tmp_path / "x.mp4", "--out", tmp_path / "out", *QUICK)
    assert result.exit_code == 0 and rows(result.stdout)["none"] == [
        "1",
        "1",
        "0",
        "0",
        "2",
        "0",
        "0",
        "0",
    ]
    assert "warning" not in result.stderr


def test_few_originals_are_warned_of(clips: Path, tmp_path: Path) -> None:
    result = deepkd(clips / "real/a.mp4", "--out", tmp_path / "out", *QUICK, "--val-share", 0.4)
    assert "warning: no clip is in" in result.stderr and "raise the shares" in result.stderr


def test_settings_come_from_a_file_and_the_environment(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.toml").write_text("[extract]\nframes = 1\nface_px = 64\nworkers = 0\n")
    monkeypatch.setenv("DEEPKD_EXTRACT_FACE_PX", "48")
    result = deepkd(clips / "real", "--out", tmp_path / "out", "--config", tmp_path / "x.toml")
    assert rows(result.stdout)["REAL"][4] == "1"
    assert '"face_px": 48' in (tmp_path / "out/extract.json").read_text()


def test_hostile_names_are_shown_escaped(clips: Path, tmp_path: Path) -> None:
    hostile = tmp_path / "a\x1b[31m [red]\n.mp4"
    hostile.write_bytes(b"junk")
    result = deepkd(tmp_path, clips / "real/a.mp4", "--out", tmp_path / "out", *QUICK)
    assert result.exit_code == 3
    assert r"failed: a\x1b[31m [red]\n.mp4: " in result.stdout and "\x1b" not in result.stdout


def test_the_folder_is_shown_as_it_is_called_and_escaped(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / ":smile: \x1b[31m [red]\n"
    shown = deepkd(clips / "real/a.mp4", "--out", out, *QUICK).stdout
    assert rf"{tmp_path}/:smile: \x1b[31m [red]\n/index.csv" in shown and "\x1b" not in shown


EXITS = [
    (["{tmp}/gone.mp4"], 1, "does not exist"),
    (["{tmp}/junk.mp4"], 1, ""),
    (["{tmp}/junk.mp4", "{clips}/real/a.mp4"], 3, ""),
    (["https://example.org/a.mp4"], 2, "download it first"),
    (
        ["{clips}", "--margin", "0.3", "--crop-rule", "tight"],
        2,
        "--margin 0.3 and --crop-rule tight contradict",
    ),
    (["{clips}", "--dataset", "dfcd"], 2, "unknown dataset 'dfcd'; choose from auto"),
    (["{clips}", "--dataset", "celeb-df"], 1, "give the Celeb-DF folder"),
    (["{clips}", "--resume", "--overwrite"], 2, "contradict"),
    (["{clips}", "--device", "cuda"], 2, "mtcnn-torch"),
    ([], 2, "Missing argument"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), EXITS)
def test_exit_codes(
    clips: Path, tmp_path: Path, media: Media, arguments: list[str], code: int, message: str
) -> None:
    media.junk()
    names = [argument.format(tmp=tmp_path, clips=clips) for argument in arguments]
    result = deepkd(*names, "--out", tmp_path / "out", *QUICK)
    assert result.exit_code == code
    assert message in " ".join(result.stderr.replace("│", " ").split())
