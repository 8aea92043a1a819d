"""`deepkd evaluate` from the command line: what goes where, and what is refused."""

import csv
import io
import json

import pytest
from crop_factory import write_crops
from media import Media
from rich.console import Console
from scorer_factory import tinted_clip, write_scorer
from typer.testing import CliRunner

from deepkd.cli.app import app
from deepkd.data.crops import load_crops
from deepkd.data.families import training_record
from deepkd.evaluation.answers import ClipScorer
from deepkd.evaluation.results import EvaluationDocument
from deepkd.tables.evaluation import evaluation_tables

ALL = ("--split", "all")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_crops(tmp_path_factory.mktemp("crops"), families=5)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_scorer(tmp_path_factory.mktemp("model") / "green.onnx")


def run(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def test_json_is_one_document(model, data):
    result = run(model, "--data", data, *ALL, "--format", "json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["schema"] == "deepkd.evaluate/1"
    (only,) = document["models"]
    assert (only["name"], only["crops"]["rows"], only["crops"]["real"]) == ("green", 10, 5)
    assert (
        only["crops"]["auc"]["low"] <= only["crops"]["auc"]["value"] <= only["crops"]["auc"]["high"]
    )


def test_table_shows_models_side_by_side(model, data):
    result = run(model, model, "--data", data, *ALL)
    assert result.exit_code == 0, result.stderr
    for words in ("green #1", "green #2", "10 crops of 5 sources", "AUC", "Log loss", "flattered"):
        assert words in result.stdout
    assert "evaluate:" not in result.stdout


def test_csv_has_a_line_per_figure(model, data):
    result = run(model, "--data", data, *ALL, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["figure"] for row in rows] == [
        *(
            "auc",
            "average_precision",
            "log_loss",
            "eer",
            "accuracy",
            "ece",
            "ece_even",
            "fpr_at_95_tpr",
        ),
        *("false_alarms", "detected", "inconclusive", "precision"),
    ]
    assert {row["level"] for row in rows} == {"crops"}
    assert all(float(row["value"] or 0) >= 0 for row in rows)


def test_one_class_is_null_and_a_dash(model, data, tmp_path):
    index = (data / "index.csv").read_text().splitlines()
    kept = [index[0], *(line for line in index if ",FAKE," in line)]
    alone = write_crops(tmp_path / "alone", families=5)
    (alone / "index.csv").write_text("\n".join(kept))
    crops = json.loads(run(model, "--data", alone, *ALL, "--format", "json").stdout)["models"][0][
        "crops"
    ]
    assert [
        crops[name]["value"] for name in ("auc", "average_precision", "eer", "fpr_at_95_tpr")
    ] == [None] * 4
    assert crops["log_loss"]["value"] > 0
    table = run(model, "--data", alone, *ALL, "--plots", tmp_path / "plots")
    assert table.exit_code == 0, table.stderr
    assert sorted(path.name for path in (tmp_path / "plots").glob("*.png")) == [
        "reliability.png",
        "scores.png",
    ]


def test_scores_and_plots_lie_beside_their_settings(model, data, tmp_path):
    scores, plots = tmp_path / "deep" / "scores.csv", tmp_path / "plots"
    result = run(model, "--data", data, *ALL, "--scores", scores, "--plots", plots)
    assert result.exit_code == 0, result.stderr
    assert scores.read_text().splitlines()[0] == "file,label,score"
    assert len(scores.read_text().splitlines()) == 11
    assert json.loads((tmp_path / "deep" / "scores.csv.config.json").read_text())["split"] == "all"
    names = sorted(path.name for path in plots.iterdir())
    assert names == [
        "plots.config.json",
        "precision-recall.png",
        "reliability.png",
        "roc.png",
        "scores.png",
    ]
    again = run(model, "--data", data, *ALL, "--scores", scores)
    assert again.exit_code == 1
    assert "--overwrite" in again.stderr
    assert run(model, "--data", data, *ALL, "--scores", scores, "--overwrite").exit_code == 0


def test_other_settings_are_not_replaced_unasked(model, data, tmp_path):
    settings = tmp_path / "scores.csv.config.json"
    settings.write_text("of another result")
    words = [model, "--data", data, *ALL, "--scores", tmp_path / "scores.csv"]
    refused = run(*words)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "scores.csv.config.json: exists already" in refused.stderr
    assert settings.read_text() == "of another result" and not (tmp_path / "scores.csv").exists()
    assert run(*words, "--overwrite").exit_code == 0
    assert json.loads(settings.read_text())["command"] == "evaluate"


def test_a_file_of_settings_is_overruled_by_flags(model, data, tmp_path):
    settings = tmp_path / "settings.toml"
    settings.write_text(
        f'[evaluate]\ndata = "{data}"\nsplit = "none"\nformat = "json"\nresamples = 0\n'
    )
    result = run(model, "--config", settings, "--split", "train")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert (document["split"], document["models"][0]["crops"]["rows"]) == ("train", 6)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "MODEL"),
        (("{model}",), 2, "--data is missing"),
        (("{model}", "--data", "{data}", "--format", "xml"), 2, "choose from table, json, csv"),
        (("{model}", "--data", "{data}", "--limit", "0"), 2, "limit=0"),
        (("{model}", "--data", "{data}", "--split", "tset"), 1, "its splits are test, train, val"),
        (("{model}", "--data", "{data}/none"), 1, "index"),
        (("{data}/none.onnx", "--data", "{data}"), 1, "none.onnx"),
        (("{data}/index.csv", "--data", "{data}"), 1, "unknown kind of model"),
        (("{model}", "--data", "{data}", "--scores", "{data}"), 1, "is a folder"),
        (
            ("{model}", "--data", "{data}", "--scores", "{data}/index.csv", "--overwrite"),
            1,
            "is one of the inputs",
        ),
        (
            ("{model}", "--data", "{data}", "--features", "{model}", "--overwrite"),
            2,
            "ends in .png; give --features",
        ),
        (
            ("{model}", "--data", "{data}", "--scores", "{model}", "--overwrite"),
            1,
            "is one of the inputs",
        ),
    ],
)
def test_refusals(arguments, code, words, model, data):
    result = run(*(argument.format(model=model, data=data) for argument in arguments))
    assert result.exit_code == code, result.stderr
    assert words in result.stderr
    assert result.stdout == ""


def test_the_table_fits_80_columns(model, data):
    document = json.loads(
        run(model, model, "--data", data, *ALL, "--perturb", "all", "--format", "json").stdout
    )
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(evaluation_tables(EvaluationDocument.from_dict(document | {"data": "crops"})))
    rows = console.export_text().splitlines()
    assert max(len(row.rstrip()) for row in rows if row.startswith(" ")) <= 80


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A real clip, a forged one and two broken ones; lists of all, the sound and the broken."""
    folder = tmp_path_factory.mktemp("clips")
    tinted_clip(folder / "real.mp4", green=lambda t_s: False, seconds=0.6)
    tinted_clip(folder / "fake.mp4", seconds=0.6)
    for name in ("junk.mp4", "j\nunk.mp4"):
        Media(folder).junk(name)
    sound, broken = "real.mp4,REAL\nfake.mp4,FAKE\n", 'junk.mp4,FAKE\n"j\nunk.mp4",REAL\n'
    for name, rows in {"sound": sound, "broken": broken, "all": sound + broken}.items():
        (folder / f"{name}.csv").write_text(f"path,label\n{rows}")
    return folder


def test_videos_that_failed_are_named_and_end_with_3(model, clips, monkeypatch):
    command = (*ALL, "--frames", 4, "--resamples", 0, "--format", "json")
    assert run(model, "--data", clips / "sound.csv", *command).exit_code == 0
    some = run(model, model, "--data", clips / "all.csv", *command)
    assert some.exit_code == 3, some.stderr
    assert [one["unjudged"] for one in json.loads(some.stdout)["models"]] == [{"ERROR": 2}] * 2
    failed = [line for line in some.stderr.splitlines() if line.startswith("failed: ")]
    assert (
        len(failed) == 2
        and failed[0].startswith(f"failed: {clips}/junk.mp4: ")
        and "/j\\nunk.mp4: " in failed[1]
    )
    monkeypatch.setattr("deepkd.cli.progress.NAMED", 1)
    assert "failed: 1 more" in run(model, "--data", clips / "all.csv", *command).stderr.splitlines()
    none = run(model, "--data", clips / "broken.csv", *command)
    assert (none.exit_code, none.stdout) == (
        1,
        "",
    ) and "none of the 2 videos could be judged" in none.stderr


def test_videos_that_fail_once_they_are_damaged_end_with_3(model, clips, monkeypatch):
    judged = ClipScorer._judge

    def breaking(self, source, model, alter):
        broken = alter is not None and source.path.name == "fake.mp4"
        return ("ERROR", None, "broken") if broken else judged(self, source, model, alter)

    monkeypatch.setattr(ClipScorer, "_judge", breaking)
    command = (
        model,
        "--data",
        clips / "sound.csv",
        *ALL,
        "--frames",
        4,
        "--resamples",
        0,
        "--perturb",
        "jpeg:10",
    )
    result = run(*command)
    assert result.exit_code == 3 and "failed: 1 more under jpeg 10" in result.stderr.splitlines()


def test_training_data_is_refused_or_named(data, tmp_path):
    record = training_record(load_crops(data, "train"))
    trained = write_scorer(tmp_path / "trained.onnx", recipe=record)
    result = run(trained, "--data", data, *ALL)
    assert (result.exit_code, result.stdout) == (1, "")
    assert (
        "green was trained on 3 of these 5 originals" in result.stderr
        and "--allow-training-data" in result.stderr
    )
    allowed = run(trained, "--data", data, *ALL, "--allow-training-data")
    assert (
        allowed.exit_code == 0 and "green was TRAINED on 60.0% of these originals" in allowed.stdout
    )
    clean = run(trained, "--data", data)
    assert clean.exit_code == 0 and "TRAINED" not in clean.stdout and "warning" not in clean.stderr


def test_an_old_model_is_warned_of(model, data):
    assert "green does not list all of its training data" in run(model, "--data", data).stderr
