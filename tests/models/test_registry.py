"""The registry builds what was published, within the budgets, and says what it does not know."""

import numpy as np
import pytest
import torch
from reference_cross_efficient_vit import expected_shapes, forward

from deepkd.errors import ConfigError, ModelError
from deepkd.models.cross_efficient_vit import patches
from deepkd.models.registry import (
    TorchModel,
    build_model,
    evaluating,
    model_spec,
    normalise,
)
from deepkd.models.students import undecided
from deepkd.scoring.model import InputFormat
from deepkd.settings.choices import MODELS

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
            undecided(encoder)


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


def test_students_keep_their_budget() -> None:
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
    assert MODELS.load(name).format.size % 32 == 0


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
