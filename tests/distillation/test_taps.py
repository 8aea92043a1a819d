"""Taps: layers of teacher and student whose outputs losses compare."""

import pytest
import torch
from distill_factory import WITH_HINT
from torch import nn

from deepkd.distillation.objective import Distillation
from deepkd.distillation.taps import Tap, TapReader
from deepkd.errors import ConfigError
from deepkd.models.registry import TorchModel, build_model


@pytest.mark.parametrize(
    ("student", "other", "message"),
    [
        ("conv_haed:output", "conv_head:output", "no such module; it has .*conv_head"),
        ("conv_head", "conv_head:output", "takes a module's name and :input or :output"),
        ("conv_head:output", "blocks.0:output", "both must have the same H and W"),
        ("conv_head:output", "classifier:output", "both must be maps"),
    ],
)
def test_a_wrong_tap_says_what_there_is(
    student: str, other: str, message: str, teacher: TorchModel
) -> None:
    config = WITH_HINT.replace(taps={"hint": [student, other]})
    with pytest.raises(ConfigError, match=message):
        Distillation(build_model("pico", image_size=32), [teacher], config)


def test_taps_read_both_sides_once() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    sides = {side: TapReader(net, Tap.parse(f"1:{side}")) for side in ("input", "output")}
    output = net(torch.ones(3, 2, 2))
    assert sides["input"].take().shape == (3, 4)
    assert sides["output"].take() is output
    with pytest.raises(ConfigError, match="never reached it"):
        sides["output"].take()


def test_the_published_teachers_patch_embeddings_can_be_tapped() -> None:
    teacher = build_model("cross-efficient-vit")
    taps = [
        TapReader(teacher.module, Tap.parse(f"{side}_image_embedder.to_patch_embedding:input"))
        for side in ("sm", "lg")
    ]
    with torch.inference_mode():
        teacher.module(torch.zeros(1, 3, 224, 224))
    assert [tuple(tap.take().shape) for tap in taps] == [(1, 1280, 7, 7), (1, 24, 56, 56)]
