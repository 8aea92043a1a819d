"""Parts: a killed run loses nothing that was done, and no input comes twice."""

import json
import shutil
from pathlib import Path

import pytest
from part_factory import judge, made_with, make_clips, make_verdict, open_made, read_lines

from deepkd.cluster.parts import PartFiles
from deepkd.errors import OutputError, UsageError
from deepkd.report import Provenance
from deepkd.report.jsonl import JsonLinesReport
from deepkd.scoring.verdict import Label
from deepkd.shards import Shard
from deepkd.video.sources import Source

NAMES = ["a.mp4", "b.mp4", "c.mp4"]


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    return make_clips(tmp_path, NAMES)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def files_of(out: Path) -> PartFiles:
    return PartFiles(out, Shard())


def test_names_say_which_shard(out: Path) -> None:
    assert PartFiles(out, Shard(17, 1000)).lines == out / "part-0017-of-1000.jsonl"
    assert PartFiles(out, Shard(1, 1)).lines.name == "part-0001-of-0001.jsonl"
    assert PartFiles(out, Shard(7, 20_000)).journal.name == "part-00007-of-20000.journal"
    out.mkdir()
    for name in ("part-0001-of-0002.jsonl", "part-1-of-2.jsonl", "part-0001-of-0002.journal", "x"):
        (out / name).touch()
    assert PartFiles.find(out) == [PartFiles(out, Shard(1, 2))]


def test_lines_are_those_of_the_report(out: Path, clips: list[Path]) -> None:
    about = made_with()
    with open_made(out) as part:
        judge(part, clips)
    with (out / "report.jsonl").open("w") as file:
        report = JsonLinesReport(file, about)
        for clip in clips:
            report.add(make_verdict(clip))
    assert files_of(out).lines.read_text() == (out / "report.jsonl").read_text()


def test_only_what_is_missing_is_judged(out: Path, clips: list[Path]) -> None:
    with open_made(out) as part:
        assert judge(part, [*clips[:2], clips[0]]) == NAMES[:2], "each input once"
        assert not files_of(out).is_finished()
    clips[1].write_text("another clip")
    with open_made(out, resume=True) as part:
        assert judge(part, clips) == NAMES[1:], "a changed clip is judged again"
        part.finish()
        assert (part.resumed, part.tally.total()) == (1, 3)
        assert part.is_complete
    assert files_of(out).is_finished()
    assert sorted(read_lines(files_of(out).lines)) == [(name, "REAL") for name in NAMES]
    with open_made(out, resume=True) as part:
        assert judge(part, clips) == []


def test_what_failed_is_tried_again_and_replaced(out: Path, clips: list[Path]) -> None:
    with open_made(out) as part:
        judge(part, clips, {"a.mp4": Label.ERROR, "c.mp4": Label.ERROR})
        part.finish()
    with open_made(out, resume=True) as part:
        assert judge(part, clips, {"a.mp4": Label.ERROR}) == ["a.mp4", "c.mp4"]
        part.finish()
        assert part.tally == {"REAL": 2, "ERROR": 1}
    expected = [("a.mp4", "ERROR"), ("b.mp4", "REAL"), ("c.mp4", "REAL")]
    assert sorted(read_lines(files_of(out).lines)) == expected


def states(whole: Path, folder: Path) -> int:
    """Write to `folder` every state in which a kill may leave the part in `whole`.

    A line is written before its entry in the journal. The states are a few bytes apart.
    """
    lines, entries = (
        file.read_bytes().splitlines(keepends=True)
        for file in (files_of(whole).lines, files_of(whole).journal)
    )
    cuts = [(b"", entries[0][:end]) for end in range(0, len(entries[0]), 9)]
    for number, line in enumerate(lines):
        before = b"".join(lines[:number])
        journal = b"".join(entries[: number + 1])
        entry = entries[number + 1]
        ends = (*range(0, len(line), 31), len(line) - 1)
        cuts += [(before + line[:end], journal) for end in ends]
        cuts += [(before + line, journal + entry[:end]) for end in range(0, len(entry), 9)]
    for number, (line_bytes, journal_bytes) in enumerate(cuts):
        files = files_of(folder / str(number))
        files.folder.mkdir(parents=True)
        files.lines.write_bytes(line_bytes)
        files.journal.write_bytes(journal_bytes)
    return len(cuts)


def test_after_a_kill_at_any_moment_each_input_comes_once(
    out: Path, clips: list[Path], tmp_path: Path
) -> None:
    labels = {"b.mp4": Label.ERROR}
    with open_made(out) as part:
        judge(part, clips, labels)
        part.finish()
    count = states(out, tmp_path / "states")
    assert count > 100
    for number in range(count):
        folder = tmp_path / "states" / str(number)
        with open_made(folder, resume=True) as part:
            kept = {name for name, verdict in read_lines(part.files.lines) if verdict != "ERROR"}
            assert {*judge(part, clips)} == {*NAMES} - kept
            part.finish()
        assert part.files.is_finished()
        with open_made(folder, resume=True) as part:
            assert judge(part, clips) == []
        assert sorted(read_lines(part.files.lines)) == [(name, "REAL") for name in NAMES]


def test_a_kill_loses_no_whole_line(out: Path, clips: list[Path]) -> None:
    with open_made(out) as part:
        judge(part, clips)
    files = files_of(out)
    files.lines.write_bytes(files.lines.read_bytes()[:-5])
    with open_made(out, resume=True) as part:
        assert judge(part, clips) == ["c.mp4"]


def test_a_damaged_line_is_judged_again(out: Path, clips: list[Path]) -> None:
    with open_made(out) as part:
        judge(part, clips)
        part.finish()
    files = files_of(out)
    first, rest = files.lines.read_bytes().split(b"\n", 1)
    files.lines.write_bytes(bytes(len(first)) + b"\n" + rest)
    with open_made(out, resume=True) as part:
        assert judge(part, clips) == ["a.mp4"]
        part.finish()
    assert sorted(read_lines(files.lines)) == [(name, "REAL") for name in NAMES]


def test_an_existing_part_is_not_replaced_unasked(out: Path, clips: list[Path]) -> None:
    with open_made(out) as part:
        judge(part, clips)
    before = files_of(out).lines.read_bytes()
    with pytest.raises(OutputError, match=r"exists already; add --resume .* or --overwrite"):
        open_made(out)
    with pytest.raises(UsageError, match="contradict"):
        open_made(out, resume=True, overwrite=True)
    assert files_of(out).lines.read_bytes() == before
    with open_made(out, overwrite=True) as part:
        assert judge(part, clips[:1]) == ["a.mp4"]
    assert read_lines(files_of(out).lines) == [("a.mp4", "REAL")]


CHANGES = {
    "frames 16 -> 8": made_with(frames=8),
    "model green (abababab) -> green (cdcdcdcd)": made_with(sha256="cd" * 32),
}


@pytest.mark.parametrize("named", CHANGES)
def test_other_settings_are_refused_by_name(named: str, out: Path, clips: list[Path]) -> None:
    with open_made(out) as part:
        judge(part, clips)
    with pytest.raises(OutputError) as refused:
        open_made(out, about=CHANGES[named], resume=True)
    assert f"was begun with other settings ({named}); give the same ones" in str(refused.value)
    with open_made(out, about=made_with(workers=8), resume=True) as part:
        assert judge(part, clips) == []


@pytest.mark.parametrize("journal", [None, b"", b"no JSON\n", b"[]\n", b'{"settings": 3}\n'])
def test_lines_without_their_journal_are_refused(
    journal: bytes | None, out: Path, clips: list[Path]
) -> None:
    with open_made(out) as part:
        judge(part, clips)
    files = files_of(out)
    before = files.lines.read_bytes()
    files.journal.unlink() if journal is None else files.journal.write_bytes(journal)
    with pytest.raises(OutputError, match=r"journal is missing or damaged; .* --overwrite"):
        open_made(out, resume=True)
    assert files.lines.read_bytes() == before


def test_a_part_has_one_writer(out: Path, clips: list[Path]) -> None:
    with open_made(out, Shard(1, 2)) as part:
        part.add(make_verdict(clips[0]))
        for flags in ({"resume": True}, {"overwrite": True}):
            with pytest.raises(OutputError, match="another run is writing this part"):
                open_made(out, Shard(1, 2), **flags)
        with open_made(out, Shard(2, 2)) as other:
            other.add(make_verdict(clips[1]))
    assert read_lines(out / "part-0001-of-0002.jsonl") == [("a.mp4", "REAL")]
    open_made(out, Shard(1, 2), resume=True).close()


def test_names_that_are_no_text(out: Path, tmp_path: Path) -> None:
    paths = [tmp_path / "\udcff.mp4", tmp_path / "two\nlines.mp4"]
    for path in paths:
        path.write_text("clip")
    with open_made(out) as part:
        assert judge(part, paths) == [path.name for path in paths]
    with open_made(out, resume=True) as part:
        assert judge(part, paths) == []


def test_what_cannot_be_read_is_always_tried_again(out: Path, tmp_path: Path) -> None:
    gone = Source(tmp_path / "gone.mp4", "does not exist")
    with open_made(out) as part:
        assert list(part.list_missing([gone, gone])) == [gone]
        part.add(make_verdict(gone.path, Label.ERROR))
        part.finish()
    with open_made(out, resume=True) as part:
        assert list(part.list_missing([gone])) == [gone]


def test_a_journal_names_the_model_and_the_settings(out: Path) -> None:
    about = Provenance("green", "ab" * 32, 4, {"heat": 1}, {"frames": 3, "format": "csv"})
    open_made(out, about=about).close()
    head = json.loads(files_of(out).journal.read_text())
    assert head["model"] == {"name": "green", "sha256": "ab" * 32, "params": 4}
    assert head["settings"] == {"frames": 3}
    shutil.rmtree(out)
