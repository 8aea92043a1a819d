"""Data without an index: image folders, and torchvision-style data sets from Python."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

from deepkd.data.crops import load_crops
from deepkd.data.pictures import as_rgb, picture_set
from deepkd.distillation.distiller import Distillation, distill
from deepkd.distillation.modifiers import with_labels_hidden
from deepkd.errors import DataError
from deepkd.evaluation.evaluate import evaluate
from deepkd.models.registry import build_model
from deepkd.settings.distillation import DistillConfig
from deepkd.settings.evaluation import EvaluateConfig
from deepkd.settings.training import TrainConfig
from deepkd.training.engine import fit
from deepkd.training.supervised import train

TINY = {
    "image_size": 32,
    "batch": 8,
    "workers": 0,
    "augment": "none",
    "ema": 0.5,
    "lr": 2e-2,
    "sampling": "balanced",
}


def colour(index: int, green: bool) -> np.ndarray:
    noise = np.random.default_rng(index).integers(0, 60, (40, 40, 3))
    return (noise + np.array((60, 160 if green else 60, 60))).astype(np.uint8)


def write_folder(root: Path, classes: tuple[str, str], *, count: int = 8, nested: str = "") -> Path:
    for split in ("train", "val", "test"):
        for green, name in enumerate(classes):
            folder = root / split / name / (nested if green else "")
            folder.mkdir(parents=True)
            for index in range(count):
                picture = colour(index, bool(green))
                cv2.imwrite(
                    str(folder / f"{split}-{name}-{index}.png"),
                    cv2.cvtColor(picture, cv2.COLOR_RGB2BGR),
                )
    return root


class Torchvision(Dataset):
    """Like torchvision's sets in memory: PIL images and int labels by place, and `targets`."""

    def __init__(self, count: int) -> None:
        self.targets = [index % 2 for index in range(count)]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(colour(index, bool(self.targets[index]))), self.targets[index]


def test_an_image_folder_needs_no_index(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", ("Real", "FAKE"), nested="blend")
    (folder / "train" / "notes.txt").write_text("no picture")
    (folder / "train" / "stray.png").write_bytes(b"no class")
    crops = load_crops(folder, "train")
    assert len(crops) == 16 and crops.labels.sum() == 8
    assert {(row.label, row.method) for row in crops.rows} == {("REAL", ""), ("FAKE", "blend")}
    np.testing.assert_array_equal(crops.image(int(crops.labels.argmax())), colour(0, True))
    with pytest.raises(DataError, match="its splits are test, train, val"):
        load_crops(folder, "tset")


def test_two_classes_of_any_name_are_real_and_fake_in_order(tmp_path: Path) -> None:
    crops = load_crops(write_folder(tmp_path, ("cats", "dogs"), count=1), "test")
    assert {row.file: row.label for row in crops.rows} == {
        "test/cats/test-cats-0.png": "REAL",
        "test/dogs/test-dogs-0.png": "FAKE",
    }


def test_forgeries_of_the_same_name_are_of_that_picture_and_split(tmp_path: Path) -> None:
    for file in (
        "train/real/a.png",
        "train/fake/a.jpg",
        "train/fake/b.png",
        "val/real/b.png",
        "val/fake/a.png",
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / file), colour(0, False))
    originals = {row.file: row.original for row in load_crops(tmp_path).rows}
    assert originals["train/fake/a.jpg"] == "train/real/a.png"
    assert [originals[file] for file in ("train/fake/b.png", "val/fake/a.png")] == [
        "train/fake/b.png",
        "val/fake/a.png",
    ]


def test_of_pictures_of_one_name_those_at_the_same_place_belong_together(tmp_path: Path) -> None:
    reals = ("real/1/a.png", "real/2/a.png", "real/2/b.png")
    for file in (*reals, "fake/2/a.png", "fake/swap/1/a.png", "fake/swap/a.png", "fake/swap/b.png"):
        (tmp_path / "train" / file).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "train" / file), colour(0, False))
    originals = {row.file: row.original for row in load_crops(tmp_path).rows if row.label == "FAKE"}
    assert originals == {
        "train/fake/2/a.png": "train/real/2/a.png",
        "train/fake/swap/1/a.png": "train/real/1/a.png",
        "train/fake/swap/a.png": "train/fake/swap/a.png",
        "train/fake/swap/b.png": "train/real/2/b.png",
    }


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ((), "index"),
        (("train",), "has no pictures in SPLIT/CLASS/"),
        (("train/a", "train/b", "val/c"), "has the classes a, b, c; it takes two"),
        (("train/a",), "has the classes a; it takes two"),
        (("train/real", "train/dogs"), "has the classes dogs, real"),
    ],
)
def test_folders_that_say_too_little_are_refused(
    folders: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
        if "/" in folder:
            cv2.imwrite(str(tmp_path / folder / "x.png"), colour(0, False))
    with pytest.raises(DataError, match=message):
        load_crops(tmp_path, "train")


def test_an_image_folder_trains_and_distils(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", ("plain", "green"))  # green is REAL: alphabetical
    teacher = train(folder, tmp_path / "teacher", TrainConfig(model="pico", epochs=8, **TINY))
    student = distill(
        [teacher], folder, tmp_path / "student", DistillConfig(student="pico", epochs=2, **TINY)
    )
    found, _ = evaluate([teacher, student], load_crops(folder, "test"), EvaluateConfig(resamples=0))
    assert found.crops.auc.value is not None and found.crops.auc.value > 0.9
    with pytest.raises(DataError, match="use --sampling balanced"):
        train(
            folder, tmp_path / "paired", TrainConfig(model="pico", **{**TINY, "sampling": "paired"})
        )


def test_a_torchvision_data_set_is_what_fit_takes(tmp_path: Path) -> None:
    training, validation = picture_set(Torchvision(16)), picture_set(Torchvision(8))
    teacher, student = (build_model("pico", image_size=32) for _ in range(2))
    config = DistillConfig(student="pico", epochs=1, **TINY)
    fitted = fit(
        student,
        Distillation(student, [teacher], config),
        training,
        validation,
        config,
        tmp_path / "run",
    )
    assert fitted.trained and fitted.logits([validation.image(0)]).shape == (1,)
    assert evaluate([fitted], validation, EvaluateConfig(resamples=0))[0].crops.rows == 8


def test_a_subset_and_hidden_labels_keep_their_pictures() -> None:
    pictures = picture_set(Torchvision(20))
    part = pictures.subset([3, 5])
    np.testing.assert_array_equal(part.image(1), colour(5, True))
    assert part.labels.tolist() == [1, 1] and len(part) == 2
    hidden = with_labels_hidden(pictures, 0.5)
    np.testing.assert_array_equal(hidden.image(7), pictures.image(7))
    assert 0 < np.isnan(hidden.labels).sum() < 20


def test_labels_mean_what_the_caller_says() -> None:
    samples = [(colour(index, False), torch.tensor(index)) for index in range(4)]
    named = picture_set(
        samples,
        fake=lambda label: None if label == 3 else label in (1, 2),
        method=lambda label: f"m{label}",
    )
    assert [(row.label, row.method) for row in named.rows] == [
        ("REAL", ""),
        ("FAKE", "m1"),
        ("FAKE", "m2"),
        ("", ""),
    ]
    with pytest.raises(DataError, match="4 samples with 3 labels"):
        picture_set(samples, labels=[0, 1, 0])
    with pytest.raises(DataError, match="0 samples"):
        picture_set([])


@pytest.mark.parametrize(
    "picture",
    [
        np.full((4, 6), 7, np.uint8),
        np.full((4, 6, 1), 7, np.uint8),
        np.full((4, 6, 3), 7, np.uint8),
        Image.new("L", (6, 4), 7),
        Image.new("RGBA", (6, 4), (7, 7, 7, 0)),
    ],
)
def test_pictures_of_any_kind_become_rgb(picture: object) -> None:
    np.testing.assert_array_equal(as_rgb(picture, "x"), np.full((4, 6, 3), 7))


@pytest.mark.parametrize(
    "picture", [np.zeros((4, 4, 3)), np.zeros((3, 4, 4), np.uint8), torch.zeros(3, 4, 4)]
)
def test_what_is_no_picture_says_so(picture: object) -> None:
    with pytest.raises(
        DataError, match=r"sample 2: is .* not a picture \(H, W, 3\) of uint8; give PIL images"
    ):
        as_rgb(picture, "sample 2")
