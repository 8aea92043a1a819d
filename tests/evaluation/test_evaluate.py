"""Evaluation of tiny models whose logits are the colour of a crop: every figure is known."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from crop_factory import write_crops
from scorer_factory import SIDE, write_scorer

from deepkd.data.crops import CropSet, load_crops
from deepkd.data.index import CropRow
from deepkd.errors import DataError, ModelError, OutputError, UsageError
from deepkd.evaluation.evaluate import evaluate, evaluate_files, to_document
from deepkd.evaluation.figures import calibration_of, thresholds_of
from deepkd.evaluation.results import distinct_names, write_scores
from deepkd.models.registry import TorchModel
from deepkd.scoring.calibration import Calibration
from deepkd.scoring.model import InputFormat, Scorer
from deepkd.settings.evaluation import EvaluateConfig

CONFIG = EvaluateConfig(resamples=0)
GREEN = {"weights": (-20.0, 20.0, 0.0), "bias": 0.0}


class Colours:
    """Crops in memory: a row and the logit that the green scorer shall give its plain colour."""

    def __init__(self, *rows: tuple[CropRow, float]):
        self.rows = [row for row, _ in rows]
        self.logits = [logit for _, logit in rows]
        self.decoded = 0

    def image(self, index):
        self.decoded += 1
        shade = round(self.logits[index] * 255 / 20)
        return np.full((8, 8, 3), (100, 100 + shade, 100), np.uint8)


class Mean(torch.nn.Module):
    """Logit: the mean of the prepared pixels."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.scale * x.mean(dim=(1, 2, 3))[:, None]


@pytest.fixture(scope="module")
def green(tmp_path_factory):
    return Scorer.load(
        write_scorer(tmp_path_factory.mktemp("model") / "green.onnx", **GREEN), threads=1
    )


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    return load_crops(write_crops(tmp_path_factory.mktemp("crops"), shards=2))


def mean_model():
    return TorchModel("mean", "mean", Mean().eval(), InputFormat(size=32), trained=True)


def fake(file, logit, **columns):
    return CropRow(file, "FAKE", **columns), logit


def real(file, logit, **columns):
    return CropRow(file, "REAL", **columns), logit


@pytest.mark.parametrize("batch", [1, 3, 20, 64])
def test_every_crop_gets_each_models_own_logit(green, crops, batch):
    models = [green, mean_model()]
    found = evaluate(models, crops, dataclasses.replace(CONFIG, batch=batch))
    for model, one in zip(models, found, strict=True):
        expected = [model.logits([crops.image(index)])[0] for index in range(len(crops))]
        assert one.logits == pytest.approx(expected, abs=1e-5)
        assert one.labels.tolist() == crops.labels.tolist()
        assert (one.name, one.params, one.crops.rows) == (model.name, model.params, 20)


def test_crops_are_decoded_once_and_two_batches_at_most_wait(green):
    crops = Colours(*(fake(str(i), 1.0) for i in range(20)), real("r", -1.0))
    ahead, done = [], []
    counted = mean_model()
    score = counted.logits
    counted.logits = lambda images: (
        ahead.append(crops.decoded - len(done)),
        done.extend(images),
        score(images),
    )[-1]
    evaluate([counted, green], crops, dataclasses.replace(CONFIG, batch=4))
    assert crops.decoded == 21
    assert max(ahead) <= 2 * 4


def test_progress_ends_at_all(green):
    crops = Colours(*(fake(str(i), 1.0) for i in range(5)), real("r", -1.0))
    steps = []
    evaluate(
        [green],
        crops,
        dataclasses.replace(CONFIG, batch=4),
        progress=lambda *step: steps.append(step),
    )
    assert steps == [(4, 6), (6, 6)]


def test_rows_without_a_label_are_left_out_and_counted(green):
    crops = Colours(fake("a", 1.0), (CropRow("b", ""), 3.0), real("c", -1.0))
    found = evaluate([green], crops, CONFIG)[0]
    assert [row.file for row in found.rows] == ["a", "c"]
    assert (found.unlabelled, found.crops.rows, crops.decoded) == (1, 2, 2)


def test_each_method_stands_against_every_real_crop(green):
    crops = Colours(
        *(real("r1", -1.0, method="original"), real("r2", 1.0)),
        *(fake("a1", 3.0, method="swap"), fake("a2", 2.0, method="swap")),
        *(fake("b1", 0.0, method="lips"), fake("c1", -3.0)),
    )
    found = evaluate([green], crops, CONFIG)[0]
    assert {name: (m.real, m.fake, m.auc.value) for name, m in found.methods.items()} == {
        "swap": (2, 2, 1.0),
        "lips": (2, 1, 0.5),
    }
    assert found.crops.auc.value == pytest.approx((2 + 2 + 1 + 0) / 8)


def test_videos_are_the_mean_of_their_crops_logits(green):
    crops = Colours(
        *(fake("1", 5.0, video="v"), fake("2", -1.0, video="v")),  # mean 2
        *(real("3", 4.0, video="w"), real("4", -2.0, video="w")),  # mean 1
        *(
            real("5", 1.0, video="v", dataset="other"),
            real("6", -3.0, video="v", dataset="other"),
        ),  # mean -1
    )
    found = evaluate([green], crops, CONFIG)[0]
    assert (found.videos.rows, found.videos.real, found.videos.fake) == (3, 2, 1)
    assert found.videos.auc.value == 1.0
    assert found.crops.auc.value < 1.0
    assert found.videos.accuracy.value == pytest.approx(2 / 3)


def test_one_crop_per_video_needs_no_video_figures(green):
    found = evaluate(
        [green], Colours(fake("1", 5.0, video="v"), real("2", 0.0, video="w")), CONFIG
    )[0]
    assert found.videos is None
    assert found.methods == {}


def test_sources_are_originals(green):
    crops = Colours(
        fake("1", 1.0, original="o"),
        real("2", 0.0, video="o", original="o"),
        real("3", 0.0, video="p"),
    )
    assert evaluate([green], crops, CONFIG)[0].crops.sources == 2


def test_calibration_and_threshold_are_the_models_own(tmp_path):
    calibration, thresholds = {"temperature": 2.0, "bias": -1.0}, {"real": 0.2, "fake": 0.3}
    path = write_scorer(
        tmp_path / "own.onnx", **GREEN, calibration=calibration, thresholds=thresholds
    )
    crops = Colours(fake("1", 2.0), real("2", -4.0))
    found = evaluate([Scorer.load(path)], crops, CONFIG)[0]
    assert found.probabilities == pytest.approx(
        Calibration(**calibration).probability(found.logits)
    )
    assert found.crops.threshold == 0.3
    assert (
        evaluate([Scorer.load(path)], crops, dataclasses.replace(CONFIG, threshold=0.9))[
            0
        ].crops.threshold
        == 0.9
    )
    stored = TorchModel(
        "m",
        "m",
        Mean(),
        InputFormat(),
        metadata={"calibration": calibration, "thresholds": thresholds},
    )
    assert calibration_of(stored) == Calibration(**calibration)
    assert thresholds_of(stored).fake == 0.3
    assert calibration_of(mean_model()) == Calibration()


def test_a_logit_that_is_no_number_names_the_model_and_the_crop(tmp_path):
    broken = Scorer.load(write_scorer(tmp_path / "broken.onnx", bias=float("nan")))
    with pytest.raises(
        ModelError, match=r"green: 2 of 2 scores are not finite, first for one\.jpg"
    ):
        evaluate([broken], Colours(fake("one.jpg", 1.0), real("two.jpg", 0.0)), CONFIG)


def test_nothing_labelled_is_refused(green):
    with pytest.raises(DataError, match="none of the 1 crops has a label"):
        evaluate([green], Colours((CropRow("a", ""), 0.0)), CONFIG)


def test_a_crop_that_is_no_image_is_named(green, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a\.jpg: not an image"):
        evaluate([green], CropSet(tmp_path, [CropRow("a.jpg", "FAKE")]), CONFIG)


@pytest.mark.parametrize(
    ("names", "paths", "shown"),
    [
        (["a", "b"], ["x/a", "x/b"], ["a", "b"]),
        (["n", "n"], ["runs/1/m.onnx", "runs/2/m.onnx"], ["n (1)", "n (2)"]),
        (["n", "n"], ["runs/n.onnx", "runs/n.safetensors"], ["n (n.onnx)", "n (n.safetensors)"]),
        (["n", "n"], ["runs/1/model.onnx", "runs/2/model.safetensors"], ["n (1)", "n (2)"]),
        (
            ["n", "n"],
            ["runs/n/model.onnx", "runs/n/alone/model.safetensors"],
            ["n (n)", "n (alone)"],
        ),
        (["n", "n", "n"], ["a/1", "b/1", "b/2"], ["n (a)", "n (b)", "n (2)"]),
        (["n", "n", "k"], ["same", "same", "k"], ["n #1", "n #2", "k"]),
        (["n", "n"], None, ["n #1", "n #2"]),
        (["n", "n", "n"], ["a/x", "b/x", "b/x"], ["n (a)", "n #1", "n #2"]),
    ],
)
def test_equal_names_are_told_apart(names, paths, shown):
    assert distinct_names(names, paths) == shown


def test_scores_are_a_csv_of_file_label_score(green, tmp_path):
    crops = Colours(fake("a,b.jpg", 2.0), real("b\udcff.jpg", -2.0))
    write_scores(tmp_path / "s.csv", evaluate([green], crops, CONFIG))
    with (tmp_path / "s.csv").open(newline="", errors="surrogateescape") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file", "label", "score"]
    assert [(row["file"], row["label"]) for row in rows] == [
        ("a,b.jpg", "FAKE"),
        ("b\udcff.jpg", "REAL"),
    ]
    assert [float(row["score"]) for row in rows] == pytest.approx(
        1 / (1 + np.exp([-2.0, 2.0])), abs=0.01
    )
    assert [path.name for path in tmp_path.iterdir()] == ["s.csv"]


def test_scores_of_several_models_name_them(green, tmp_path):
    found = evaluate([green, green], Colours(fake("a", 2.0), real("b", 0.0)), CONFIG)
    write_scores(tmp_path / "s.csv", found)
    lines = (tmp_path / "s.csv").read_text().splitlines()
    assert lines[0] == "file,label,score,model"
    assert [line.split(",")[3] for line in lines[1:]] == [
        "green #1",
        "green #1",
        "green #2",
        "green #2",
    ]


def test_scores_that_cannot_be_written_leave_nothing(green, tmp_path):
    found = evaluate([green], Colours(fake("a", 2.0)), CONFIG)
    (tmp_path / "s.csv").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        write_scores(tmp_path / "s.csv", found)
    assert [path.name for path in tmp_path.iterdir()] == ["s.csv"]


def test_files_are_opened_evaluated_and_documented(tmp_path):
    data = write_crops(tmp_path / "crops", families=5)
    model = write_scorer(tmp_path / "green.onnx")
    config = EvaluateConfig(data=data, split="all", resamples=20)
    document = to_document(evaluate_files([str(model), str(model)], config), config).to_dict()
    assert {key: document[key] for key in ("schema", "data", "split", "unlabelled")} == {
        "schema": "deepkd.evaluate/1",
        "data": str(data),
        "split": "all",
        "unlabelled": 0,
    }
    first = document["models"][0]
    assert (first["name"], first["params"], first["crops"]["rows"], first["videos"]) == (
        "green #1",
        4,
        10,
        None,
    )
    assert first["crops"]["auc"] == document["models"][1]["crops"]["auc"]
    assert (
        evaluate_files([str(model)], dataclasses.replace(config, split="test"))[0].crops.rows == 2
    )


def test_files_that_are_missing_are_refused(tmp_path):
    with pytest.raises(UsageError, match="--data is missing"):
        evaluate_files(["x.onnx"], CONFIG)
    with pytest.raises(ModelError, match=r"x\.onnx: no such model"):
        evaluate_files(
            [str(tmp_path / "x.onnx")], dataclasses.replace(CONFIG, data=Path("nowhere"))
        )
    with pytest.raises(DataError, match="nowhere"):
        evaluate_files(
            [str(write_scorer(tmp_path / "m.onnx"))],
            dataclasses.replace(CONFIG, data=Path("nowhere")),
        )


def test_sizes_of_crops_and_models_may_differ(green):
    assert green.format.size == SIDE  # and the crops of Colours are 8 px
    found = evaluate([green], Colours(fake("a", 3.0), real("b", -3.0)), CONFIG)[0]
    assert found.logits == pytest.approx([3.0, -3.0], abs=0.05)
