"""Plots are pictures of what was asked, also of strange inputs."""

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from deepkd.benchmark.results import BenchmarkRow
from deepkd.errors import DataError, OutputError
from deepkd.tables.bars import draw_benchmark
from deepkd.tables.curves import Curves, draw_evaluation, draw_roc
from deepkd.tables.plots import draw_training, read_metrics

EPOCHS = [
    {"epoch": 1, "step": 10, "train_loss": 0.7, "val_auc": 0.6, "val_log_loss": 0.65, "lr": 1e-3},
    {"epoch": 2, "step": 20, "train_loss": 0.5, "val_auc": 0.8, "val_log_loss": 0.55, "lr": 5e-4},
    {"epoch": 3, "step": 30, "train_loss": 0.4, "val_auc": 0.75, "val_log_loss": 0.60, "lr": 0.0},
]
LATENCY = {"batch": 1, "p50": 2.0, "p95": 3.0, "runs": 3}
ONE_CLASS = [{**line, "val_auc": None} for line in EPOCHS]


def curves(name="nano", *, one_class=False):
    labels = np.array([1.0, 1.0, 1.0] if one_class else [0.0, 1.0, 1.0])
    roc = (np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.5, 1.0]))
    if one_class:
        return Curves(name, labels, np.array([0.3, 0.2, 0.9]), None, None)
    precision = (np.array([0.5, 0.5, 1.0]), np.array([1.0, 0.5, 2 / 3]))
    return Curves(name, labels, np.array([0.3, 0.2, 0.9]), roc, 0.5, precision, 5 / 6)


def row(name, role, runtime, **changes):
    plain = {
        "name": name, "role": role, "runtime": runtime, "params": 100, "macs": 1000, "bytes": 400,
        "latency_ms": LATENCY, "throughput_per_s": 10.0, "peak_rss_mb": 50.0,
        "auc": None, "training_data": None,
    }  # fmt: skip
    return BenchmarkRow.from_dict(plain | changes)


@pytest.fixture
def drawn(monkeypatch):
    """Every text of the figures that are saved."""
    texts = []
    save = Figure.savefig

    def note(figure, *args, **kwargs):
        texts.extend(
            text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))
        )
        return save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", note)
    return texts


def picture(path):
    image = cv2.imread(str(path))
    assert image is not None, f"{path} is no picture"
    assert image.std() > 5, f"{path} is blank"
    return image


def write_lines(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_training_curves_name_the_best_epoch(tmp_path, drawn):
    draw_training(write_lines(tmp_path / "metrics.jsonl", EPOCHS), tmp_path / "curves.png")
    image = picture(tmp_path / "curves.png")
    assert image.shape[1] > 2 * image.shape[0]
    assert "best 0.8000, epoch 2" in drawn
    assert {"Loss (nats)", "Validation AUC", "Learning rate", "validation log loss"} <= set(drawn)


@pytest.mark.parametrize("lines", [EPOCHS[:1], ONE_CLASS, [{"epoch": 1, "train_loss": 0.5}]])
def test_training_curves_of_short_and_partial_runs(lines, tmp_path):
    draw_training(write_lines(tmp_path / "metrics.jsonl", lines), tmp_path / "curves.png")
    assert picture(tmp_path / "curves.png").std() > 0


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path):
    path = write_lines(tmp_path / "metrics.jsonl", EPOCHS)
    path.write_text(path.read_text() + '{"epoch": 4, "trai')
    assert read_metrics(path) == EPOCHS


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        ("", "no finished epoch"),
        ('{"epoch"\n{"epoch": 1}\n', r"jsonl:1: not JSON"),
    ],
)
def test_metrics_that_are_none(content, words, tmp_path):
    path = tmp_path / "metrics.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=words):
        read_metrics(path)


@pytest.mark.parametrize("models", [["nano"], ["teacher", "nano"], [f"m{i}" for i in range(9)]])
def test_evaluation_plots_of_some_models(models, tmp_path, drawn):
    paths = draw_evaluation(tmp_path, [curves(name) for name in models])
    assert [path.name for path in paths] == [
        "roc.png",
        "precision-recall.png",
        "reliability.png",
        "scores.png",
    ]
    for path in paths:
        picture(path)
    assert {f"{name}  {area}" for name in models for area in ("AUC 0.5000", "AP 0.8333")} <= set(
        drawn
    )
    assert "share of forgeries 0.667" in drawn


def test_one_class_has_no_roc(tmp_path):
    paths = draw_evaluation(tmp_path, [curves(one_class=True)])
    assert [path.name for path in paths] == ["reliability.png", "scores.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["reliability.png", "scores.png"]


def test_names_are_shown_and_do_not_act(tmp_path, drawn):
    draw_evaluation(tmp_path, [curves("$\\frac{x$ \x1b[31m\n<b>")])
    assert any("\\x1b[31m\\n<b>" in text for text in drawn)


def test_benchmark_plots(tmp_path, drawn):
    rows = [
        row(
            "big (untrained)", "teacher", "torch", params=10**8, latency_ms=LATENCY | {"p50": 80.0}
        ),
        row(
            "big (untrained)",
            "teacher",
            "onnxruntime",
            params=10**8,
            latency_ms=LATENCY | {"p50": 40.0},
        ),
        row("nano", "student", "onnxruntime", params=450_000, auc=0.91),
    ]
    paths = draw_benchmark(tmp_path, SimpleNamespace(models=rows))
    assert [path.name for path in paths] == ["benchmark.png", "size-latency.png"]
    for path in paths:
        picture(path)
    assert "nano\nONNX Runtime\nAUC 0.9100" in drawn
    assert {" 101 M", " 100 M"} & set(drawn) == {" 100 M"}
    assert not any("untrained" in text and "AUC" in text for text in drawn)


def test_a_plot_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "roc.png").mkdir()
    with pytest.raises(OutputError, match=r"roc\.png: cannot be written"):
        draw_roc(tmp_path / "roc.png", [curves()])
    assert [path.name for path in tmp_path.iterdir()] == ["roc.png"]


def test_matplotlib_waits_until_a_plot_is_drawn():
    import subprocess
    import sys

    code = (
        "import sys, deepkd.tables.curves, deepkd.tables.bars; print('matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
