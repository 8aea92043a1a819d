"""Benchmarks of tiny models: the document, its reductions by hand, the turns, refusals."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from crop_factory import write_crops
from scorer_factory import metadata, tinted_clip, write_scorer

from deepkd.benchmark import benchmark as benchmarks
from deepkd.benchmark import latency
from deepkd.benchmark.benchmark import benchmark, choose_models, reduction
from deepkd.benchmark.candidates import Candidate, open_candidates, open_model
from deepkd.benchmark.latency import WARM_UP, take_turns
from deepkd.benchmark.results import BenchmarkRow, Latency
from deepkd.data.crops import load_crops
from deepkd.errors import ConfigError, ModelError
from deepkd.evaluation.evaluate import evaluate
from deepkd.models.checkpoints import load_checkpoint, save_model
from deepkd.models.export import export_onnx
from deepkd.models.registry import TorchModel, build_model
from deepkd.scoring.model import BATCH, InputFormat, Scorer
from deepkd.settings.evaluation import MAX_BATCH, BenchmarkConfig, EvaluateConfig

ROW = {
    "name",
    "role",
    "runtime",
    "params",
    "macs",
    "bytes",
    "latency_ms",
    "throughput_per_s",
    "peak_rss_mb",
    "auc",
    "accuracy",
    "training_data",
}


def tiny_run(folder: Path, *, trained: bool = True) -> Path:
    """A run folder with the smallest student at 32 px, in the place of a teacher."""
    folder.mkdir()
    torch.manual_seed(0)
    model = dataclasses.replace(build_model("pico", image_size=32), name="tiny", trained=trained)
    save_model(model, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """One benchmark of a torch teacher and an ONNX student, twice, with crops and a clip."""
    folder = tmp_path_factory.mktemp("benchmark")
    run, student = tiny_run(folder / "run"), write_scorer(folder / "green.onnx")
    config = BenchmarkConfig(
        teacher=str(run),
        student=str(student),
        runs=5,
        batch=4,
        threads=1,
        data=write_crops(folder / "crops"),
        split="all",
        video=tinted_clip(folder / "clip.mp4", seconds=0.6),
        video_runs=1,
        frames=3,
    )
    return config, benchmark(config, [str(student)]).to_dict()


def test_document_has_exactly_the_keys_of_the_schema(measured):
    _, document = measured
    assert json.loads(json.dumps(document)) == document
    assert set(document) == {"schema", "machine", "models", "reduction", "end_to_end"}
    assert document["schema"] == "deepkd.benchmark/1"
    for row in document["models"]:
        assert set(row) == ROW
        assert set(row["latency_ms"]) == {"batch", "p50", "p95", "runs"}
        assert (row["latency_ms"]["batch"], row["latency_ms"]["runs"]) == (1, 5)
        assert 0 < row["latency_ms"]["p50"] <= row["latency_ms"]["p95"]
        assert row["throughput_per_s"] > 0
    assert set(document["reduction"]) == {
        "params_pct",
        "latency_pct",
        "latency_same_runtime_pct",
        "size_pct",
    }
    assert set(document["end_to_end"]) == {"video", "teacher_s", "student_s", "breakdown_ms"}
    assert document["machine"]["threads"] == 1
    assert document["machine"]["throughput_batch"] == 4


def test_the_teacher_is_measured_in_both_runtimes(measured):
    _, document = measured
    assert [(row["name"], row["role"], row["runtime"]) for row in document["models"]] == [
        ("tiny", "teacher", "torch"),
        ("tiny", "teacher", "onnxruntime"),
        ("green #1", "student", "onnxruntime"),
        ("green #2", "other", "onnxruntime"),
    ]


def test_sizes_are_those_of_the_files(measured):
    config, document = measured
    teacher, twin, student, _ = document["models"]
    model = build_model("pico", image_size=32)
    assert (
        (teacher["params"], teacher["macs"])
        == (twin["params"], twin["macs"])
        == (model.params, model.macs)
    )
    assert teacher["bytes"] == (Path(config.teacher) / "model.safetensors").stat().st_size
    assert (student["params"], student["macs"]) == (metadata()["params"], metadata()["macs"])
    assert student["bytes"] == Path(config.student).stat().st_size


def test_reductions_by_hand_from_the_documents_own_rows(measured):
    _, document = measured
    teacher, twin, student, _ = document["models"]
    expected = {
        "params_pct": 100 * (1 - student["params"] / teacher["params"]),
        "size_pct": 100 * (1 - student["bytes"] / teacher["bytes"]),
        "latency_pct": 100 * (1 - student["latency_ms"]["p50"] / teacher["latency_ms"]["p50"]),
        "latency_same_runtime_pct": (
            100 * (1 - student["latency_ms"]["p50"] / twin["latency_ms"]["p50"])
        ),
    }
    assert document["reduction"] == pytest.approx(expected, abs=5e-4)


def test_auc_is_the_one_of_evaluate_and_only_of_deployed_models(measured):
    config, document = measured
    crops = load_crops(config.data)
    models = [open_model(argument, threads=1) for argument in (config.teacher, config.student)]
    expected = [one.crops.auc.value for one in evaluate(models, crops, EvaluateConfig(resamples=0))]
    assert [row["auc"] for row in document["models"]] == [
        pytest.approx(expected[0], abs=1e-6),
        None,
        pytest.approx(expected[1], abs=1e-6),
        pytest.approx(expected[1], abs=1e-6),
    ]


def test_the_clip_is_timed_with_both_models(measured):
    config, document = measured
    clip = document["end_to_end"]
    assert clip["video"] == str(config.video)
    for role in ("teacher", "student"):
        stages = clip["breakdown_ms"][role]
        assert set(stages) == {"decode", "faces", "score", "total"}
        assert clip[f"{role}_s"] == stages["total"] / 1000
        parts = [stages[stage] for stage in ("decode", "faces", "score")]
        assert all(part > 0 for part in parts)
        assert sum(parts) <= stages["total"] * 1.01


def test_both_models_come_first_with_the_clip_by_turns(tmp_path, monkeypatch):
    calls = []

    def detect(_, judge, *__):
        calls.append(judge.model.name)
        return SimpleNamespace(timing_ms={"total": float(len(calls))})

    monkeypatch.setattr("deepkd.judging.judge_file", detect)
    models = [
        open_model(str(write_scorer(tmp_path / f"{name}.onnx", name=name)), threads=1)
        for name in "TS"
    ]
    candidates = [
        Candidate(model.name, role, "onnxruntime", model, "", 1, 1, 1, True)
        for model, role in zip(models, ("teacher", "student"), strict=True)
    ]
    config = BenchmarkConfig(video=tmp_path / "clip.mp4", video_runs=3)
    clip = benchmarks._end_to_end(config, candidates, 1, lambda _: None)
    assert "".join(calls) == "TS" + "ST" + "TS" + "ST", "the first turn warms up"
    assert (clip.teacher_s, clip.student_s) == (0.005, 0.006)


def test_an_onnx_process_holds_no_torch(measured):
    _, document = measured
    memory = [row["peak_rss_mb"] for row in document["models"]]
    assert memory[0] > 2 * memory[2]


def row(role, runtime, params, p50, size):
    latency = Latency(batch=1, p50=p50, p95=p50, runs=3)
    return BenchmarkRow("", role, runtime, params, 1, size, latency, 1.0, None, None, None)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            [
                row("teacher", "torch", 1000, 80.0, 400),
                row("teacher", "onnxruntime", 1000, 40.0, 380),
                row("student", "onnxruntime", 5, 0.8, 8),
            ],
            (99.5, 99.0, 98.0, 98.0),
        ),
        (
            [row("teacher", "onnxruntime", 10, 2.0, 10), row("student", "onnxruntime", 20, 3.0, 5)],
            (-100.0, -50.0, -50.0, 50.0),
        ),
        (
            [row("teacher", "torch", 10, 2.0, 10), row("other", "onnxruntime", 1, 1.0, 1)],
            (None,) * 4,
        ),
        ([row("student", "onnxruntime", 10, 2.0, 10)], (None,) * 4),
    ],
)
def test_reductions_worked_by_hand(rows, expected):
    keys = ("params_pct", "latency_pct", "latency_same_runtime_pct", "size_pct")
    assert reduction(rows).to_dict() == dict(zip(keys, expected, strict=True))


class Recorder:
    """A model that notes who was called with how many crops."""

    format = InputFormat(size=8)
    params = 1

    def __init__(self, name, calls):
        self.name, self.calls = name, calls

    def logits(self, crops):
        assert crops[0].shape == (8, 8, 3)
        self.calls.append((self.name, len(crops)))
        return np.zeros(len(crops), np.float32)


def test_models_take_turns_and_each_turn_begins_untimed():
    calls = []
    timings = take_turns([Recorder("A", calls), Recorder("B", calls)], runs=4, batch=3)
    warm = 2 * (WARM_UP + 1)
    assert calls[:warm] == [*[("A", 1)] * WARM_UP, ("A", 3), *[("B", 1)] * WARM_UP, ("B", 3)]
    turn = {name: [(name, 1), (name, 1)] for name in "AB"}
    assert calls[warm : warm + 16] == [*turn["A"], *turn["B"], *turn["B"], *turn["A"]] * 2
    turn = {name: [(name, 1), (name, 3)] for name in "AB"}
    assert calls[warm + 16 :] == [
        *turn["A"],
        *turn["B"],
        *turn["B"],
        *turn["A"],
        *turn["A"],
        *turn["B"],
    ]
    assert [(len(timing.single), len(timing.batch)) for timing in timings] == [(4, 3), (4, 3)]


def test_each_model_is_as_often_first_and_keeps_its_own_times(monkeypatch):
    calls = []
    monkeypatch.setattr(
        latency, "_time", lambda model, images: calls.append(model.name) or float(len(calls))
    )
    timings = take_turns([Recorder(name, []) for name in "ABC"], runs=3, batch=2)
    assert "".join(calls) == "ABCBCACAB" * 2
    assert [timing.single for timing in timings] == [[1, 6, 8], [2, 4, 9], [3, 5, 7]]


@pytest.mark.parametrize(
    ("config", "models", "expected"),
    [
        ({}, [], [("cross-efficient-vit", "teacher"), ("deepkd-nano", "student")]),
        ({"teacher": "t"}, [], [("t", "teacher"), ("deepkd-nano", "student")]),
        ({"student": "s"}, [], [("cross-efficient-vit", "teacher"), ("s", "student")]),
        ({}, ["m"], [("m", "other")]),
        ({"student": "s"}, ["m"], [("s", "student"), ("m", "other")]),
    ],
)
def test_what_is_measured_when_not_all_is_named(config, models, expected):
    assert choose_models(BenchmarkConfig(**config), models) == expected


def test_a_batch_is_what_every_model_is_called_with():
    assert MAX_BATCH == BATCH
    assert BenchmarkConfig(batch=MAX_BATCH).batch == MAX_BATCH
    with pytest.raises(
        ConfigError, match=r"batch=33: models are called with 32 crops at most.*--batch 32"
    ):
        BenchmarkConfig(batch=33)


def test_an_untrained_model_says_so_and_has_no_auc(tmp_path):
    data = write_crops(tmp_path / "crops", families=5)
    config = BenchmarkConfig(student="pico", runs=3, batch=2, threads=1, data=data, split="all")
    document = benchmark(config, [str(write_scorer(tmp_path / "green.onnx"))]).to_dict()
    untrained, trained = document["models"]
    assert (untrained["name"], untrained["runtime"], untrained["auc"]) == (
        "pico (untrained)",
        "onnxruntime",
        None,
    )
    assert (trained["name"], trained["role"]) == ("green", "other")
    assert trained["auc"] is not None
    assert document["end_to_end"] is None


def test_an_untrained_teacher_is_as_large_as_its_tensors(tmp_path):
    deployed, twin = open_candidates("pico", "teacher", tmp_path, threads=1)
    assert [(one.name, one.runtime, one.trained, one.twin) for one in (deployed, twin)] == [
        ("pico (untrained)", "torch", False, False),
        ("pico (untrained)", "onnxruntime", False, True),
    ]
    tensors = build_model("pico").module.state_dict().values()
    assert deployed.bytes == sum(tensor.nbytes for tensor in tensors)
    crops = [np.full((160, 160, 3), 90, np.uint8)]
    assert twin.model.logits(crops) == pytest.approx(deployed.model.logits(crops), abs=1e-4)


def test_a_students_run_folder_is_measured_as_its_own_export(tmp_path):
    run = tiny_run(tmp_path / "run")
    (exported,) = open_candidates(str(run), "student", tmp_path, threads=1)
    assert isinstance(exported.model, Scorer)
    assert (exported.runtime, exported.source, exported.twin) == (
        "onnxruntime",
        str(tmp_path / "student.onnx"),
        False,
    )
    model = load_checkpoint(run)
    model.name = "renamed"
    export_onnx(model, run / "model.onnx")
    (found,) = open_candidates(str(run), "student", tmp_path, threads=1)
    assert (found.name, found.source) == ("renamed", str(run / "model.onnx"))


def other_weights(run: Path) -> None:
    """A file with the metadata of the run but other weights: the export of an earlier training."""
    model = load_checkpoint(run)
    torch.nn.init.constant_(model.module.get_classifier().bias, 1.0)
    export_onnx(model, run / "model.onnx")


@pytest.mark.parametrize(
    "put",
    [
        lambda run: write_scorer(run / "deepkd-pico.onnx", name="deepkd-pico"),
        lambda run: write_scorer(run / "model.onnx", name="tiny"),
        lambda run: (run / "model.onnx").write_bytes(b"junk"),
        other_weights,
    ],
    ids=["another name", "another network", "damaged", "other weights"],
)
def test_an_onnx_file_that_is_not_the_runs_export_does_not_stand_for_it(put, tmp_path):
    run = tiny_run(tmp_path / "run")
    put(run)
    (student,) = open_candidates(str(run), "student", tmp_path, threads=1)
    assert (student.name, student.source) == ("tiny", str(tmp_path / "student.onnx"))
    assert student.params == build_model("pico", image_size=32).params


@pytest.mark.parametrize(
    ("argument", "kind"),
    [
        ("pico", TorchModel),
        ("run", TorchModel),
        ("run/model.safetensors", TorchModel),
        ("green.onnx", Scorer),
    ],
)
def test_models_open_by_what_they_are(argument, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny_run(tmp_path / "run")
    write_scorer(tmp_path / "green.onnx")
    assert isinstance(open_model(argument, threads=1), kind)


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("no-such-net", "no such file or model; choose from .*cross-efficient-vit"),
        ("runs/none", "no such model"),
        ("none.onnx", "no such model"),
        ("none.pth", "no such model"),
    ],
)
def test_what_is_no_model_is_refused_by_name(argument, words):
    with pytest.raises(ModelError, match=f"{argument}.*{words}"):
        open_model(argument, threads=1)


def test_an_untrained_checkpoint_is_refused(tmp_path):
    with pytest.raises(ModelError, match="never trained"):
        open_model(str(tiny_run(tmp_path / "run", trained=False)), threads=1)
