"""Corruptions: what they do to a picture, that they repeat, and that a run resumes."""

import dataclasses
import json

import numpy as np
import pytest
from crop_factory import write_crops
from model_factory import random_model
from scorer_factory import write_scorer

from deepkd.data.corruptions import (
    BLOCK_PX,
    DISTORTIONS,
    draw_mixed,
    parse_conditions,
)
from deepkd.data.corruptions import (
    CORRUPTIONS as PERTURBATIONS,
)
from deepkd.data.corruptions import (
    corrupt as perturb,
)
from deepkd.data.corruptions import (
    list_conditions as conditions_of,
)
from deepkd.data.crops import load_crops
from deepkd.errors import ConfigError, OutputError
from deepkd.evaluation.journal import JOURNAL_NAME
from deepkd.evaluation.robustness import CorruptedCrops, measure_robustness
from deepkd.evaluation.scores import logits_of
from deepkd.scoring.model import Scorer
from deepkd.settings.evaluation import EvaluateConfig

CONFIG = EvaluateConfig(resamples=0, batch=4)
ON_CROPS = [name for name, kind in PERTURBATIONS.items() if not kind.only_clips]
LEVELS = [(name, level) for name in ON_CROPS for level in PERTURBATIONS[name].severities]


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    return load_crops(write_crops(tmp_path_factory.mktemp("crops"), families=3))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return Scorer.load(write_scorer(tmp_path_factory.mktemp("model") / "green.onnx"), threads=1)


def test_the_same_weights_at_another_size_are_another_model(crops):
    large = random_model("pico")
    small = dataclasses.replace(large, format=dataclasses.replace(large.format, size=32))
    assert large.sha256 == small.sha256
    one, other = measure_robustness([large, small], crops, [("jpeg", 50.0)], CONFIG)
    assert not np.array_equal(one[0].logits, other[0].logits)


def damaged(image, name, level, key="a", seed=0):
    return perturb(image, name, level, seed=seed, key=key)


def error(image, other):
    return float(np.abs(image.astype(int) - other).mean())


@pytest.mark.parametrize(("name", "level"), LEVELS)
def test_each_level_keeps_the_shape_changes_the_picture_and_repeats(name, level, astronaut):
    image = astronaut[40:240, 130:330]
    before = image.copy()
    first = damaged(image, name, level)
    assert (first.shape, first.dtype) == (image.shape, np.uint8)
    assert np.array_equal(image, before)
    assert error(first, image) > 0.3
    assert np.array_equal(first, damaged(image, name, level))


@pytest.mark.parametrize("name", [name for name in ON_CROPS if name not in ("mixed", "blocks")])
def test_levels_get_worse(name, astronaut):
    image = astronaut[40:240, 130:330]
    errors = [error(damaged(image, name, level), image) for level in PERTURBATIONS[name].severities]
    assert errors == sorted(errors)


@pytest.mark.parametrize("name", PERTURBATIONS)
@pytest.mark.parametrize("shape", [(33, 57), (5, 4), (1, 1)])
def test_odd_and_tiny_crops_are_taken(name, shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    assert damaged(image, name, PERTURBATIONS[name].severities[-1]).shape == image.shape


@pytest.mark.parametrize("name", ["noise", "blocks", "mixed"])
def test_chance_hangs_on_the_crop_and_the_seed(name, astronaut):
    image, level = astronaut[40:140, 130:230], PERTURBATIONS[name].severities[0]
    one = damaged(image, name, level)
    assert not np.array_equal(one, damaged(image, name, level, key="b"))
    assert not np.array_equal(one, damaged(image, name, level, seed=1))


def test_distortions_by_hand():
    image = np.full((64, 64, 3), (200, 100, 50), np.uint8)
    grey = round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)
    assert np.abs(damaged(image, "saturation", 0.0).astype(int) - grey).max() <= 1
    assert damaged(image, "contrast", 0.5)[0, 0].tolist() == [100, 50, 25]
    blocks = damaged(image, "blocks", 1) == 128
    assert blocks.all(axis=2).sum() == BLOCK_PX**2
    noise = damaged(np.full((256, 256, 3), 128, np.uint8), "noise", 0.001).astype(float)
    luma = noise @ (0.299, 0.587, 0.114)
    assert luma.std() == pytest.approx(0.001**0.5 * 255 * 255 / 219, rel=0.03)
    assert len(DISTORTIONS) == 7


@pytest.mark.parametrize(
    ("text", "conditions"),
    [
        ("all", conditions_of(ON_CROPS)),
        ("downscale, blur", conditions_of(["blur", "downscale"])),
        ("downscale:0.25,h264:40", [("h264", 40), ("downscale", 0.25)]),
        ("saturation:.4,saturation:0", [("saturation", 0.4), ("saturation", 0)]),
        ("downscale:0.25,downscale", [("downscale", 0.5), ("downscale", 0.25)]),
    ],
)
def test_names_and_levels_are_parsed(text, conditions):
    assert parse_conditions(text, crops=True) == conditions


def test_unknown_names_and_levels_are_refused():
    assert [name for name in PERTURBATIONS if name not in ON_CROPS] == ["frame-rate"]
    assert parse_conditions("all", crops=False) == conditions_of(PERTURBATIONS)
    for text in ("jpg", "", ",", "jpg:90"):
        with pytest.raises(
            ConfigError, match=r"unknown perturbation .*choose from all, saturation"
        ):
            parse_conditions(text, crops=True)
    for text in ("downscale:0.3", "downscale:half"):
        with pytest.raises(
            ConfigError, match=r"'downscale' has no level '.*'; choose from 0\.5, 0\.25"
        ):
            parse_conditions(text, crops=True)
    with pytest.raises(ConfigError, match="each perturbation has its own levels"):
        parse_conditions("all:2", crops=True)
    with pytest.raises(ConfigError, match="'frame-rate' does nothing to crops"):
        parse_conditions("jpeg,frame-rate", crops=True)


def test_the_suite_is_the_published_one():
    published = {
        "saturation": (0.4, 0.3, 0.2, 0.1, 0.0),
        "contrast": (0.85, 0.725, 0.6, 0.475, 0.35),
        "blocks": (16, 32, 48, 64, 80),
        "noise": (0.001, 0.002, 0.005, 0.01, 0.05),
        "blur": (7, 9, 13, 17, 21),
        "pixelation": (2, 3, 4, 5, 6),
        "h264": (30, 32, 35, 38, 40),
        "jpeg": (90, 70, 50, 30, 10),
        "downscale": (0.5, 0.25),
        "frame-rate": (15,),
        "double-compression": (23, 28, 33, 38),
        "mixed": (2, 3, 4),
    }
    found = {name: PERTURBATIONS[name].severities for name in published}
    assert found == published
    assert DISTORTIONS == (
        "saturation",
        "contrast",
        "blocks",
        "noise",
        "blur",
        "pixelation",
        "h264",
    )


def test_a_mixture_is_of_different_distortions_at_their_levels():
    for seed in range(20):
        steps = draw_mixed(3, np.random.default_rng(seed))
        names = [name for name, _ in steps]
        assert len(set(names)) == 3 and set(names) <= set(DISTORTIONS)
        assert all(level in PERTURBATIONS[name].severities for name, level in steps)


def test_neither_order_nor_batch_matters(crops, model):
    noisy = CorruptedCrops(crops, "noise", 0.05, 0)
    straight = logits_of([model], noisy, range(len(crops)), batch=64)[0]
    backwards = logits_of([model], noisy, range(len(crops))[::-1], batch=1)[0]
    assert backwards[::-1].tolist() == pytest.approx(straight.tolist(), abs=1e-5)


def test_conditions_of_each_model_in_order(crops, model):
    seen = []
    found = measure_robustness(
        [model, model],
        crops,
        conditions_of(["jpeg", "downscale"]),
        CONFIG,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert [(c.perturbation, c.level) for c in found[0]] == [
        *(("jpeg", level) for level in (90, 70, 50, 30, 10)),
        ("downscale", 0.5),
        ("downscale", 0.25),
    ]
    assert found[0] == found[1]
    assert all(condition.crops.rows == 6 and condition.videos is None for condition in found[0])
    assert seen[-1] == (42, 42)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_second_run_goes_on(crops, model, tmp_path, monkeypatch):
    whole = measure_robustness([model], crops, conditions_of(["jpeg"]), CONFIG, folder=tmp_path)
    path = tmp_path / JOURNAL_NAME
    lines = path.read_text().splitlines(keepends=True)
    assert len(lines) == 6
    path.write_text("".join(lines[:3]) + lines[3][:20])  # killed within the third level
    scored = []
    monkeypatch.setattr(
        "deepkd.evaluation.robustness.logits_of",
        lambda models, damaged, *args, **kwargs: (
            scored.append(damaged.level) or logits_of(models, damaged, *args, **kwargs)
        ),
    )
    assert (
        measure_robustness([model], crops, conditions_of(["jpeg"]), CONFIG, folder=tmp_path)
        == whole
    )
    assert scored == [50, 30, 10]
    assert path.read_text() == "".join(lines)
    assert len(json.loads(lines[1])["result"]) == 6


def test_a_second_run_with_another_model_scores_only_that(crops, model, tmp_path, monkeypatch):
    other = Scorer.load(write_scorer(tmp_path / "other.onnx", bias=0.5), threads=1)
    alone = measure_robustness(
        [model], crops, conditions_of(["downscale"]), CONFIG, folder=tmp_path
    )
    scored = []
    monkeypatch.setattr(
        "deepkd.evaluation.robustness.logits_of",
        lambda models, *args, **kwargs: (
            scored.append([*models]) or logits_of(models, *args, **kwargs)
        ),
    )
    both = measure_robustness(
        [other, model], crops, conditions_of(["downscale"]), CONFIG, folder=tmp_path
    )
    assert scored == [[other], [other]]
    assert both[1:] == alone and both[0] != both[1]
    assert all(len(condition.logits) == 6 for condition in both[0])


def test_results_of_something_else_are_refused(crops, model, tmp_path):
    measure_robustness([model], crops, conditions_of(["downscale"]), CONFIG, folder=tmp_path)
    for models, data, config in (
        ([model], crops.subset([0, 1]), CONFIG),
        ([model], crops, dataclasses.replace(CONFIG, seed=1)),
    ):
        with pytest.raises(OutputError, match="other data or settings"):
            measure_robustness(models, data, conditions_of(["downscale"]), config, folder=tmp_path)
    (tmp_path / JOURNAL_NAME).write_text("no JSON\n")
    with pytest.raises(OutputError, match="or is damaged"):
        measure_robustness([model], crops, conditions_of(["downscale"]), CONFIG, folder=tmp_path)
