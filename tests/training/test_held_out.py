"""What is held out is new to the training, or the training is refused or warns."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from crop_factory import write_crops
from model_factory import random_model

from deepkd.cli.training import follow_run
from deepkd.compression.gradual import prune_in_steps
from deepkd.data.crops import CropSet, load_crops
from deepkd.data.families import training_record
from deepkd.data.index import read_index, write_index
from deepkd.data.leakage import check_held_out
from deepkd.distillation import distiller
from deepkd.errors import DataError
from deepkd.models.checkpoints import save_model
from deepkd.settings.compression import PruneConfig
from deepkd.settings.distillation import DistillConfig
from deepkd.settings.training import TrainConfig
from deepkd.training import supervised

SMALL: dict[str, Any] = {"image_size": 32, "batch": 4, "epochs": 1, "workers": 0}
COMMANDS: dict[str, Callable[..., object]] = {
    "train": lambda data, out, model, **named: supervised.train(
        data, out, TrainConfig(model="pico", init=model, **SMALL), **named
    ),
    "distill": lambda data, out, model, **named: distiller.distill(
        [random_model("pico")],
        data,
        out,
        DistillConfig(student="pico", init=model, **SMALL),
        **named,
    ),
    "prune": lambda data, out, model, **named: prune_in_steps(
        supervised.load_checkpoint(model),
        data,
        out,
        PruneConfig(params=120_000),
        follow=follow_run,
        **named,
    ),
}


class Begun(Exception):
    """Stands for the work that a check comes before."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_crops(tmp_path / "crops")


def changed(data: Path, change: Callable[[int, Any], Any]) -> Path:
    write_index(data, [change(number, row) for number, row in enumerate(read_index(data))])
    return data


@pytest.fixture
def start(data: Path, tmp_path: Path) -> Path:
    """A model that was trained on one of the two originals of val."""
    model = random_model("pico")
    model.metadata["recipe"] = training_record(load_crops(data, "val").subset([0, 1]))
    return save_model(model, tmp_path / "start.safetensors")


@pytest.fixture(autouse=True)
def nothing_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(*_: object, **__: object) -> None:
        raise Begun

    for where in (
        "training.supervised.fit",
        "distillation.distiller.fit",
        "compression.gradual._shrink",
    ):
        monkeypatch.setattr(f"deepkd.{where}", begin)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_original_in_both_splits_is_refused(
    command: str, data: Path, start: Path, tmp_path: Path
) -> None:
    changed(data, lambda number, row: dataclasses.replace(row, split="val") if number == 1 else row)
    with pytest.raises(
        DataError, match=r"^1 originals of the index in both train and val, e\.g\. family-0\.mp4"
    ):
        COMMANDS[command](data, tmp_path / "out", start)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_start_that_has_seen_val_is_warned_of(
    command: str, data: Path, start: Path, tmp_path: Path
) -> None:
    told: list[str] = []
    with pytest.raises(Begun):
        COMMANDS[command](data, tmp_path / "out", start, warn=told.append)
    seen = [
        message for message in told if "was trained on 1 of the 2 originals of split val" in message
    ]
    assert len(seen) == 1
    assert len(told) == (2 if command == "distill" else 1), (
        "its teacher says nothing of its training data"
    )


def test_people_in_both_and_what_nobody_lists_are_warned_of(data: Path) -> None:
    changed(
        data,
        lambda number, row: dataclasses.replace(row, identities=(f"person {number // 2 % 3}",)),
    )
    train, val = load_crops(data, "train"), load_crops(data, "val")
    told: list[str] = []
    teachers = [
        ("the teacher a", {"unlisted": ["a"]}),
        ("the teacher b", {}),
        ("the teacher a", {"unlisted": ["a"]}),
    ]
    check_held_out(train, val, [*teachers, ("the start", training_record(train))], warn=told.append)
    assert told == [
        "2 people of the index in both train and val, e.g. person 0",
        (
            "the teacher a does not list all of its training data; make sure that none of it is in"
            " split val"
        ),
        (
            "the start was trained on 2 of the 2 people of split val, which flatters the validation"
            " and the thresholds; hold out others"
        ),
    ]


def test_new_originals_and_people_are_nothing_to_tell(data: Path) -> None:
    train, val = load_crops(data, "train"), load_crops(data, "val")
    check_held_out(train, val, [("the start", training_record(train))], warn=pytest.fail)
    check_held_out(CropSet(data, []), val, [], warn=pytest.fail)
