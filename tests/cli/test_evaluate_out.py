"""What `deepkd evaluate --out` keeps: finished parts and figures, and whose they are."""

import csv
import io
import json

import pytest
from crop_factory import write_crops
from scorer_factory import write_scorer
from typer.testing import CliRunner

from deepkd.cli.app import app
from deepkd.errors import OutputError
from deepkd.evaluation.results import ModelFigures
from deepkd.shipped import sha256_of
from deepkd.tables.robustness import robustness_table

ALL = ("--split", "all")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_crops(tmp_path_factory.mktemp("crops"), families=5)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_scorer(tmp_path_factory.mktemp("model") / "green.onnx")


def run(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def test_damage_is_reported_kept_and_drawn(model, data, tmp_path):
    out = tmp_path / "out"
    command = (
        model,
        "--data",
        data,
        *ALL,
        "--perturb",
        "jpeg,downscale",
        "--resamples",
        20,
        "--out",
        out,
    )
    result = run(*command)
    assert result.exit_code == 0, result.stderr
    assert "green on damaged crops" in result.stdout and "JPEG, quality 90 to 10" in result.stdout
    document = json.loads((out / "evaluation.json").read_text())
    conditions = document["models"][0]["robustness"]
    assert [condition["perturbation"] for condition in conditions] == ["jpeg"] * 5 + [
        "downscale"
    ] * 2
    levels = {
        row["level"] for row in csv.DictReader(io.StringIO((out / "evaluation.csv").read_text()))
    }
    assert levels == {"crops", *(f"perturbed:jpeg:{q}" for q in (90, 70, 50, 30, 10)),
                      "perturbed:downscale:0.5", "perturbed:downscale:0.25"}  # fmt: skip
    names = sorted(path.name for path in out.iterdir())
    assert names == [
        "evaluation.csv",
        "evaluation.json",
        "evaluation.json.config.json",
        "robustness.jsonl",
        "robustness.png",
    ]
    kept = (out / "robustness.jsonl").read_text()
    assert run(*command).exit_code == 0 and (out / "robustness.jsonl").read_text() == kept
    assert "other data or settings" in run(*command, "--seed", 1).stderr
    assert run(*command, "--seed", 1, "--overwrite").exit_code == 0
    unknown = run(model, "--data", data, *ALL, "--perturb", "jpg")
    assert unknown.exit_code == 2 and "choose from all, saturation" in unknown.stderr


def test_what_is_kept_outlives_an_overwrite_that_comes_to_nothing(model, data, tmp_path):
    kept = tmp_path / "robustness.jsonl"
    command = ("--data", data, *ALL, "--perturb", "jpeg:10", "--resamples", 0, "--out", tmp_path)
    assert run(model, *command).exit_code == 0
    lines = kept.read_text()
    assert lines.count("\n") == 2
    for wrong in (
        ("nope.onnx", *command),
        (model, *command, "--data", tmp_path / "none"),
        (model, *command, "--split", "x"),
    ):
        assert run(*wrong, "--overwrite").exit_code == 1
        assert kept.read_text() == lines
    kept.write_text(lines + lines.splitlines()[1].replace("jpeg", "blur") + "\n")
    assert run(model, *command, "--overwrite").exit_code == 0
    assert kept.read_text() == lines, "begun anew"


def test_models_are_known_by_their_weights_whatever_they_are_called(data, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    first = write_scorer(tmp_path / "one" / "green.onnx", bias=0.0)
    second = write_scorer(tmp_path / "two" / "green.onnx", bias=0.5)
    words = ("--data", data, *ALL, "--resamples", 0, "--out", tmp_path / "out")
    assert run(first, *words).exit_code == 0
    refused = run(second, *words)
    assert (
        refused.exit_code == 1
        and "evaluation.json: has figures of green; name them again" in refused.stderr
    )
    assert run(first, second, *words).exit_code == 0, "now it is green (one)"
    models = json.loads((tmp_path / "out" / "evaluation.json").read_text())["models"]
    assert [model["sha256"] for model in models] == [sha256_of(first), sha256_of(second)]


def test_figures_are_kept_where_a_plot_cannot_be_drawn(model, data, tmp_path, monkeypatch):
    def fail(*_):
        raise OutputError("no such font")

    monkeypatch.setattr("deepkd.tables.curves.draw_evaluation", fail)
    words = (
        "--data",
        data,
        *ALL,
        "--resamples",
        0,
        "--out",
        tmp_path / "out",
        "--plots",
        tmp_path / "plots",
    )
    assert run(model, *words).exit_code == 1
    assert (tmp_path / "out" / "evaluation.json").exists()


def test_figures_of_other_models_are_not_replaced_unasked(model, data, tmp_path):
    assert run(model, "--data", data, *ALL, "--resamples", 0, "--out", tmp_path).exit_code == 0
    before = (tmp_path / "evaluation.json").read_bytes()
    result = run("deepkd-pico", "--data", data, *ALL, "--resamples", 0, "--out", tmp_path)
    assert (
        result.exit_code == 1
        and "evaluation.json: has figures of green; name them again" in result.stderr
    )
    assert (tmp_path / "evaluation.json").read_bytes() == before
    assert (
        run(
            model, "deepkd-pico", "--data", data, *ALL, "--resamples", 0, "--out", tmp_path
        ).exit_code
        == 0
    )
    assert (
        run(
            model, "--data", data, *ALL, "--resamples", 0, "--out", tmp_path, "--overwrite"
        ).exit_code
        == 0
    )


def test_a_folder_begun_with_other_data_is_refused_before_anything_is_scored(
    model, data, tmp_path, monkeypatch
):
    assert run(model, "--data", data, *ALL, "--resamples", 0, "--out", tmp_path).exit_code == 0
    monkeypatch.setattr(
        "deepkd.evaluation.evaluate.logits_of", lambda *_, **__: pytest.fail("it was scored")
    )
    result = run(model, "--data", data, *ALL, "--resamples", 0, "--out", tmp_path, "--seed", 1)
    assert result.exit_code == 1 and "other data or settings" in result.stderr


def test_scores_of_other_pictures_or_other_damage_are_not_taken(model, tmp_path, monkeypatch):
    data, out = write_crops(tmp_path / "crops", families=5), tmp_path / "out"
    command = (model, "--data", data, *ALL, "--perturb", "jpeg:10", "--resamples", 0, "--out", out)
    assert run(*command).exit_code == run(*command).exit_code == 0
    first, second = sorted(data.rglob("*.jpg"))[:2]
    before = first.read_bytes()
    first.write_bytes(second.read_bytes())
    assert "other data or settings" in run(*command).stderr
    first.write_bytes(before)
    assert run(*command).exit_code == 0
    monkeypatch.setattr("deepkd.evaluation.robustness.SUITE", 2)
    assert "other data or settings" in run(*command).stderr


def test_single_levels_keep_their_place(model, data, tmp_path):
    result = run(
        model,
        "--data",
        data,
        *ALL,
        "--perturb",
        "jpeg:10,downscale:0.5",
        "--out",
        tmp_path,
        "--format",
        "json",
    )
    (found,) = json.loads(result.stdout)["models"]
    steps = [(one["perturbation"], one["level"], one["severity"]) for one in found["robustness"]]
    assert steps == [("jpeg", 10, 5), ("downscale", 0.5, 1)]
    table = robustness_table(ModelFigures.from_dict(found)).rich()
    columns = [list(column.cells) for column in table.columns]
    assert [bool(jpeg) for jpeg, _ in columns] == [True, True, False, False, False, False, True]
    assert [bool(smaller) for _, smaller in columns] == [
        True,
        False,
        True,
        False,
        False,
        False,
        False,
    ]
    assert (tmp_path / "robustness.png").stat().st_size > 0
    wrong = run(model, "--data", data, *ALL, "--perturb", "jpeg:11")
    assert wrong.exit_code == 2 and "no level '11'; choose from 90, 70, 50, 30, 10" in wrong.stderr
