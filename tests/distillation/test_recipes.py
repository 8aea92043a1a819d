"""Recipes: every file trains, a typo is refused with the choices, and modifiers do what their
papers say."""

import copy
import json
from pathlib import Path

import pytest
import torch
from crop_factory import write_crops
from typer.testing import CliRunner

from deepkd.cli.app import app
from deepkd.config import load_config
from deepkd.data.crops import load_crops
from deepkd.data.views import NO_ROW
from deepkd.distillation.distiller import distill
from deepkd.distillation.modifiers import confidence, mix, munge, noisy, with_labels_hidden
from deepkd.distillation.objective import Distillation
from deepkd.distillation.terms import Term, terms_of
from deepkd.errors import ConfigError, DataError
from deepkd.models.registry import TorchModel, build_model
from deepkd.models.subclasses import network_of
from deepkd.settings.choices import LOSSES
from deepkd.settings.training import DistillConfig
from deepkd.shipped import recipe_file

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))
ROWS = torch.arange(4)


def small(name: str, subclasses: tuple[str, ...] = ()) -> TorchModel:
    torch.manual_seed(1)
    model = build_model(name, image_size=64, subclasses=subclasses)
    torch.nn.init.normal_(network_of(model.module).classifier.weight)
    model.trained = True
    return model


def objective(config: DistillConfig, **options: torch.Tensor) -> Distillation:
    return Distillation(
        build_model("pico", image_size=64), [small("nano")], config, **options
    ).eval()


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_crops(tmp_path_factory.mktemp("crops"), families=30, px=64)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_trains(recipe: Path, crops: Path, tmp_path: Path) -> None:
    config = load_config(
        DistillConfig,
        recipe,
        student="pico",
        image_size=64,
        batch=8,
        epochs=1,
        workers=0,
        augment="none",
        ema=0.0,
    )
    with_subclasses = any(term.kind.inputs == "classes" for term in terms_of(config))
    teacher = small("nano", ("REAL", "FAKE/lips", "FAKE/swap") if with_subclasses else ())
    student = distill([teacher], crops, tmp_path, config)
    line = json.loads((tmp_path / "metrics.jsonl").read_text())
    labels = {f"train_{term.label}" for term in terms_of(config)}
    assert labels <= line.keys() and all(line[label] > 0 for label in labels)
    assert student.metadata["recipe"]["losses"] == [dict(table) for table in config.losses]
    assert distill([teacher], crops, tmp_path, config, resume=True).params == student.params


def test_there_is_a_recipe_for_each_method() -> None:
    assert {
        term.name for recipe in RECIPES for term in terms_of(load_config(DistillConfig, recipe))
    } >= set(LOSSES) - {"ce"}  # which bce stands for


def test_a_recipe_is_known_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {recipe_file(Path(recipe.stem)) for recipe in RECIPES} == set(RECIPES)
    for path in (tmp_path / "hinton", Path("hinton.toml"), RECIPES[0]):
        assert recipe_file(path) == path, "what may be a file of one's own is taken as it is"
    monkeypatch.chdir(tmp_path)
    Path("hinton").touch()
    assert recipe_file(Path("hinton")) == Path("hinton")
    with pytest.raises(
        ConfigError,
        match="hintn: no such file and no such recipe; the recipes are afd, amd-global, ",
    ):
        recipe_file(Path("hintn"))


def test_the_command_takes_a_recipe_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Path | None] = []
    monkeypatch.setattr(
        "deepkd.cli.distill.load_config", lambda kind, file, **flags: taken.append(file) or 1 / 0
    )
    command = [
        "distill",
        "--data",
        "d",
        "--teacher",
        "t",
        "--out",
        str(tmp_path),
        "--config",
        "similarity",
    ]
    assert isinstance(CliRunner().invoke(app, command).exception, ZeroDivisionError)
    assert taken == [next(recipe for recipe in RECIPES if recipe.stem == "similarity")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[loss]]\nname = "kdd"', "unknown loss 'kdd'; choose from bce, ce, kd, logit_mse"),
        (
            '[[loss]]\nname = "kd"\ntemprature = 3',
            "loss 'kd': unknown option 'temprature'; choose from weight, warmup, temp",
        ),
        (
            '[[loss]]\nname = "kd"\nweight = "much"',
            r"weight='much': takes a number, or \[start, end\]",
        ),
        ('[[loss]]\nname = "kd"\nwarmup = 2', "warmup=2: takes a number from 0 to 1"),
        ('[[loss]]\nname = "kd"\ntemperature = [1, 2, 3]', r"takes a number, or \[start, end\]"),
        ('[[loss]]\nname = "amd"', "compares features and needs a tap"),
        ('[[loss]]\nname = "kd"\ntap = "high"', "takes no tap"),
        (
            '[[loss]]\nname = "amd"\ntap = "hihg"\n[taps]\nhigh = ["a:output", "b:output"]',
            "unknown tap 'hihg'.*has high",
        ),
        (
            (
                '[[loss]]\nname = "amd"\ntap = "high"\nmargin = 9\n[taps]\nhigh = ["a:output",'
                ' "b:output"]'
            ),
            "margin",
        ),
        (
            '[[loss]]\nname = "amd"\ntap = "high"\n[taps]\nhigh = "a:output"',
            r"takes \[student module, teacher module\]",
        ),
    ],
)
def test_a_wrong_recipe_is_refused(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        terms_of(load_config(DistillConfig, file))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 4.0}, "temperature=4.0: the .*loss.* tables take its place"),
        ({"loss": "logit_mse", "alpha": 0.5}, "loss=logit_mse, alpha=0.5: the"),
    ],
)
def test_flags_that_a_recipe_would_ignore_are_refused(
    settings: dict[str, object], message: str
) -> None:
    for recipe in RECIPES:
        with pytest.raises(ConfigError, match=message):
            load_config(DistillConfig, recipe, **settings)


def test_label_smoothing_is_that_of_each_bce_without_its_own() -> None:
    def smoothing(table: dict[str, object], **settings: object) -> object:
        config = DistillConfig(losses=({"name": "kd"}, table), **settings)  # type: ignore[arg-type]
        return terms_of(config)[1].options.get("label_smoothing")

    own = {"name": "bce", "label_smoothing": 0.05}
    assert (
        smoothing({"name": "bce"})
        == terms_of(DistillConfig())[0].options["label_smoothing"]
        == 0.01
    )
    assert (smoothing({"name": "bce"}, label_smoothing=0.2), smoothing(own)) == (0.2, 0.05)
    for table in (own, {"name": "logit_mse"}):
        with pytest.raises(
            ConfigError, match=r"label_smoothing=0.2: takes a \[\[loss\]\] bce or ce that has no"
        ):
            smoothing(table, label_smoothing=0.2)
        assert smoothing(table, label_smoothing=0.2, alone=True) == table.get("label_smoothing"), (
            "alone takes it"
        )


def test_hidden_labels_need_sampling_that_takes_every_row() -> None:
    with pytest.raises(ConfigError, match="needs sampling=shuffled, not paired"):
        DistillConfig(labelled_share=0.1)


def test_schedules_run_from_start_to_end() -> None:
    term = Term.parse({"name": "kd", "weight": [1.0, 0.5], "temperature": [6, 2]})
    assert [term.weight_at(p) for p in (0.0, 0.5, 1.0)] == [1.0, 0.75, 0.5]
    rising = Term.parse({"name": "kd", "weight": 2.0, "warmup": 0.5})
    assert [rising.weight_at(p) for p in (0.0, 0.25, 0.5, 1.0)] == [0.0, 1.0, 2.0, 2.0]
    # type: ignore[attr-defined]
    assert [term.loss_at(p).temperature for p in (0.0, 0.5, 1.0)] == [6, 4, 2]
    one = objective(DistillConfig(losses=({"name": "kd", "weight": [2.0, 0.0]},)))
    views = torch.rand(4, 3, 64, 64)
    with torch.no_grad():
        start = one(views, torch.ones(4), ROWS)
        one.progress = 1.0
        end = one(views, torch.ones(4), ROWS)
    assert (
        float(start["total"]) == pytest.approx(2 * float(start["kd"])) and float(end["total"]) == 0
    )


def test_several_teachers_speak_with_the_mean_of_their_logits() -> None:
    student, first, second = build_model("pico", image_size=64), small("nano"), small("lite")
    config = DistillConfig(losses=({"name": "logit_mse", "clip": 1000.0},))
    views = torch.rand(4, 3, 64, 64)
    together = Distillation(student, [first, second], config).eval()
    with torch.no_grad():
        mean = together._outputs(views)[1].logit
        apart = [
            Distillation(student, [one], config)._outputs(views)[1].logit for one in (first, second)
        ]
    torch.testing.assert_close(mean, (apart[0] + apart[1]) / 2)


def test_a_teacher_named_twice_is_asked_once_and_counts_twice() -> None:
    student, first, second = build_model("pico", image_size=64), small("nano"), small("lite")
    config = DistillConfig()
    views = torch.rand(4, 3, 64, 64)
    together = Distillation(student, [first, second, copy.deepcopy(first)], config).eval()
    with torch.no_grad():
        mean = together._outputs(views)[1].logit
        apart = [
            Distillation(student, [one], config)._outputs(views)[1].logit for one in (first, second)
        ]
    torch.testing.assert_close(mean, (2 * apart[0] + apart[1]) / 3)
    assert [one.weight for one in together._teachers] == [2, 1]


def test_samples_are_weighed_by_the_teachers_confidence_or_the_face() -> None:
    assert confidence(torch.tensor([[0.0], [50.0], [-50.0]])).tolist() == pytest.approx([0, 1, 1])
    table = ({"name": "logit_mse", "clip": 1000.0},)
    views = torch.rand(4, 3, 64, 64)
    face = torch.tensor([1.0, 0.0, 0.0, 0.0])
    with torch.no_grad():
        one = objective(
            DistillConfig(losses=table, sample_weight="face_probability"), face_probability=face
        )
        student, teacher = (said.logit for said in one._outputs(views))
        total = one(views, torch.ones(4), ROWS)["total"]
    assert float(total) == pytest.approx(float((student[0] - teacher[0]).square() / 2), rel=1e-4)


def test_the_teacher_need_not_be_asked_about_forgeries_that_it_never_saw() -> None:
    views, labels, rows = (
        torch.rand(4, 3, 64, 64),
        torch.tensor([0.0, 1.0, 0.0, 1.0]),
        torch.tensor([0, NO_ROW, 2, 3]),
    )
    config = DistillConfig(losses=({"name": "bce"}, {"name": "logit_mse", "clip": 1000.0}))
    face = torch.tensor([0.5, 0.0, 0.5, 0.0])
    asked, alone = objective(config), objective(config.replace(blends_by_label=True))
    faces = objective(config.replace(sample_weight="face_probability"), face_probability=face)
    for one in (alone, faces):
        one.load_state_dict(asked.state_dict())
    with torch.no_grad():
        student, teacher = (said.logit.flatten() for said in asked._outputs(views))
        distances = (student - teacher).square() / 2
        all_terms, terms, weighed = (one(views, labels, rows) for one in (asked, alone, faces))
        nothing = alone(views, labels, torch.full((4,), NO_ROW))
    assert float(all_terms["logit_mse"]) == pytest.approx(float(distances.mean()), rel=1e-4)
    assert float(terms["logit_mse"]) == pytest.approx(float(distances[[0, 2, 3]].mean()), rel=1e-4)
    assert float(terms["bce"]) == pytest.approx(float(all_terms["bce"])), "labels teach all of them"
    assert float(nothing["logit_mse"]) == 0 and float(nothing["bce"]) > 0
    by_face = (0.5 * distances[0] + distances[1] + 0.5 * distances[2]) / 2
    assert float(weighed["logit_mse"]) == pytest.approx(float(by_face), rel=1e-4), (
        "a forgery has no face of its own"
    )
    with pytest.raises(ConfigError, match="mixup and blends_by_label"):
        config.replace(mixup=0.2, blends_by_label=True)


def test_face_probabilities_must_be_in_the_index(crops: Path, tmp_path: Path) -> None:
    config = DistillConfig(
        student="pico", image_size=64, sample_weight="face_probability", workers=0
    )
    with pytest.raises(DataError, match="crops without one"):
        distill([small("nano")], crops, tmp_path, config)


def test_the_teachers_noise_has_no_bias_and_falls_on_a_share() -> None:
    torch.manual_seed(0)
    logits = torch.full((200_000, 1), 2.0)
    changed = noisy(logits, sigma=0.5, share=0.25)
    assert float(changed.mean()) == pytest.approx(2.0, abs=0.01)
    assert float((changed != logits).float().mean()) == pytest.approx(0.25, abs=0.01)
    assert float(changed[changed != logits].std()) == pytest.approx(1.0, abs=0.02)
    assert torch.equal(noisy(logits, sigma=0.5, share=0.0), logits)


def test_mixup_blends_views_and_labels_alike_and_keeps_gaps() -> None:
    torch.manual_seed(0)
    labels = torch.tensor([0.0, 1.0, 1.0, 0.0])
    views = labels.view(4, 1, 1, 1).expand(4, 3, 2, 2)
    mixed_views, mixed_labels = mix(views, labels, alpha=0.4)
    torch.testing.assert_close(mixed_views[:, 0, 0, 0], mixed_labels)
    assert 0 < float(mixed_labels.max()) <= 1
    torch.manual_seed(3)
    gaps = mix(views, torch.tensor([float("nan"), 1.0, 1.0, 0.0]), alpha=0.4)[1]
    assert 1 <= int(gaps.isnan().sum()) <= 2


def test_labels_are_hidden_by_family_and_always_the_same(crops: Path) -> None:
    known = load_crops(crops, "train")
    hidden = with_labels_hidden(known, 0.5)
    assert [row.label for row in hidden.rows] == [
        row.label for row in with_labels_hidden(known, 0.5).rows
    ]
    by_family = {row.original: set() for row in hidden.rows}  # type: ignore[var-annotated]
    for row in hidden.rows:
        by_family[row.original].add(bool(row.label))
    assert all(len(kinds) == 1 for kinds in by_family.values())
    assert 0 < sum(kinds == {True} for kinds in by_family.values()) < len(by_family)
    assert with_labels_hidden(known, 1.0).rows == known.rows


def test_munge_stays_near_its_neighbours() -> None:
    points = torch.tensor([[0.0, 0.0], [1.0, 1.0], [10.0, 10.0], [11.0, 11.0]])
    new = munge(points, swap=1.0, spread=1e6)
    torch.testing.assert_close(new, points[[1, 0, 3, 2]], atol=1e-3, rtol=0)
    assert torch.equal(munge(points, swap=0.0), points)
    assert torch.equal(munge(points, seed=1), munge(points, seed=1))
