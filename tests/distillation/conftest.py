"""Fixtures of these tests: crops that can be told apart, and a teacher trained on them."""

from pathlib import Path

import pytest
from crop_factory import write_crops

from deepkd.models.registry import TorchModel
from deepkd.settings.training import TrainConfig
from deepkd.training.supervised import train


@pytest.fixture(scope="session")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of crops; forged ones are tinted."""
    return write_crops(tmp_path_factory.mktemp("crops"), families=20, px=48, tint=40)


@pytest.fixture(scope="session")
def teacher(crops: Path, tmp_path_factory: pytest.TempPathFactory) -> TorchModel:
    """A small network that knows them; no test changes it."""
    config = TrainConfig(
        model="nano",
        image_size=32,
        batch=8,
        epochs=10,
        workers=0,
        augment="light",
        ema=0.9,
        lr=2e-2,
    )
    return train(crops, tmp_path_factory.mktemp("teacher") / "run", config)
