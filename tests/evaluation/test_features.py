"""Features: the right layer's input, the V-score, a picture, and refusals."""

import json

import cv2
import numpy as np
import pytest
import torch
from crop_factory import write_crops
from scorer_factory import write_scorer
from typer.testing import CliRunner

from deepkd.cli.app import app
from deepkd.data.crops import load_crops
from deepkd.errors import DataError, ModelError
from deepkd.evaluation.features import features_of, in_the_plane, penultimate, v_score
from deepkd.models.checkpoints import save_model
from deepkd.models.registry import TorchModel, build_model
from deepkd.models.subclasses import network_of
from deepkd.scoring.model import InputFormat, Scorer

IMAGES = list(np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8))


class TwoHeads(torch.nn.Module):
    """Mean and maximum of each colour, each with a head, beside a layer of another width."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.other = (
            torch.nn.Linear(3, 1),
            torch.nn.Linear(3, 1),
            torch.nn.Linear(3, 5),
        )

    def forward(self, x):
        self.other(x.mean((2, 3)))
        return self.first(x.mean((2, 3))) + self.second(x.amax((2, 3)))


def trained(name="pico", **options):
    torch.manual_seed(0)
    model = build_model(name, image_size=32, **options)
    torch.nn.init.normal_(network_of(model.module).classifier.weight)
    model.trained = True
    return model


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    return write_crops(tmp_path_factory.mktemp("crops"), families=12, px=48, tint=60)


@pytest.mark.parametrize("subclasses", [(), ("REAL", "FAKE/a", "FAKE/b")])
def test_penultimate_features_give_the_logits(subclasses):
    model = trained(subclasses=subclasses)
    features = penultimate(model, IMAGES)
    head = network_of(model.module).classifier
    assert features.shape == (3, head.in_features)
    outputs = torch.from_numpy(features).float() @ head.weight.T + head.bias
    logits = model.module.read(outputs) if subclasses else outputs
    np.testing.assert_allclose(logits.detach().flatten(), model.logits(IMAGES), atol=1e-5)
    assert not head._forward_pre_hooks


def test_the_inputs_of_heads_that_add_up_are_joined():
    model = TorchModel(
        "two", "two", TwoHeads().eval(), InputFormat(size=32, mean=(0, 0, 0), std=(1, 1, 1))
    )
    pixels = np.stack(IMAGES) / 255
    expected = np.concatenate((pixels.mean((1, 2)), pixels.max((1, 2))), axis=1)
    np.testing.assert_allclose(penultimate(model, IMAGES), expected, atol=1e-6)


def test_a_network_without_a_linear_layer_for_its_logits_is_refused():
    model = TorchModel(
        "odd",
        "odd",
        torch.nn.Sequential(torch.nn.Conv2d(3, 1, 32), torch.nn.Flatten()),
        InputFormat(32),
    )
    with pytest.raises(ModelError, match="odd: no linear layer gives its logits"):
        penultimate(model, IMAGES)


def test_the_v_score_knows_clusters_that_are_the_labels():
    rng = np.random.default_rng(0)
    labels = np.repeat([0.0, 1.0], 40)
    noise = rng.normal(size=(80, 6))
    assert v_score(noise + 20 * labels[:, None], labels, seed=0) == pytest.approx(1)
    assert v_score(noise + 20 * (np.arange(80) % 2)[:, None], labels, seed=0) == pytest.approx(
        0, abs=1e-9
    )
    assert v_score(noise, labels, seed=3) == v_score(noise, labels, seed=3)


def test_by_hand_one_crop_in_the_wrong_cluster():
    # clusters {0, 0} and {0, 1, 1}: H(label) = H(2/5), H(label | cluster) = 3/5 H(1/3); by symmetry
    # of sizes
    labels = np.array([0.0, 0.0, 0.0, 1.0, 1.0])
    features = np.array([[0.0], [0.1], [9.0], [9.1], [9.2]])
    entropy = lambda p: -(p * np.log(p) + (1 - p) * np.log(1 - p))  # noqa: E731
    shared = entropy(2 / 5) - 3 / 5 * entropy(1 / 3)
    assert v_score(features, labels, seed=0) == pytest.approx(shared / entropy(2 / 5))


def test_points_keep_clusters_apart():
    rng = np.random.default_rng(0)
    labels = np.repeat([0.0, 1.0], 15)
    points = in_the_plane(rng.normal(size=(30, 6)) + 30 * labels[:, None], seed=0)
    assert points.shape == (30, 2) and np.isfinite(points).all()
    assert v_score(points, labels, seed=0) == pytest.approx(1)


def test_so_many_labelled_crops_are_drawn_the_same_for_every_model(crops):
    known = load_crops(crops)
    first, second = features_of([trained(), trained()], known, limit=10, seed=1, batch=4)
    assert first.points.shape == (10, 2) and 0 <= first.v_score <= 1
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_array_equal(first.points, second.points)
    with pytest.raises(DataError, match="features of 4 labelled crops say nothing"):
        features_of([trained()], known.subset(range(4)), limit=10, seed=1, batch=4)
    with pytest.raises(DataError, match="all 12 crops are REAL"):
        features_of([trained()], known.subset(range(0, 24, 2)), limit=20, seed=1, batch=4)


def test_onnx_files_have_no_features(tmp_path, crops):
    scorer = Scorer.load(write_scorer(tmp_path / "green.onnx"))
    with pytest.raises(
        ModelError, match=r"green: an ONNX file gives its logit only.*leave --features out"
    ):
        features_of([scorer], load_crops(crops), limit=10, seed=0, batch=4)


def test_the_command_draws_a_panel_per_model_and_reports_the_score(tmp_path, crops):
    for name in ("pico", "nano"):
        save_model(trained(name), tmp_path / f"{name}.safetensors")
    picture = tmp_path / "features.png"
    words = [
        str(tmp_path / "nano.safetensors"),
        str(tmp_path / "pico.safetensors"),
        "--data",
        str(crops),
    ]
    words += ["--split", "all", "--resamples", "0", "--format", "json", "--features", str(picture)]
    result = CliRunner().invoke(app, ["evaluate", *words])
    assert result.exit_code == 0, result.stderr
    assert all(0 <= model["v_score"] <= 1 for model in json.loads(result.stdout)["models"])
    image = cv2.imread(str(picture))
    assert image.shape[1] > 1.5 * image.shape[0] and image.std() > 5
    assert json.loads((tmp_path / "features.png.config.json").read_text())["features_limit"] == 1000
    again = CliRunner().invoke(app, ["evaluate", *words])
    assert again.exit_code == 1 and "--overwrite" in again.stderr


def test_the_command_refuses_onnx_before_any_work(tmp_path, crops):
    model = write_scorer(tmp_path / "green.onnx")
    words = ["evaluate", str(model), "--data", str(crops), "--features", str(tmp_path / "f.png")]
    result = CliRunner().invoke(app, words)
    assert (
        result.exit_code == 1
        and "no features" in result.stderr
        and not (tmp_path / "f.png").exists()
    )
