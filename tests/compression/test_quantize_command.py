"""`deepkd quantize`: its document, what it keeps, and what it refuses."""

import io
import json
import shutil
from pathlib import Path

import pytest
from crop_factory import write_crops
from model_factory import random_model
from rich.console import Console
from scorer_factory import write_scorer
from typer.testing import CliRunner

from deepkd.cli.app import app
from deepkd.compression.quantize import VariantResult, quantize
from deepkd.compression.results import QuantizeDocument
from deepkd.config import load_config
from deepkd.errors import DataError, ModelError
from deepkd.models.checkpoints import save_model
from deepkd.models.export import export_onnx
from deepkd.scoring.model import Scorer
from deepkd.settings.choices import CONVERSIONS
from deepkd.settings.compression import QuantizeConfig
from deepkd.tables.quantize import outcome, quantize_table

QUICK = QuantizeConfig(samples=4, runs=3, int8="plain", resamples=20, threads=1)
FEW = ["--int8", "plain", "--samples", "4", "--runs", "3", "--resamples", "20", "--threads", "1"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = random_model("pico")
    model.metadata = {
        "calibration": {"temperature": 1.7, "bias": -0.2},
        "thresholds": {"real": 0.2, "fake": 0.9},
        "recipe": {"teacher": "large", "epochs": 3},
    }
    return export_onnx(model, tmp_path_factory.mktemp("float32") / "m.onnx")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_crops(tmp_path_factory.mktemp("data") / "crops", tint=40)


def test_the_document_says_what_was_measured_and_keeps_what_is_asked_for(
    source: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "small.onnx"
    document = quantize(str(source), data, out, QUICK.replace(keep="weights")).to_dict()
    assert json.loads(json.dumps(document)) == document
    assert document["schema"] == "deepkd.quantize/1"
    assert [row["variant"] for row in document["models"]] == ["float32", "int8", "fp16", "weights"]
    assert document["calibration"]["split"] == "train" and document["calibration"]["crops"] == 4
    assert document["written"] == {"variant": "weights", "path": str(out), "asked": True}
    plain, *variants = document["models"]
    assert plain["accepted"] is None and plain["latency_ratio"]["value"] == 1
    for row in variants:
        assert row["accepted"] == (not row["objections"])
        assert row["auc_change"]["value"] == pytest.approx(row["auc"] - plain["auc"], abs=2e-6)
    kept = Scorer.load(out)
    assert (kept.sha256, kept.bytes) == (variants[2]["sha256"], variants[2]["bytes"])


def test_what_is_quantised_already_is_refused_by_its_name(source: Path, tmp_path: Path) -> None:
    CONVERSIONS.load("fp16")(source, tmp_path / "half.onnx")
    with pytest.raises(
        ModelError, match=r"half\.onnx: quantised already \(fp16\); give the float32 model"
    ):
        quantize(str(tmp_path / "half.onnx"), tmp_path, tmp_path / "m.onnx", QUICK)


@pytest.mark.parametrize("link", [False, True])
def test_the_float32_model_itself_is_never_replaced(
    link: bool, source: Path, data: Path, tmp_path: Path
) -> None:
    model = out = Path(shutil.copy(source, tmp_path / "m.onnx"))
    if link:
        out = tmp_path / "same.onnx"
        out.symlink_to(model)
    words = [
        "quantize",
        str(model),
        "--data",
        str(data),
        "--out",
        str(out),
        "--overwrite",
        "--keep",
        "weights",
    ]
    result = CliRunner().invoke(app, [*words, *FEW], env={"COLUMNS": "300"})
    assert result.exit_code == 1 and f"{out.name}: is one of the inputs" in result.stderr
    assert model.read_bytes() == source.read_bytes() and not result.stdout
    assert not list(tmp_path.glob("*.json"))


def test_a_variant_that_overflows_is_a_row_that_says_no(data: Path, tmp_path: Path) -> None:
    model = random_model("pico")
    model.module.get_classifier().weight.data.abs_().mul_(1e6)
    source = export_onnx(model, tmp_path / "m.onnx", verify=False)
    document = quantize(
        str(source), data, tmp_path / "out.onnx", QUICK.replace(keep="fp16")
    ).to_dict()
    row = next(row for row in document["models"] if row["variant"] == "fp16")
    assert (
        row["auc"] is None and row["accepted"] is False and "not finite on" in row["objections"][0]
    )
    assert document["written"] is None and not (tmp_path / "out.onnx").exists()
    console = Console(record=True, width=250, file=io.StringIO())
    console.print(quantize_table(QuantizeDocument.from_dict(document)))
    assert "not finite on" in console.export_text()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            ["export", "deepkd-nano", "--out", "m.onnx"],
            1,
            "an ONNX model, and what is asked for takes a network",
        ),
        (["export", "run", "--out", "plainname"], 2, "plainname: what is written ends in .onnx"),
        (["export", "run", "--format", "torchscript", "--out", "m.onnx"], 2, "ends in .pt or .ts"),
        (["quantize", "run", "--data", "crops", "--out", "m.pt"], 2, "ends in .onnx"),
    ],
)
def test_messages_that_lead_on(words: list[str], code: int, message: str) -> None:
    result = CliRunner().invoke(app, words, env={"COLUMNS": "300"})
    assert result.exit_code == code and message in result.stderr


def test_nothing_is_written_where_nothing_pays(
    source: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VariantResult, "objections", lambda self, max_drop: ["it rains"])
    document = quantize(str(source), data, tmp_path / "m.onnx", QUICK).to_dict()
    assert document["written"] is None and not (tmp_path / "m.onnx").exists()
    monkeypatch.setattr(VariantResult, "objections", lambda self, max_drop: [])
    document = quantize(str(source), data, tmp_path / "m.onnx", QUICK).to_dict()
    fastest = min(document["models"][1:], key=lambda row: row["latency_ratio"]["value"])
    assert document["written"]["variant"] == fastest["variant"] and (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize("words", ["--calibrate-on val", "--split train", "--split all"])
def test_crops_that_show_the_ranges_do_not_judge_them(
    words: str, source: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "m.onnx"
    command = [
        "quantize",
        str(source),
        "--data",
        str(data),
        "--out",
        str(out),
        "--keep",
        "int8",
        *words.split(),
    ]
    command += FEW
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2 and "what shows the ranges of int8 would judge it" in result.stderr
    assert "--allow-training-data" in result.stderr and not out.exists()
    assert (
        CliRunner().invoke(app, [*command, "--allow-training-data"]).exit_code == 0 and out.exists()
    )


@pytest.mark.parametrize(
    ("split", "advice"),
    [
        ("val", "to measure AUC on; give --split"),
        ("train", "to show the ranges of int8; give another --calibrate-on or --data"),
    ],
)
def test_one_class_is_refused(split: str, advice: str, source: Path, tmp_path: Path) -> None:
    data = write_crops(tmp_path / "crops")
    index = data / "index.csv"
    lines = index.read_text().splitlines()
    index.write_text(
        "\n".join(line for line in lines if not ("FAKE" in line and f",{split}," in line))
    )
    with pytest.raises(
        DataError, match=f"crops: split '{split}' needs REAL and FAKE rows {advice}"
    ):
        quantize(str(source), data, tmp_path / "m.onnx", QUICK)


def test_the_command_takes_a_checkpoint_and_prints_table_or_json(
    data: Path, tmp_path: Path
) -> None:
    run = save_model(random_model("pico"), tmp_path / "m.safetensors")
    words = [
        "quantize",
        str(run),
        "--data",
        str(data),
        "--out",
        str(tmp_path / "m.onnx"),
        "--keep",
        "int8",
    ]
    words += FEW
    printed = CliRunner().invoke(app, [*words, "--format", "json"])
    assert printed.exit_code == 0, printed.stderr
    document = json.loads(printed.stdout)
    assert document["written"]["variant"] == "int8"
    kept = load_config(QuantizeConfig, tmp_path / "m.onnx.config.json")
    assert (kept.keep, kept.int8, kept.samples) == ("int8", "plain", 4)
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 1 and "--overwrite" in again.stderr
    console = Console(record=True, width=200, file=io.StringIO())
    console.print(quantize_table(QuantizeDocument.from_dict(document)))
    shown = console.export_text()
    assert "Wrote int8 to" in shown and f"{document['models'][0]['auc']:.4f}" in shown
    twin = document["twin"]
    assert f"{twin['latency_ms']:.3f} ms" in shown and f"below {twin['faster_below']:.2f}" in shown
    nothing = outcome(QuantizeDocument.from_dict({**document, "written": None}))
    assert "nothing was written" in nothing and "--keep" in nothing


def test_a_file_of_another_kind_is_refused(data: Path, tmp_path: Path) -> None:
    path = write_scorer(tmp_path / "green.onnx", schema="other/1")
    result = CliRunner().invoke(
        app, ["quantize", str(path), "--data", str(data), "--out", str(tmp_path / "m.onnx")]
    )
    assert result.exit_code == 1 and "not of schema" in result.stderr
