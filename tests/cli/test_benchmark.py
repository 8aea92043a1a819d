"""`deepkd benchmark` from the command line: what goes where, and what is refused."""

import csv
import io
import json

import pytest
from scorer_factory import write_scorer
from typer.testing import CliRunner

from deepkd.cli.app import app
from deepkd.errors import UsageError

QUICK = ("--runs", "3", "--batch", "2", "--threads", "1")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    large = write_scorer(folder / "large.onnx", name="large", params=1000)
    return [
        "--teacher",
        str(large),
        "--student",
        str(write_scorer(folder / "small.onnx", name="small", params=5)),
    ]


def run(*arguments):
    return CliRunner().invoke(app, ["benchmark", *map(str, arguments)])


def test_out_holds_the_document_the_rows_the_plots_and_the_settings(pair, tmp_path):
    out = tmp_path / "bench"
    result = run(*pair, *QUICK, "--format", "json", "--out", out)
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["schema"] == "deepkd.benchmark/1"
    assert document["reduction"]["params_pct"] == 99.5
    assert document["end_to_end"] is None
    assert json.loads((out / "benchmark.json").read_text()) == document
    names = sorted(path.name for path in out.iterdir())
    assert names == [
        "benchmark.csv",
        "benchmark.json",
        "benchmark.json.config.json",
        "benchmark.png",
        "size-latency.png",
    ]
    rows = list(csv.DictReader(io.StringIO((out / "benchmark.csv").read_text())))
    assert [(row["name"], row["role"], row["params"], row["auc"]) for row in rows] == [
        ("large", "teacher", "1000", ""),
        ("small", "student", "5", ""),
    ]
    again = run(*pair, *QUICK, "--out", out)
    assert again.exit_code == 1
    assert "--overwrite" in again.stderr


def test_table_says_what_is_untrained_and_judges_nothing(pair):
    result = run(pair[1], "--student", "pico", *QUICK)
    assert result.exit_code == 0, result.stderr
    assert "pico (untrained)" in result.stdout
    assert "neither AUC nor verdicts" in result.stdout
    assert not {"FAKE", "REAL", "The student saves"} & set(result.stdout.split())
    assert "benchmark: timing" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("no-such-net",), 1, "choose from"),
        (("--teacher", "none.onnx"), 1, "none.onnx"),
        (("--runs", "1"), 2, "at least 3"),
        (("--format", "xml"), 2, "choose from table, json, csv"),
    ],
)
def test_refusals(arguments, code, words):
    result = run(*arguments)
    assert result.exit_code == code, result.stderr
    assert words in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ([], ("benchmark.json.config.json", "benchmark.csv", "benchmark.png", "size-latency.png")),
        (
            ["--pareto", "models"],
            ("pareto.json.config.json", "pareto.csv", "pareto.png", "pareto.svg"),
        ),
    ],
    ids=["pair", "pareto"],
)
def test_no_file_in_out_is_replaced_unasked(words, names, tmp_path):
    for name in names:
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_text("mine")
        result = run(*words, *QUICK, "--out", folder)
        assert result.exit_code == 1 and "exists already" in " ".join(result.stderr.split())
        assert [path.name for path in folder.iterdir()] == [name] and (
            folder / name
        ).read_text() == "mine"


def test_figures_are_kept_where_plots_cannot_be_drawn(pair, tmp_path, monkeypatch):
    def fail(*_):
        raise UsageError("no matplotlib")

    monkeypatch.setattr("deepkd.tables.benchmark.draw_benchmark", fail)
    result = run(*pair, *QUICK, "--out", tmp_path)
    assert result.exit_code == 2 and "no matplotlib" in result.stderr
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["benchmark.csv", "benchmark.json", "benchmark.json.config.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--split", "val"),
            (
                "split=val: for AUC on labelled crops, which takes --data; give it, or leave out"
                " --split"
            ),
        ),
        (("--limit", "9", "--allow-training-data"), "leave out --limit, --allow-training-data"),
        (
            ("--frames", "4"),
            "frames=4: for timing a clip, which takes --video; give it, or leave out --frames",
        ),
        (("--video-runs", "9", "--data", "crops"), "leave out --video-runs"),
        (("--pareto", "models", "--split", "val"), "which takes --data"),
    ],
)
def test_settings_that_would_do_nothing_are_refused(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2 and message in " ".join(result.stderr.split())
