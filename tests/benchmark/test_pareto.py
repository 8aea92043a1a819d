"""The models of a folder: all are found and measured, and every table shows the front."""

import csv
import io
import json
from pathlib import Path

import cv2
import pytest
from crop_factory import write_crops
from model_factory import random_model
from rich.console import Console
from scorer_factory import write_scorer
from typer.testing import CliRunner

from deepkd.benchmark import pareto as pareto_module
from deepkd.benchmark.pareto import COSTS, find_models, front, list_steps
from deepkd.benchmark.results import ParetoDocument
from deepkd.cli.app import app
from deepkd.errors import ModelError
from deepkd.evaluation.evaluate import evaluate_files
from deepkd.evaluation.metrics import Measure
from deepkd.models.checkpoints import save_model
from deepkd.models.export import export_onnx
from deepkd.models.registry import build_model
from deepkd.settings.choices import MODELS
from deepkd.settings.evaluation import BenchmarkConfig, EvaluateConfig
from deepkd.tables.pareto import PANELS, pareto_table

QUICK = ["--runs", "3", "--batch", "2", "--teacher", "pico"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`models/` with ONNX files, runs, a step and a file of another kind; `crops/`."""
    folder = tmp_path_factory.mktemp("pareto")
    models = folder / "models"
    for name in ("alone", "both", "pruned/step-1"):
        (models / name).mkdir(parents=True)
    write_scorer(models / "green.onnx", recipe={"teacher": "large"})
    write_scorer(models / "blind.onnx", name="blind", weights=(0.0, 0.0, 0.0), params=9)
    model = random_model("pico")
    model.name, model.metadata = "a run", {"recipe": {"epochs": 3}, "pruned": {"from": "nano"}}
    save_model(model, models / "alone" / "model.safetensors")
    save_model(model, models / "pruned" / "step-1" / "model.safetensors")
    save_model(model, models / "both" / "model.safetensors")
    export_onnx(model, models / "both" / "model.onnx")
    (models / "mtcnn.onnx").write_bytes(b"junk")
    write_crops(folder / "crops", tint=40)
    return folder


@pytest.fixture(scope="module")
def measured(place: Path) -> tuple[dict, Path]:
    out = place / "out"
    words = [
        "benchmark",
        "--pareto",
        str(place / "models"),
        *QUICK,
        "--data",
        str(place / "crops"),
        "--split",
        "all",
    ]
    result = CliRunner().invoke(app, [*words, "--format", "json", "--out", str(out)])
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout), out


def test_what_is_found(place: Path, tmp_path: Path) -> None:
    found = [str(path.relative_to(place / "models")) for path in find_models(place / "models")]
    both = ["both/model.onnx", "both/model.safetensors"]
    assert found == ["alone/model.safetensors", "blind.onnx", *both, "green.onnx", "mtcnn.onnx"]
    with pytest.raises(ModelError, match=r"holds no \.onnx file and no run folder"):
        find_models(tmp_path)


KEPT = [
    "a/best.safetensors",
    "pruned/model.safetensors",
    "published.pth",
    "step-by-step/f.onnx",
    "step-one.safetensors",
    "teacher/model.onnx",
    "teacher/model.safetensors",
    "teacher/teacher-int8.onnx",
    "two-step-kd/f.onnx",
]
STEPS = [
    "pruned/step-1.safetensors",
    "pruned/step-1/model.safetensors",
    "step-2.safetensors",
    "step-12/f.onnx",
]


def touched(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def test_only_steps_and_what_is_no_model_are_no_models(tmp_path: Path) -> None:
    touched(tmp_path, *KEPT, *STEPS, "pruned/step-1/last.pt", "pruned/config.json")
    assert [str(path.relative_to(tmp_path)) for path in find_models(tmp_path)] == KEPT
    own = [str(path.relative_to(tmp_path / "pruned")) for path in find_models(tmp_path / "pruned")]
    assert own == ["model.safetensors"], "the folder of a pruning itself"
    assert {one.path for one in pareto_module._steps(tmp_path)} == set(STEPS)


@pytest.mark.parametrize("teacher", ["teacher", "teacher/model.safetensors"])
def test_only_the_teachers_own_file_is_not_measured_twice(teacher: str, tmp_path: Path) -> None:
    model = random_model("pico")
    (tmp_path / "teacher").mkdir()
    save_model(model, tmp_path / "teacher" / "model.safetensors")
    export_onnx(model, tmp_path / "teacher" / "model.onnx")
    write_scorer(tmp_path / "teacher" / "teacher-int8.onnx")
    exports = touched(tmp_path / "exports")
    exports.mkdir()
    config = BenchmarkConfig(teacher=str(tmp_path / teacher))
    entries, left_out = pareto_module._open(tmp_path, [], config, exports, [1])
    assert [entry.candidate.role for entry in entries] == ["teacher", "student"] and not left_out
    assert entries[1].path == str(tmp_path / "teacher" / "teacher-int8.onnx")


def test_only_a_checkpoints_own_export_stands_for_it(tmp_path: Path) -> None:
    model = random_model("pico")
    save_model(model, tmp_path / "fresh.safetensors")
    export_onnx(model, tmp_path / "fresh.onnx")
    save_model(model, tmp_path / "stale.safetensors")
    write_scorer(tmp_path / "stale.onnx")
    found = [path.name for path in pareto_module._find_once(tmp_path, "pico")]
    assert found == ["fresh.onnx", "stale.onnx", "stale.safetensors"]
    found = [
        path.name
        for path in pareto_module._find_once(tmp_path, str(tmp_path / "fresh.safetensors"))
    ]
    assert found == ["stale.onnx", "stale.safetensors"], "the teacher's export is the teacher"


def test_every_model_is_measured_the_teachers_architecture_too(
    measured: tuple[dict, Path], place: Path
) -> None:
    document, _ = measured
    assert document["schema"] == "deepkd.pareto/1"
    rows = {row["name"]: row for row in document["models"]}
    assert list(rows) == ["pico (untrained)", "a run (alone)", "a run (both)", "blind", "green"]
    assert document["models"][0]["role"] == "teacher" and rows["pico (untrained)"]["auc"] is None
    assert (
        rows["a run (alone)"]["params"]
        == build_model("pico").params
        == rows["pico (untrained)"]["params"]
    )
    assert rows["a run (alone)"]["made"] == ["labels alone", "pruned"] and rows["green"][
        "made"
    ] == ["distilled"]
    for row in rows.values():
        assert [each["threads"] for each in row["latency_ms"]] == [1, 2]
        assert all(each["single"] > 0 and each["batch"] > 0 for each in row["latency_ms"])
        assert row["bytes"] > 0 and row["macs"] > 0
    left_out = {one["path"]: one["reason"] for one in document["left_out"]}
    assert (
        left_out.keys() == {"mtcnn.onnx", "pruned/step-1/model.safetensors"}
        and "damaged" in left_out["mtcnn.onnx"]
    )
    assert "a step of a pruning" in left_out["pruned/step-1/model.safetensors"]
    config = EvaluateConfig(data=place / "crops", split="all", resamples=0)
    (expected,) = evaluate_files([str(place / "models" / "green.onnx")], config)
    assert rows["green"]["auc"]["value"] == pytest.approx(expected.crops.auc.value, abs=1e-6)
    assert rows["blind"]["auc"]["value"] == 0.5
    assert document["data"] == {"name": "crops", "split": "all", "crops": 20}


def test_a_model_that_torch_cannot_export_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODELS.targets, "resampled", "model_factory:RESAMPLED")
    model = build_model("resampled")
    model.trained = True
    exports = touched(tmp_path / "exports")
    exports.mkdir()
    (tmp_path / "models").mkdir()
    save_model(model, tmp_path / "models" / "odd.safetensors")
    write_scorer(tmp_path / "models" / "green.onnx")
    config = BenchmarkConfig(teacher="pico")
    entries, left_out = pareto_module._open(tmp_path / "models", [], config, exports, [1])
    assert [entry.candidate.name for entry in entries] == ["pico (untrained)", "green"]
    (one,) = left_out
    assert one.path == "odd.safetensors" and "resampled: cannot be exported as ONNX" in one.reason


def test_an_auc_without_an_interval_is_a_row_too() -> None:
    assert Measure(0.12345678).round_to(6).to_dict() == {
        "value": 0.123457,
        "low": None,
        "high": None,
    }


def test_the_fronts_follow_from_the_rows(measured: tuple[dict, Path]) -> None:
    document, _ = measured
    for name, cost in COSTS.items():
        rows = ParetoDocument.from_dict(document).models
        points = [(cost(row), row.auc.value if row.auc else None) for row in rows]
        expected = {rows[index].name for index in front(points)}
        assert (
            {row["name"] for row in document["models"] if name in row["front"]} == expected != set()
        )


@pytest.mark.parametrize(
    ("points", "best"),
    [
        ([(1, 0.9)], [0]),
        ([(1, 0.8), (2, 0.9), (3, 0.85)], [0, 1]),
        ([(1, 0.9), (2, 0.9), (1, 0.8)], [0]),
        ([(1, 0.9), (1, 0.9)], [0, 1]),
        ([(1, None), (5, 0.6)], [1]),
        ([], []),
    ],
)
def test_front_worked_by_hand(points: list, best: list[int]) -> None:
    assert front(points) == best


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, []),
        ({"recipe": {"epochs": 1}}, ["labels alone"]),
        ({"recipe": {"from": "another file"}, "pruned": {"params": 9}}, ["pruned"]),
        ({"recipe": {"teacher": "x"}, "pruned": {"params": 9}}, ["distilled", "pruned"]),
        ({"recipe": {"teacher": "x"}, "quantized": {"variant": "int8"}}, ["distilled", "int8"]),
    ],
)
def test_how_a_model_was_made(metadata: dict, expected: list[str]) -> None:
    assert list(list_steps(metadata)) == expected


def test_out_holds_the_document_the_rows_and_the_plots(measured: tuple[dict, Path]) -> None:
    document, out = measured
    assert json.loads((out / "pareto.json").read_text()) == document
    names = sorted(path.name for path in out.iterdir())
    assert names == [
        "pareto.csv",
        "pareto.json",
        "pareto.json.config.json",
        "pareto.png",
        "pareto.svg",
    ]
    rows = list(csv.DictReader(io.StringIO((out / "pareto.csv").read_text())))
    assert [row["name"] for row in rows] == [row["name"] for row in document["models"]]
    assert (
        float(rows[-1]["latency_ms_single_2"]) == document["models"][-1]["latency_ms"][1]["single"]
    )
    assert rows[0]["auc"] == "" and rows[1]["made"] == "labels alone pruned"
    picture = cv2.imread(str(out / "pareto.png"))
    assert picture.shape[0] > 500 and picture.std() > 5
    assert "</svg>" in (out / "pareto.svg").read_text()
    assert PANELS.keys() == COSTS.keys()


def test_the_table_shows_every_figure(measured: tuple[dict, Path]) -> None:
    document, _ = measured
    console = Console(record=True, width=220, file=io.StringIO())
    console.print(pareto_table(ParetoDocument.from_dict(document)))
    shown = console.export_text()
    for row in document["models"]:
        assert row["name"] in shown and f"{row['params']:,}" in shown
    assert "left out" in shown and "ms in 2s, 1 thread" in shown


def test_without_data_there_is_no_front(place: Path) -> None:
    words = [
        "benchmark",
        "--pareto",
        str(place / "models" / "both"),
        *QUICK,
        "--threads",
        "1",
        "--format",
        "csv",
    ]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.stderr
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["front"] for row in rows] == ["", ""] and "latency_ms_single_2" not in rows[0]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--video", "clip.mp4"], 2, "leave out --video"),
        (["--student", "deepkd-nano"], 2, "leave out --student"),
        ([], 1, "holds no .onnx file"),
    ],
)
def test_refusals(words: list[str], code: int, message: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["benchmark", "--pareto", str(tmp_path), *words], env={"COLUMNS": "200"}
    )
    assert result.exit_code == code and message in result.stderr and not result.stdout


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", "none: no such folder; give --pareto the folder that runs are written to"),
        ("mtcnn.onnx", "mtcnn.onnx: is a file; give --pareto the folder"),
        (
            "",
            (
                "of 1 found, nothing can be measured beside the teacher; {folder}/mtcnn.onnx:"
                " damaged or not an ONNX model"
            ),
        ),
    ],
)
def test_a_folder_without_anything_to_measure_is_an_error(
    name: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "mtcnn.onnx").write_bytes(b"junk")
    words = ["benchmark", "--pareto", str(tmp_path / name), *QUICK]
    result = CliRunner().invoke(app, words, env={"COLUMNS": "300"})
    assert (
        result.exit_code == 1
        and message.format(folder=tmp_path) in result.stderr
        and not result.stdout
    )
