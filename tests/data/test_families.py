"""The list of training families that travels with a model, and the refusal to evaluate on them."""

import base64
import dataclasses
import io
import shutil
from pathlib import Path

import pytest
from crop_factory import write_crops
from rich.console import Console
from scorer_factory import write_scorer

from deepkd.data.crops import load_crops
from deepkd.data.families import (
    HASH_BYTES,
    find_known_families,
    find_known_names,
    find_known_people,
    list_inherited,
    training_record,
)
from deepkd.data.index import read_index, write_index
from deepkd.distillation.distiller import distill
from deepkd.errors import DataError, ModelError
from deepkd.evaluation.evaluate import evaluate_files, to_document
from deepkd.models.checkpoints import load_checkpoint, save_model
from deepkd.models.registry import build_model
from deepkd.settings.distillation import DistillConfig
from deepkd.settings.evaluation import EvaluateConfig
from deepkd.settings.training import TrainConfig
from deepkd.tables.evaluation import evaluation_tables
from deepkd.training.supervised import train


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_crops(tmp_path_factory.mktemp("crops"), families=10)


@pytest.fixture(scope="module")
def record(data):
    return training_record(load_crops(data, "train"))


def test_families_are_known_again_one_by_one(data, record):
    trained = {row.original for row in load_crops(data, "train").rows}
    assert find_known_families(record, ["strange.mp4", *trained]) == sorted(trained)
    assert (
        find_known_families(record, {row.original for row in load_crops(data, "test").rows}) == []
    )
    assert find_known_families({}, trained) is None
    assert len(base64.b64decode(record["families"])) == len(trained) * HASH_BYTES


def test_a_damaged_list_is_refused():
    for listed in ("no base64!", 7):
        with pytest.raises(ModelError, match="training families is damaged"):
            find_known_families({"families": listed}, ["a"])


def config(data, **changes):
    return EvaluateConfig(**{"data": data, "resamples": 0} | changes)


def test_training_data_is_refused_unless_allowed(data, record, tmp_path):
    model = str(write_scorer(tmp_path / "model.onnx", recipe=record))
    assert evaluate_files([model], config(data))[0].training_data == 0.0
    for split, count, of in (("train", 6, 6), ("all", 6, 10)):
        with pytest.raises(
            DataError,
            match=f"trained on {count} of these {of} originals, e.g. family-.*--allow-train",
        ):
            evaluate_files([model], config(data, split=split))
    (found,) = evaluate_files([model], config(data, split="all", allow_training_data=True))
    assert found.training_data == 0.6


def test_a_file_name_met_under_another_folder_is_warned_of(data, tmp_path):
    """What an original is called hangs on the folder that was given: `real/x.mp4` below one,
    `x.mp4` below another."""
    rows = [dataclasses.replace(row, original=f"real/{row.original}") for row in read_index(data)]
    named = Path(shutil.copytree(data, tmp_path / "named"))
    write_index(named / "index.csv", rows)
    record = training_record(load_crops(named, "train"))
    trained = {row.original for row in rows if row.split == "train"}
    bare = {name.removeprefix("real/") for name in trained}
    assert find_known_names(record, trained) == [] and find_known_families(record, bare) == []
    assert find_known_names(record, bare) == sorted(bare)
    assert find_known_names(record, {f"elsewhere/{name}" for name in bare}) == sorted(
        f"elsewhere/{name}" for name in bare
    )
    assert find_known_names(record, {"real/strange.mp4"}) == [] == find_known_names({}, bare)
    said: list[str] = []
    model = str(write_scorer(tmp_path / "model.onnx", recipe=inherited_by(record)))
    assert (
        evaluate_files([model], config(data, split="train"), warn=said.append)[0].training_data
        == 0.0
    )
    assert len(said) == 1 and "6 of these 6 originals have the file name of one that" in said[0]
    assert (
        not evaluate_files([model], config(data), warn=said.append)[0].training_data
        and len(said) == 1
    )


def inherited_by(record):
    """What a student of a model with this record lists."""
    teacher = dataclasses.make_dataclass("Teacher", ["name", "trained", "metadata"])
    return list_inherited(teacher("teacher", True, {"recipe": record}))


def test_an_old_model_is_known_by_its_whole_index_only(data, record, tmp_path):
    model = str(
        write_scorer(tmp_path / "old.onnx", recipe={"index_sha256": record["index_sha256"]})
    )
    with pytest.raises(DataError, match="trained on 6 of these 6 originals"):
        evaluate_files([model], config(data, split="train"))
    assert evaluate_files([model], config(data, split="all"))[0].training_data is None
    assert (
        evaluate_files([str(write_scorer(tmp_path / "m.onnx"))], config(data))[0].training_data
        is None
    )


def test_overlaps_by_original_and_by_person_are_counted(tmp_path):
    data = write_crops(tmp_path / "crops", families=10)
    people = (
        "ann",
        "bob",
        "cid",
        "dan",
        "eve",
    )  # the families take turns, so everybody is in one split, but for:
    rows = [
        dataclasses.replace(
            row,
            identities=(people[int(row.file[0]) % 5], *(["ann"] if row.split == "test" else [])),
        )
        for row in read_index(data)
    ]
    moved = [
        dataclasses.replace(row, split="val") if row.file == "4-fake.jpg" else row for row in rows
    ]
    write_index(data, moved)
    assert read_index(data) == moved
    record = training_record(load_crops(data, "train"))
    model = str(write_scorer(tmp_path / "model.onnx", recipe=record))
    (found,) = evaluate_files([model], config(data))
    assert [(one.kind, one.place, one.here, one.shared) for one in found.overlaps] == [
        ("originals", "split train", 2, 0), ("people", "split train", 2, 1),
        ("originals", "split val", 2, 1), ("people", "split val", 2, 2),
        ("originals", "training", 2, 0), ("people", "training", 2, 1),
    ]  # fmt: skip
    shown = Console(width=120, record=True, file=io.StringIO())
    shown.print(evaluation_tables(to_document([found], config(data))))
    text = shown.export_text()
    assert "Of these, also in split val: 1 of 2 originals, 2 of 2 people." in text
    assert "Of these, also in green's training: 0 of 2 originals, 1 of 2 people." in text


def test_where_nobody_is_named_nobody_is_counted(data, record, tmp_path):
    assert "people" not in record
    model = str(write_scorer(tmp_path / "model.onnx", recipe=record))
    (found,) = evaluate_files([model], config(data))
    assert {one.shared for one in found.overlaps if one.kind == "people"} == {None}
    assert len(found.overlaps) == 2 * 3
    (whole,) = evaluate_files([model], config(data, split="all", allow_training_data=True))
    assert [(one.kind, one.shared) for one in whole.overlaps] == [
        ("originals", 6),
        ("people", None),
    ]


TINY = {
    "image_size": 32,
    "batch": 4,
    "epochs": 1,
    "workers": 0,
    "augment": "none",
    "ema": 0.0,
    "sampling": "shuffled",
}


def elsewhere(folder, letter):
    """Crops whose originals, and people, are of no other data."""
    data = write_crops(folder, families=6)
    write_index(
        data,
        [
            dataclasses.replace(row, original=letter + row.original, identities=(letter,))
            for row in read_index(data)
        ],
    )
    return data


def saved(folder, name, *, recipe=None, trained=True):
    """A checkpoint of the smallest student with a recipe of its own."""
    model = build_model("pico", image_size=32)
    model.name, model.trained, model.metadata = name, trained, {"recipe": recipe} if recipe else {}
    return save_model(model, folder / f"{name}.safetensors")


def test_what_start_and_teacher_saw_is_refused_too(tmp_path):
    places = {letter: elsewhere(tmp_path / letter, letter) for letter in "abc"}
    train(places["a"], tmp_path / "first", TrainConfig(model="pico", **TINY))
    taught = saved(tmp_path, "teacher", recipe=training_record(load_crops(places["b"], "train")))
    config = DistillConfig(student="pico", init=tmp_path / "first" / "model.safetensors", **TINY)
    distill([load_checkpoint(taught)], places["c"], tmp_path / "second", config)
    recipe = load_checkpoint(tmp_path / "second").metadata["recipe"]
    assert find_known_people(recipe, "abcd") == ["a", "b", "c"] and "unlisted" not in recipe
    for place in places.values():
        with pytest.raises(DataError, match=r"pico was trained on 4 of these 4 originals"):
            evaluate_files([str(tmp_path / "second")], config_of(place, split="train"))
        (found,) = evaluate_files([str(tmp_path / "second")], config_of(place))
        assert found.training_data == 0.0


def config_of(data, **changes):
    return EvaluateConfig(**{"data": data, "resamples": 0, "device": "cpu"} | changes)


def test_a_start_that_lists_nothing_is_named(data, tmp_path):
    start = saved(tmp_path, "secretive", recipe={"from": "somewhere"})
    train(data, tmp_path / "run", TrainConfig(model="pico", init=start, **TINY))
    recipe = load_checkpoint(tmp_path / "run").metadata["recipe"]
    assert recipe["unlisted"] == ["secretive"]
    (found,) = evaluate_files([str(tmp_path / "run")], config_of(data))
    assert found.training_data is None, "nobody knows"
    assert {one.shared for one in found.overlaps if one.place == "training"} == {None}
    with pytest.raises(DataError, match="pico was trained on 6 of these 6 originals"):
        evaluate_files([str(tmp_path / "run")], config_of(data, split="train"))
    grandchild = list_inherited(load_checkpoint(tmp_path / "run"))
    assert training_record(load_crops(data, "val"), [grandchild])["unlisted"] == ["secretive"]


def test_weights_that_saw_no_faces_leave_nothing_open(data, tmp_path):
    start = load_checkpoint(saved(tmp_path, "imagenet", trained=False), allow_untrained=True)
    assert list_inherited(start) == {}
    assert training_record(load_crops(data, "train"), [list_inherited(start)]) == training_record(
        load_crops(data, "train")
    )


def test_a_damaged_list_is_not_passed_on(data):
    with pytest.raises(ModelError, match="training families is damaged"):
        training_record(load_crops(data, "train"), [{"families": "no base64!"}])
