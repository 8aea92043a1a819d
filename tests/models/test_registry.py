"""The registry builds what was published, within the budgets, and says what it does not know."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from reference_cross_efficient_vit import expected_shapes, forward
from slim_models import SLIM

from deepkd.benchmark.candidates import open_model
from deepkd.errors import ConfigError, ModelError
from deepkd.models.checkpoints import load_checkpoint, save_model
from deepkd.models.cross_efficient_vit import patches
from deepkd.models.export import export_onnx
from deepkd.models.registry import (
    TorchModel,
    build_model,
    check_network,
    evaluating,
    model_spec,
    normalise,
)
from deepkd.models.spec import ModelSpec
from deepkd.models.students import reset_classifier
from deepkd.scoring.model import InputFormat, Scorer
from deepkd.settings.choices import MODELS
from deepkd.settings.distillation import DistillConfig
from deepkd.settings.training import TrainConfig
from deepkd.training.supervised import start_model

PUBLISHED_PARAMETERS = 101_377_610
BUDGET = 506_888
"""99.5% fewer than the published teacher's."""


@pytest.fixture(scope="module")
def teacher() -> TorchModel:
    torch.manual_seed(0)
    return build_model("cross-efficient-vit")


def test_the_teacher_is_the_published_one(teacher: TorchModel) -> None:
    assert teacher.params == PUBLISHED_PARAMETERS
    found = {name: tuple(tensor.shape) for name, tensor in teacher.module.state_dict().items()}
    assert found == expected_shapes()


def test_the_teachers_logits_are_those_of_the_reference(teacher: TorchModel) -> None:
    torch.manual_seed(1)
    image = torch.rand(2, 3, 224, 224) * 255
    with torch.inference_mode():
        logits = teacher.module(image)
        expected = forward(teacher.module.state_dict(), image)
    assert logits.shape == (2, 1)
    assert float(logits.std()) > 0
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)


def test_patches_run_over_rows_with_channels_last() -> None:
    image = torch.arange(2 * 4 * 4).reshape(1, 2, 4, 4)
    tokens = patches(image, 2)
    assert tokens.shape == (1, 4, 8)
    assert tokens[0, 1].tolist() == [2, 18, 3, 19, 6, 22, 7, 23]


def test_efficient_vit_scores_do_not_depend_on_the_batch() -> None:
    torch.manual_seed(0)
    model = build_model("efficient-vit")
    assert model.params == 109_447_781
    crops = list(np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8))
    together = model.logits(crops)
    np.testing.assert_allclose(together, [model.logits([crop])[0] for crop in crops], atol=1e-5)


@pytest.mark.parametrize("name", ["pico", "nano", "lite", "resnet18", "mobilenetv2_100"])
def test_students_and_timm_classifiers_give_one_logit(name: str) -> None:
    model = build_model(name, image_size=64)
    with torch.inference_mode():
        assert model.module(torch.zeros(3, 3, 64, 64)).shape == (3, 1)
    assert model.macs > 0 and model.format.size == 64


@pytest.mark.parametrize(
    ("name", "size", "usual"),
    [("meso4", 64, 256), ("efficient-vit", 192, 224), ("deit_tiny_patch16_224", 96, 224)],
)
def test_a_side_that_an_architecture_cannot_take_is_refused(
    name: str, size: int, usual: int
) -> None:
    with pytest.raises(
        ConfigError,
        match=rf"^{name}: cannot take image_size={size} \(.*\); it is made for {usual} px",
    ):
        build_model(name, image_size=size)


@pytest.mark.parametrize("changes", [{}, {"image_size": 256}, {"format": InputFormat(size=64)}])
def test_the_usual_side_and_that_of_a_checkpoint_are_not_tried(
    changes: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "deepkd.models.meso.Meso4.forward", lambda self, image: pytest.fail("a pass for nothing")
    )
    assert not build_model("meso4", **changes).module.training


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("name", ["repvit_m0_9", "efficientformerv2_s0", "levit_conv_128s"])
def test_classifiers_with_several_or_wrapped_heads_start_undecided(name: str, outputs: int) -> None:
    module = model_spec(name).build(outputs=outputs).eval()
    with torch.inference_mode():
        assert torch.equal(module(torch.rand(1, 3, 224, 224)), torch.zeros(1, outputs))


def test_what_is_no_classifier_is_refused() -> None:
    class Encoder(torch.nn.Module):
        def get_classifier(self) -> torch.nn.Module:
            return torch.nn.Identity()

    for encoder in (Encoder(), torch.nn.Identity()):
        with pytest.raises(ModelError, match="ends in no layer of 1 logits; choose a classifier"):
            reset_classifier(encoder)


def test_meso4_has_the_published_parameters_and_one_logit() -> None:
    model = build_model("meso4")
    assert model.params == 27_977
    assert (model.format.size, model.format.mean, model.format.std) == (256, (0, 0, 0), (1, 1, 1))
    crops = list(np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8))
    assert model.logits(crops).tolist() == [0.0, 0.0], "undecided before training"
    widths = [
        tuple(part.weight.shape)
        for part in model.module.modules()
        if isinstance(part, torch.nn.Conv2d)
    ]
    assert widths == [(8, 3, 3, 3), (8, 8, 5, 5), (16, 8, 5, 5), (16, 16, 5, 5)]
    several = build_model("meso4", subclasses=("REAL", "FAKE/a", "FAKE/b"))
    assert several.logits(crops) == pytest.approx(np.log([2, 2])), (
        "one of three undecided columns is REAL"
    )


def test_wide_residual_networks_have_the_published_parameters() -> None:
    """Jeon et al. 2023 give 1.5 M and 0.18 M for ten classes."""
    sizes = [sum(p.numel() for p in model_spec(name).build(outputs=10).parameters())
             for name in ("wrn-16-3", "wrn-16-1")]  # fmt: skip
    assert sizes == [1_549_530, 175_066]


def test_students_keep_their_budget(teacher: TorchModel) -> None:
    assert 100 * (1 - build_model("nano").params / teacher.params) > 99.5
    assert build_model("pico").params < 200_000
    assert build_model("nano").params <= BUDGET
    kinds = {type(part).__name__ for part in build_model("nano").module.modules()}
    assert "ReLU6" in kinds and not {"SqueezeExcite", "SiLU"} & kinds


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(
        ConfigError, match=r"unknown model 'nanoo' \(did you mean nano.*cross-efficient-vit"
    ):
        build_model("nanoo")


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_a_published_format(name: str) -> None:
    assert MODELS.load(name).format.size in (28, *range(32, 257, 32)), "28 px are MNIST's"


def test_normalise_obeys_the_format() -> None:
    view = torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1)
    raw = InputFormat(color="BGR", value_range=255.0, mean=(0, 0, 0), std=(1, 1, 1))
    assert normalise(view, raw).flatten().tolist() == pytest.approx([153, 102, 51])
    usual = InputFormat(mean=(0.2, 0.2, 0.2), std=(0.1, 0.2, 0.4))
    assert normalise(view, usual).flatten().tolist() == pytest.approx([0, 1, 1])


def test_evaluating_restores_each_modules_mode() -> None:
    net = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.BatchNorm2d(2))
    net.train()
    net[1].eval()
    with evaluating(net):
        assert not net[0].training
    assert net[0].training and not net[1].training


def test_evaluating_leaves_alone_what_is_in_eval_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    net = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.BatchNorm2d(2)).eval()
    net[0].train()
    with evaluating(net):
        assert not net[0].training, "though the whole was in eval mode"
    assert net[0].training and not net.training
    net.eval()
    monkeypatch.setattr(torch.nn.Module, "eval", lambda self: pytest.fail("a call for nothing"))
    with evaluating(net):
        assert not net[0].training
    assert not net.training


class TwoOutputs(torch.nn.Module):
    """A backbone that ignores how many outputs it is asked for."""

    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        self.classifier = torch.nn.Linear(3, 2)

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        return self.classifier(views.mean((2, 3)))


TWO_OUTPUTS = ModelSpec(TwoOutputs, InputFormat(size=64))


def test_a_network_with_two_outputs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS.targets, "two", f"{__name__}:TWO_OUTPUTS")
    message = r"^two: its network gives \(2, 2\) for 2 crops, not \(2, 1\)"
    with pytest.raises(ModelError, match=message):
        start_model("two", TrainConfig(model="two"))
    with pytest.raises(ModelError, match=message):
        open_model("two", threads=1)
    crops = [np.zeros((64, 64, 3), np.uint8)] * 2
    with pytest.raises(ModelError, match=message):
        build_model("two").logits(crops)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_keeps_the_contract(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODELS, "targets", MODELS.targets | SLIM)
    spec = MODELS.load(name)
    assert isinstance(spec, ModelSpec)
    assert TrainConfig(model=name).model == DistillConfig(student=name).student == name
    for subclasses in ((), ("REAL", "FAKE/a", "FAKE/b")):
        check_network(build_model(name, subclasses=subclasses))
    model = build_model(name)
    crops = list(np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8))
    assert np.abs(model.logits(crops)).max() < 5, "an untrained model is undecided"
    views = torch.rand(2, 3, model.format.size, model.format.size)
    model.module.train()
    model.module(views).square().sum().add(model.module(views).sum()).backward()
    learned = [one.grad for one in model.module.parameters() if one.grad is not None]
    assert learned and all(one.isfinite().all() for one in learned), "gradients reach the weights"
    model.module.zero_grad(set_to_none=True)
    for parameter in model.module.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter.data, 0, 0.1)
    model.module.eval()
    model.trained = True
    again = load_checkpoint(save_model(model, tmp_path / "m.safetensors"))
    scorer = Scorer.load(export_onnx(again, tmp_path / "m.onnx"))
    assert again.params == scorer.params == model.params and again.shape == jsonable(model.shape)
    expected = model.logits(crops)
    np.testing.assert_array_equal(again.logits(crops), expected)
    np.testing.assert_allclose(scorer.logits(crops), expected, atol=1e-3, rtol=1e-3)


def jsonable(shape: dict[str, object] | None) -> object:
    return json.loads(json.dumps(shape))


def test_the_names_of_students_are_those_of_the_shipped_models() -> None:
    shipped = Scorer.load("deepkd-nano")
    nano, pico = build_model("nano"), build_model("pico")
    assert (nano.params, nano.macs) == (shipped.params, shipped.macs) == (498_937, 52_313_728)
    assert nano.format.size == shipped.format.size == 160
    assert pico.params <= 170_000


@pytest.mark.parametrize("name", ["micro", "nano", "pico"])
def test_students_of_older_checkpoints_load_by_their_shape(name: str, tmp_path: Path) -> None:
    old = {"width": 0.4, "depth": 0.6, "head": 256, "stem": 16}
    model = build_model("lite", shape=old)
    model.name, model.trained, model.architecture = name, True, name
    again = load_checkpoint(save_model(model, tmp_path / "m.safetensors"))
    assert (again.architecture, again.name, again.params) == ("lite", name, 463_617)
    crops = list(np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8))
    np.testing.assert_array_equal(again.logits(crops), model.logits(crops))
