"""Collect: the parts as one report, and what is missing in it."""

import csv
import dataclasses
import io
import json
import sqlite3
from pathlib import Path

import duckdb
import pytest
from part_factory import judge, made_with, make_clips, make_verdict, open_made

from deepkd.cluster import collect as module
from deepkd.cluster.collect import collect
from deepkd.cluster.parts import PartFiles
from deepkd.cluster.reports import REPORTS
from deepkd.errors import DataError, OutputError, UsageError
from deepkd.origin.credentials import Credentials, State
from deepkd.report.csv import CsvReport
from deepkd.scoring.grades import Grade
from deepkd.scoring.passages import ShotVerdict
from deepkd.scoring.verdict import Label
from deepkd.shards import Shard

NAMES = [f"{number}.mp4" for number in range(12)]


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    return make_clips(tmp_path, NAMES)


def write_parts(out: Path, clips: list[Path], count: int = 3, **labels: Label) -> Path:
    by_name = {f"{name.removeprefix('n')}.mp4": label for name, label in labels.items()}
    for number in range(1, count + 1):
        shard = Shard(number, count)
        with open_made(out, shard) as part:
            judge(part, filter(shard.holds, clips), by_name)
            part.finish()
    return out


def names_of(file: Path) -> list[str]:
    return [Path(json.loads(line)["path"]).name for line in file.read_text().splitlines()]


def test_parts_become_one_report(tmp_path: Path, clips: list[Path]) -> None:
    out, report = write_parts(tmp_path / "out", clips), tmp_path / "all.jsonl"
    collected = collect([out], report)
    assert (collected.exit_code, collected.parts) == (0, 3)
    assert collected.tally == {"REAL": 12}
    assert sorted(names_of(report)) == sorted(NAMES)
    lines = b"".join(files.lines.read_bytes() for files in PartFiles.find(out))
    assert report.read_bytes() == lines


def test_reports_of_every_kind_say_the_same(tmp_path: Path, clips: list[Path]) -> None:
    out = tmp_path / "out"
    with open_made(out) as part:
        for people, clip in enumerate(clips[:3]):
            part.add(make_verdict(clip, Label.NO_FACE if people == 0 else Label.FAKE, people))
        part.add(make_verdict(Path("=1+1\udcff.mp4"), Label.ERROR))
        part.finish()
    for suffix in REPORTS:
        collect([out], tmp_path / f"all{suffix}")
    entries = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert [len(entry["tracks"]) for entry in entries] == [0, 1, 2, 0]
    rows = list(csv.DictReader(io.StringIO((tmp_path / "all.csv").read_text())))
    for entry, row in zip(entries, rows, strict=True):
        assert row["path"].removeprefix("'") == entry["path"]
        assert row["verdict"] == entry["verdict"] and row["reason"] == entry["reason"]
        assert row["score"] == ("" if entry["score"] is None else str(entry["score"]))
        assert int(row["people"]) == len(entry["tracks"]) and row["model"] == "green"
    people = [(entry, track) for entry in entries for track in entry["tracks"] or [None]]
    table = duckdb.read_parquet(str(tmp_path / "all.parquet"))
    for (entry, track), values in zip(people, table.fetchall(), strict=True):
        cells = dict(zip(table.columns, values, strict=True))
        same = ("path", "verdict", "score", "reason", "duration_s", "fps", "frames_sampled")
        assert {key: cells[key] for key in same} == {key: entry[key] for key in same}
        assert cells["people"] == len(entry["tracks"])
        assert cells["total_ms"] == entry["timing_ms"]["total"]
        assert (cells["model"], cells["model_sha256"]) == ("green", "ab" * 32)
        kept = {"person": "id", "person_verdict": "verdict", "person_score": "score"}
        kept |= {key: key for key in ("first_s", "last_s", "frames")}
        for column, key in kept.items():
            assert cells[column] == (track[key] if track else None)


def test_tables_tell_passages_persons_and_credentials(tmp_path: Path, clips: list[Path]) -> None:
    one = dataclasses.replace(
        make_verdict(clips[0], Label.FAKE, 2),
        shots=(ShotVerdict(0, 2, Label.FAKE, 0.9, (0,), ((0.5, 1.0), (1.5, 2.0))),),
        grade=Grade.WEAK, provenance=Credentials(State.VALID),
    )  # fmt: skip
    with open_made(tmp_path / "out") as part:
        part.add(one)
        part.finish()
    (files,) = PartFiles.find(tmp_path / "out")
    old = json.loads(files.lines.read_text()) | {"path": "old.mp4"}
    del old["shots"], old["provenance"], old["evidence"]
    for track in old["tracks"]:
        del track["person"], track["evidence"]
    with files.lines.open("a") as file:
        file.write(json.dumps(old) + "\n")
    for suffix in (".csv", ".parquet"):
        collect([tmp_path / "out"], tmp_path / f"all{suffix}")
    told, lacking = csv.DictReader((tmp_path / "all.csv").read_text().splitlines())
    names = ("persons", "evidence", "suspicious_s", "provenance")
    assert [told[name] for name in names] == ["1", "weak", "0.5-1; 1.5-2", "valid"]
    assert [lacking[name] for name in names] == ["2", "", "", ""]
    table = duckdb.read_parquet(str(tmp_path / "all.parquet"))
    rows = table.project(", ".join((*names, "person_number"))).fetchall()
    assert rows[:2] == [(1, "weak", [[0.5, 1.0], [1.5, 2.0]], "valid", 0)] * 2
    assert rows[2:] == [(2, None, None, None, 0), (2, None, None, None, 1)]


def test_the_csv_is_that_of_detect(tmp_path: Path, clips: list[Path]) -> None:
    out = tmp_path / "out"
    with open_made(out) as part:
        judge(part, clips)
    collect([out], tmp_path / "all.csv")
    printed = io.StringIO()
    report = CsvReport(printed, made_with())
    for clip in clips:
        report.add(make_verdict(clip))
    assert (tmp_path / "all.csv").read_text() == printed.getvalue()


def test_what_is_missing_is_named(tmp_path: Path, clips: list[Path]) -> None:
    out = write_parts(tmp_path / "out", clips, count=4)
    PartFiles(out, Shard(2, 4)).lines.unlink()
    with open_made(out, Shard(3, 4), resume=True) as part:
        part.add(make_verdict(tmp_path / "more.mp4"))
    collected = collect([out])
    assert collected.missing.first == ["part 2 of 4"]
    assert collected.unfinished.first == [str(out / "part-0003-of-0004.jsonl")]
    assert collected.exit_code == 3


def test_parts_may_lie_in_several_folders(tmp_path: Path, clips: list[Path]) -> None:
    for number in (1, 2):
        shard = Shard(number, 2)
        with open_made(tmp_path / f"node{number}", shard) as part:
            judge(part, filter(shard.holds, clips))
            part.finish()
    assert collect([tmp_path / "node1"]).missing.first == ["part 2 of 2"]
    collected = collect([tmp_path / "node1", tmp_path / "node2"])
    assert (collected.exit_code, collected.tally) == (0, {"REAL": 12})


def test_of_an_input_that_was_judged_twice_the_later_counts(
    tmp_path: Path, clips: list[Path]
) -> None:
    first = write_parts(tmp_path / "first", clips, n3=Label.FAKE, n4=Label.ERROR)
    second = write_parts(tmp_path / "second", clips[3:5], count=1)
    report = tmp_path / "all.jsonl"
    collected = collect([first, second], report)
    assert sorted(collected.twice.first) == [str(clips[3]), str(clips[4])]
    assert (collected.tally, collected.exit_code) == ({"REAL": 12}, 0)
    assert sorted(names_of(report)) == sorted(NAMES) and names_of(report)[-2:] == NAMES[3:5]
    assert collect([second, first]).tally == {"REAL": 10, "FAKE": 1, "ERROR": 1}


def test_what_failed_is_named(tmp_path: Path, clips: list[Path]) -> None:
    collected = collect([write_parts(tmp_path / "out", clips, n7=Label.ERROR)])
    assert collected.failed.first == [f"{clips[7]}: is damaged"] and collected.exit_code == 3


def test_many_names_are_counted(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with open_made(out) as part:
        for number in range(50):
            part.add(make_verdict(Path(f"{number}.mp4"), Label.ERROR))
    failed = collect([out]).failed
    assert (failed.count, len(failed.first)) == (50, module.NAMED)


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"[]",
        b"no JSON",
        b'{"path": 3, "verdict": "REAL", "reason": "", "model": {"name": "", "sha256": ""}}',
    ],
)
def test_damaged_lines_are_named(line: bytes, tmp_path: Path, clips: list[Path]) -> None:
    out = write_parts(tmp_path / "out", clips, count=1)
    (files,) = PartFiles.find(out)
    files.lines.write_bytes(line + b"\n" + files.lines.read_bytes() + b'{"torn": ')
    collected = collect([out], tmp_path / "all.jsonl")
    assert collected.damaged.first == [f"{files.lines}:1"] and collected.exit_code == 3
    assert names_of(tmp_path / "all.jsonl") == NAMES


def test_verdicts_of_several_models_are_told_apart(tmp_path: Path, clips: list[Path]) -> None:
    for number, sha256 in ((1, "ab" * 32), (2, "cd" * 32)):
        with open_made(tmp_path, Shard(number, 2), about=made_with(sha256=sha256)) as part:
            judge(part, [clips[number]])
    assert collect([tmp_path]).models == {"green (abababab)", "green (cdcdcdcd)"}


def test_what_cannot_be_collected_is_refused(
    tmp_path: Path, clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="nowhere: cannot be read"):
        collect([tmp_path / "nowhere"])
    with pytest.raises(DataError, match="no parts; name a folder that 'deepkd detect --out'"):
        collect([tmp_path])
    out = write_parts(tmp_path / "out", clips, count=1)
    (files,) = PartFiles.find(out)
    with pytest.raises(OutputError, match="is one of the inputs"):
        collect([out], files.lines, overwrite=True)
    with pytest.raises(UsageError, match=r"no report has the suffix '.html'; choose from .jsonl"):
        collect([out], tmp_path / "all.html")
    (tmp_path / "all.csv").touch()
    with pytest.raises(OutputError, match="exists already"):
        collect([out], tmp_path / "all.csv")
    collect([out], tmp_path / "all.csv", overwrite=True)
    monkeypatch.setitem(__import__("sys").modules, "duckdb", None)
    with pytest.raises(UsageError, match=r"pip install 'deepkd\[parquet\]'"):
        collect([out], tmp_path / "all.parquet")


def test_a_report_is_whole_or_absent(
    tmp_path: Path, clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = write_parts(tmp_path / "out", clips, count=1)
    monkeypatch.setattr("deepkd.cluster.reports.QUERY", "SELECT {lines}{out}{columns}{line_bytes}")
    with pytest.raises(OutputError, match="the Parquet file cannot be written"):
        collect([out], tmp_path / "all.parquet")
    assert not (tmp_path / "all.parquet").exists()


def test_temporary_files_that_cannot_be_written_are_named(
    tmp_path: Path, clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = write_parts(tmp_path / "out", clips, count=1)

    def is_full(*_: object) -> bool:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(module._Replaced, "add", is_full)
    with pytest.raises(OutputError, match=r"temporary files cannot be written .* TMPDIR"):
        collect([out], tmp_path / "all.jsonl")


def test_a_part_that_changes_meanwhile_is_refused(
    tmp_path: Path, clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = write_parts(tmp_path / "out", clips, count=1)
    (files,) = PartFiles.find(out)
    find = module._find_replaced

    def find_then_cut(*words: object) -> None:
        find(*words)
        files.lines.write_bytes(files.lines.read_bytes()[:-1])

    monkeypatch.setattr(module, "_find_replaced", find_then_cut)
    with pytest.raises(DataError, match="a run replaced it meanwhile"):
        collect([out], tmp_path / "all.jsonl")
    assert not (tmp_path / "all.jsonl").exists()
