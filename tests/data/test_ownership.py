"""Whose folder it is: `extract` and `forge` replace what they wrote themselves, and nothing else."""

from pathlib import Path

import pytest
from media import Media

from deepkd.data.extract import Summary, extract
from deepkd.errors import OutputError
from deepkd.settings.data import ExtractConfig

QUICK = ExtractConfig(frames=1, face_px=64, workers=0)


@pytest.fixture(scope="module")
def still(shared_media: Media) -> Path:
    return shared_media.still("ownership/a.png")


def run(source: Path, out: Path, **options: bool) -> Summary:
    return extract([str(source)], out, QUICK, **options)


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


FOREIGN = {
    "crops with an index": {"index.csv": "file,label\ncrops/a/1.png,FAKE\n", "crops/a/1.png": "mine"},
    "crops without an index": {"crops/a/1.png": "mine"},
    "somebody's journal": {"journal.jsonl": "{}\n", "index.csv": "mine"},
    "somebody's settings": {"journal.jsonl": "{}\n", "extract.json": '{"rar": "7z"}', "crops/a/1.png": "mine"},
}


@pytest.mark.parametrize("files", FOREIGN.values(), ids=FOREIGN)
def test_extract_takes_no_folder_for_its_own_that_it_did_not_write(
    files: dict[str, str], still: Path, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    before = contents(tmp_path)
    for options in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(OutputError, match=r"holds other files \(.*no extraction; give another --out"):
            run(still, tmp_path, **options)
        assert contents(tmp_path) == before


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}], ids=str)
def test_a_first_run_that_was_broken_off_at_its_very_start_goes_on(
    options: dict[str, bool], still: Path, tmp_path: Path
) -> None:
    (tmp_path / "journal.jsonl").touch()
    assert run(still, tmp_path, **options).crops == 1


def test_damaged_settings_are_replaced_by_overwrite_alone(still: Path, tmp_path: Path) -> None:
    run(still, tmp_path)
    (tmp_path / "extract.json").write_text('{"command": "ext')
    with pytest.raises(OutputError, match=r"extract\.json: cannot be read .*start again with --overwrite"):
        run(still, tmp_path, resume=True)
    assert run(still, tmp_path, overwrite=True).crops == 1
