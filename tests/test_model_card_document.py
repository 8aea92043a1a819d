"""`benchmarks/model_card.py` on tiny crops: every part is written, and the essence says what the
parts measured."""

import json
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from crop_factory import write_crops
from scorer_factory import tinted_clip, write_scorer

from deepkd.data.crops import load_crops
from deepkd.data.index import CropRow, read_index, write_index
from deepkd.scoring.calibration import Calibration
from deepkd.shipped import sha256_of

ROOT = Path(__file__).resolve().parents[1]
MEASURE = {"value": 0.56, "low": 0.46, "high": 0.67}


@pytest.fixture
def card(script: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    return script("benchmarks/card_essence.py") | script("benchmarks/model_card.py")


def other_crops(folder: Path) -> Path:
    """Crops of another data set: split cross, two methods, two crops of each video."""
    write_crops(folder, families=8, tint=40, methods=("swap", "blend"))
    rows = [
        CropRow(**{**vars(row), "split": "cross", "video": f"{row.label}-{number // 4}"})
        for number, row in enumerate(read_index(folder))
    ]
    write_index(folder, rows)
    return folder


@pytest.fixture
def run(
    card: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """Runs the benchmark on what lies in the test's folder."""

    def main(*words: object) -> None:
        small = [
            "--resamples",
            "20",
            "--perturb",
            "downscale,jpeg:50",
            "--pictures",
            tmp_path,
            "--out",
            tmp_path / "out",
        ]
        places = [
            "--data",
            tmp_path / "crops",
            "--cross",
            tmp_path / "cross",
            "--document",
            tmp_path / "card.md",
        ]
        models = ["--model", tmp_path / "deepkd-tiny.onnx", "--teacher", tmp_path / "teacher.onnx"]
        words = (
            "model_card.py",
            *models,
            *small,
            *places,
            "--samples",
            tmp_path / "samples",
            *words,
        )
        monkeypatch.setattr(sys, "argv", [str(word) for word in words])
        card["main"]()

    return main


def write_inputs(folder: Path) -> Path:
    """Both sets of crops, a clip, a teacher, and the student, which is given back."""
    data = write_crops(folder / "crops", families=20, tint=40)
    other_crops(folder / "cross")
    (folder / "samples").mkdir()
    tinted_clip(folder / "samples" / "green.mp4")
    recipe = {"index_sha256": load_crops(data, "train").index_sha256()}
    student = write_scorer(
        folder / "deepkd-tiny.onnx", name="deepkd-tiny", architecture="linear", recipe=recipe
    )
    write_scorer(folder / "teacher.onnx", name="teacher", weights=(0.0, 0.0, 0.0))
    return student


def test_every_part_and_the_essence_are_written(run: Callable[..., None], tmp_path: Path) -> None:
    student = write_inputs(tmp_path)
    run()
    page = (tmp_path / "card.md").read_text()
    essence = json.loads((tmp_path / "deepkd-tiny.json").read_text())
    assert (essence["file"], essence["sha256"]) == (student.name, sha256_of(student))
    assert essence["trained_on"].startswith(
        "24 face crops (12 real, 12 forged; one per clip) of the DeepFake"
    )
    assert list(essence["auc"]) == [
        "DFDC val",
        "DFDC test",
        "FaceForensics++",
        "FaceForensics++ videos",
    ]
    assert f"| AUC of deepkd-tiny | {' | '.join(essence['auc'].values())} |" in page
    assert "| AUC of teacher | 0.500 [0.500, 0.500] |" in page
    assert "| blend | " in page and "| architecture | `linear`; 4 parameters" in page
    assert "| DFDC test, 4 real | " in page and "| Downscale to 1/2, 1/4 | 0.25 |" in page
    assert "| DFDC val, 4 real | " not in page, "the thresholds come from it"
    assert "Saved again in 13 harmless ways ([list](../research/inputs.md)), 0.0% (" in page
    assert " of 8 validation crops change their verdict." in page
    assert "Over all 3 levels ([plots](robustness-card.png)), AUC is at least " in page
    assert "probability p by s/(1-s). With s = 50%, ECE on DFDC test is 0." in page
    assert "it calls `green.mp4` FAKE (forgery " in page
    assert all(
        (tmp_path / f"{name}-card.png").stat().st_size for name in ("reliability", "robustness")
    )
    assert len(essence["limits"]) == 1 and essence["limits"][0] in page

    essence["limits"] = ["Grass looks forged.", essence["limits"][0], "It knows no actors."]
    (tmp_path / "deepkd-tiny.json").write_text(json.dumps(essence))
    (tmp_path / "card.md").write_text(page + "\nGrass looks\nforged.\n")
    with pytest.raises(SystemExit, match=r"no sentence of .*: It knows no actors\.$"):
        run("--only", "file")
    assert json.loads((tmp_path / "deepkd-tiny.json").read_text()) == essence, (
        "the limits of people stay"
    )

    write_scorer(student, name="deepkd-tiny", bias=0.0)
    with pytest.raises(
        SystemExit, match="not written; measure the parts trained, figures and beyond"
    ):
        run("--only", "file")


def test_the_shipped_card_has_every_mark_once(card: dict[str, Any]) -> None:
    page = (ROOT / "weights" / "deepkd-nano.md").read_text()
    for name in card["PARTS"]:
        page = card["write_parts"].__globals__["fill"](page, name, f"measured: {name}")
    assert all(page.count(f"measured: {name}\n") == 1 for name in card["PARTS"])
    with pytest.raises(SystemExit, match="needs each of the marks <!-- file -->"):
        card["write_parts"].__globals__["fill"](page + "<!-- file -->", "file", "")


@pytest.mark.parametrize(
    ("low", "value", "high", "sentence"),
    [
        (0.46, 0.56, 0.67, "little better than chance, if at all"),
        (0.30, 0.40, 0.49, "worse than chance"),
        (0.55, 0.60, 0.67, "better than chance, but worse than on DFDC"),
        (0.91, 0.95, 0.97, "better than chance, and no worse than on DFDC"),
        (None, 0.60, None, "no AUC with an interval"),
    ],
)
def test_what_is_said_of_other_data_follows_the_interval(
    card: dict[str, Any], low: float | None, value: float, high: float | None, sentence: str
) -> None:
    measured = {"value": value, "low": low, "high": high}
    document = {"cross": "Other", "home": "DFDC", "home_auc": {"value": 0.9}, "auc": measured}
    said = card["write_essence"].__globals__["beyond"](document)
    assert sentence in said and "On Other" in said


def test_a_known_share_of_forgeries_multiplies_the_odds(card: dict[str, Any]) -> None:
    even = Calibration(2.0, 0.3)
    before, after = (
        even.probability([-1.0, 0.5]),
        card["assume_share"](0.75, even).probability([-1.0, 0.5]),
    )
    assert after / (1 - after) == pytest.approx(3 * before / (1 - before))


def test_methods_are_sorted_by_what_their_intervals_tell(
    card: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    areas = {"swap": (0.6, 0.7, 0.8), "mask": (0.1, 0.4, 0.6), "voice": (0.2, 0.45, 0.49)}
    methods = {
        name: dict(zip(("low", "value", "high"), area, strict=True)) for name, area in areas.items()
    }
    document = {
        "cross": "Other",
        "home": "DFDC",
        "home_auc": MEASURE,
        "auc": MEASURE,
        "level": "videos",
        "methods": methods,
    }
    text = card["show_beyond"](document)
    assert "better than chance against swap; is worse than chance against voice; " in text
    assert text.endswith("may be chance (0.5 lies in the interval) against mask.")


def test_a_limit_of_other_data_is_brought_up_to_date(card: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "deepkd-tiny.json"
    path.write_text(
        json.dumps({"limits": ["First.", "On Other it does worse than chance", "Last."]})
    )
    document = {"cross": "Other", "home": "DFDC", "home_auc": {"value": 0.9}, "auc": MEASURE}
    limits = card["write_essence"].__globals__["limits_of"](path, document)
    assert limits == ["First.", "On Other it does little better than chance, if at all", "Last."]


def test_a_card_has_pictures_of_its_own(
    card: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)

    def name(document: Path) -> str:
        picture: Path = card["picture_of"](
            Namespace(document=document, pictures=Path("docs")), "reliability"
        )
        return picture.name

    usual = Path("weights/deepkd-nano.md")
    assert name(usual) == name(ROOT / usual) == "reliability.png"
    assert name(Path("weights/deepkd-pico.md")) == "reliability-deepkd-pico.png"
