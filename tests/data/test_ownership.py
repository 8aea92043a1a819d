"""`extract` and `forge` replace only what they wrote themselves in an output folder."""

from pathlib import Path

import pytest
from media import Media

from deepkd.data.clips import Clip
from deepkd.data.extract.folder import OWN_NAMES, drop_inside
from deepkd.data.extract.run import Summary, extract
from deepkd.data.forge.run import forge
from deepkd.errors import OutputError
from deepkd.outputs import remove
from deepkd.settings.data import ExtractConfig, ForgeConfig

QUICK = ExtractConfig(frames=1, face_px=64, workers=0)


@pytest.fixture(scope="module")
def still(shared_media: Media) -> Path:
    return shared_media.still("ownership/a.png")


def run(source: Path, out: Path, **options: bool) -> Summary:
    return extract([str(source)], out, QUICK, **options)


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


FOREIGN = {
    "crops with an index": {
        "index.csv": "file,label\ncrops/a/1.png,FAKE\n",
        "crops/a/1.png": "mine",
    },
    "crops without an index": {"crops/a/1.png": "mine"},
    "somebody's journal": {"journal.jsonl": "{}\n", "index.csv": "mine"},
    "somebody's settings": {
        "journal.jsonl": "{}\n",
        "extract.json": '{"rar": "7z"}',
        "crops/a/1.png": "mine",
    },
    "an index without its journal": {
        "extract.json": '{"command": "extract"}',
        "index.csv": "mine",
        "crops/a.png": "",
    },
    "damaged settings alone": {"extract.json": "{", "crops/a/1.png": "mine"},
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
        with pytest.raises(
            OutputError, match=r"holds other files \(.*no extraction; give another --out"
        ):
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
    with pytest.raises(
        OutputError, match=r"extract\.json: cannot be read .*start again with --overwrite"
    ):
        run(still, tmp_path, resume=True)
    assert run(still, tmp_path, overwrite=True).crops == 1


@pytest.mark.parametrize("count", range(1, len(OWN_NAMES)))
def test_an_overwrite_that_was_broken_off_is_begun_anew(
    count: int, still: Path, tmp_path: Path
) -> None:
    run(still, tmp_path)
    remove(tmp_path, OWN_NAMES[:count])
    assert run(still, tmp_path, overwrite=True).crops == 1


def link_away(folder: Path, to: Path) -> Path:
    """A file in a folder that has been moved and linked to from its place."""
    folder.rename(to)
    folder.symlink_to(to)
    return next(path for path in to.rglob("*") if path.is_file())


def test_overwrite_removes_links_and_not_what_they_lead_to(still: Path, tmp_path: Path) -> None:
    run(still, tmp_path / "crops")
    config = ForgeConfig(frames=1, face_px=64)
    forge([str(still)], tmp_path / "forged", config)
    kept = [
        link_away(tmp_path / name / "crops", tmp_path / f"{name}-moved")
        for name in ("crops", "forged")
    ]
    assert run(still, tmp_path / "crops", overwrite=True).crops == 1
    assert forge([str(still)], tmp_path / "forged", config, overwrite=True).fake == 1
    assert all(path.is_file() for path in kept)
    assert not any((tmp_path / name / "crops").is_symlink() for name in ("crops", "forged"))


def test_what_was_written_is_no_source_whatever_link_leads_to_it(
    media: Media, tmp_path: Path
) -> None:
    media.still("set/a.png")
    (tmp_path / "link").symlink_to("set")
    source, out = tmp_path / "link", tmp_path / "link" / "out"
    run(source, out)
    assert len(run(source, out, resume=True).splits.clips) == 1
    forged = tmp_path / "link" / "out" / "forged"
    for overwrite in (False, True):
        assert (
            forge(
                [str(source)], forged, ForgeConfig(frames=1, face_px=64), overwrite=overwrite
            ).real
            == 2
        )
    assert drop_inside(out, [Clip(path, "") for path in (out, source, Path("a.mp4"))]) == [
        Clip(path, "") for path in (source, Path("a.mp4"))
    ]


def test_clips_of_a_forging_that_was_broken_off_are_only_replaced_when_told_to(
    still: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ForgeConfig(kind="clips", seconds=0.3)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("deepkd.data.forge.clips._write_list", interrupt)
        forge([str(still)], tmp_path, config)
    before = contents(tmp_path)
    with pytest.raises(
        OutputError, match=r"holds 2 clips of a run that was broken off; .*--overwrite them"
    ):
        forge([str(still)], tmp_path, config)
    assert contents(tmp_path) == before
    assert forge([str(still)], tmp_path, config, overwrite=True).fake == 1


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt
