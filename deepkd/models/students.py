"""Students: a Lite-style EfficientNet family (ReLU6, no squeeze-and-excitation) that quantises and runs well on CPUs.

Widths and depths scale the EfficientNet-Lite0 stages (Tan & Le 2019); stem and head are narrower
than Lite0's, where most of so small a model's parameters would otherwise sit.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from timm.models import EfficientNet
from timm.models._efficientnet_builder import decode_arch_def, round_channels
from torch import nn

from deepkd.errors import ModelError

LITE_STAGES = (
    ("ds_r1_k3_s1_e1_c16",),
    ("ir_r2_k3_s2_e6_c24",),
    ("ir_r2_k5_s2_e6_c40",),
    ("ir_r3_k3_s2_e6_c80",),
    ("ir_r3_k5_s1_e6_c112",),
    ("ir_r4_k5_s2_e6_c192",),
    ("ir_r1_k3_s1_e6_c320",),
)
"""timm's block notation: type, repeats, kernel, stride, expansion, channels."""


@dataclass(frozen=True)
class LiteShape:
    """The shape of a student: it travels with its weights."""

    width: float
    """Multiplier of the stages' channels, rounded to 8."""
    depth: float
    """Multiplier of the stages' repeats, rounded up."""
    head: int
    """Channels of the last map."""
    stem: int = 16
    """Channels of the first convolution."""


STUDENTS = {
    "pico": LiteShape(width=0.25, depth=0.5, head=128),
    "nano": LiteShape(width=0.4, depth=0.6, head=256),
    "micro": LiteShape(width=0.75, depth=0.8, head=512, stem=24),
}


def build_student(shape: LiteShape, outputs: int = 1) -> nn.Module:
    """An untrained student: (N, 3, S, S) -> logits (N, outputs), any S that is a multiple of 32."""
    student = EfficientNet(
        block_args=decode_arch_def(
            [list(stage) for stage in LITE_STAGES], shape.depth, fix_first_last=True
        ),
        num_features=shape.head,
        num_classes=outputs,
        stem_size=shape.stem,
        fix_stem=True,
        round_chs_fn=partial(round_channels, multiplier=shape.width, divisor=8),
        act_layer=nn.ReLU6,
        norm_layer=nn.BatchNorm2d,
    )
    return undecided(student, outputs)


def undecided(classifier: Any, outputs: int = 1) -> nn.Module:
    """A timm classifier with its last layers at zero: every crop starts at logit 0, not at a random large one.

    Some have several heads, whose mean or sum is the logit, or wrap their last layer; each layer of
    as many `outputs` in them is a last one.

    Raises:
        ModelError: it has no such layer.
    """
    heads = classifier.get_classifier() if hasattr(classifier, "get_classifier") else ()
    parts = [
        part
        for head in (heads if isinstance(heads, tuple) else (heads,))
        for part in head.modules()
    ]
    last = [
        part
        for part in parts
        if isinstance(part, nn.Linear | nn.Conv2d) and part.weight.shape[0] == outputs
    ]
    if not last:
        raise ModelError(
            f"{type(classifier).__name__}: ends in no layer of {outputs} logits; choose a"
            " classifier"
        )
    for layer in last:
        nn.init.zeros_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return classifier
