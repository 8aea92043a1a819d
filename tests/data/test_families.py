"""The list of training families that travels with a model, and the refusal to evaluate on them."""

import base64

import pytest
from crop_factory import write_crops
from scorer_factory import write_scorer

from deepkd.data.crops import load_crops
from deepkd.data.families import HASH_BYTES, known_families, training_record
from deepkd.errors import DataError, ModelError
from deepkd.evaluation.evaluate import evaluate_files
from deepkd.settings import EvaluateConfig


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_crops(tmp_path_factory.mktemp("crops"), families=10)


@pytest.fixture(scope="module")
def record(data):
    return training_record(load_crops(data, "train"))


def test_families_are_known_again_one_by_one(data, record):
    trained = {row.original for row in load_crops(data, "train").rows}
    assert known_families(record, ["strange.mp4", *trained]) == sorted(trained)
    assert known_families(record, {row.original for row in load_crops(data, "test").rows}) == []
    assert known_families({}, trained) is None
    assert len(base64.b64decode(record["families"])) == len(trained) * HASH_BYTES


def test_a_damaged_list_is_refused():
    for listed in ("no base64!", 7):
        with pytest.raises(ModelError, match="training families is damaged"):
            known_families({"families": listed}, ["a"])


def config(data, **changes):
    return EvaluateConfig(**{"data": data, "resamples": 0} | changes)


def test_training_data_is_refused_unless_allowed(data, record, tmp_path):
    model = str(write_scorer(tmp_path / "model.onnx", recipe=record))
    assert evaluate_files([model], config(data))[0].training_data == 0.0
    for split, count, of in (("train", 6, 6), ("all", 6, 10)):
        with pytest.raises(DataError, match=f"trained on {count} of these {of} originals, e.g. family-.*--allow-train"):
            evaluate_files([model], config(data, split=split))
    (found,) = evaluate_files([model], config(data, split="all", allow_training_data=True))
    assert found.training_data == 0.6


def test_an_old_model_is_known_by_its_whole_index_only(data, record, tmp_path):
    model = str(write_scorer(tmp_path / "old.onnx", recipe={"index_sha256": record["index_sha256"]}))
    with pytest.raises(DataError, match="trained on 6 of these 6 originals"):
        evaluate_files([model], config(data, split="train"))
    assert evaluate_files([model], config(data, split="all"))[0].training_data is None
    assert evaluate_files([str(write_scorer(tmp_path / "m.onnx"))], config(data))[0].training_data is None
