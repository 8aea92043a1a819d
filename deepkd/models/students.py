"""Students: a family of small EfficientNets without squeeze-and-excitation, with ReLU6.

They quantise well and run fast on CPUs. Widths and depths scale the stages of EfficientNet-Lite0
(Tan & Le 2019); stem and head are narrower, as they would hold most of so few parameters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from timm.models import EfficientNet
from timm.models._efficientnet_builder import decode_arch_def, round_channels
from torch import nn

from deepkd.errors import ModelError
from deepkd.models.spec import ModelSpec
from deepkd.scoring.model import InputFormat

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
HALF_STAGES = (
    ("ds_r1_k3_s1_e1_c16",),
    ("ir_r1_k3_s2_e4.5_c24",),
    ("ir_r1_k5_s2_e3_c40",),
    ("ir_r1_k3_s2_e3.4_c80", "ir_r1_k3_s1_e2.4_c80"),
    ("ir_r1_k5_s1_e2.6_c112", "ir_r1_k5_s1_e2.57_c112"),
    ("ir_r1_k5_s2_e2.57_c192", "ir_r1_k5_s1_e1.375_c192"),
    ("ir_r1_k3_s1_e1.625_c104",),
)
"""The blocks that pruning left of half an EfficientNet-Lite0, as in the shipped deepkd-nano."""


@dataclass(frozen=True)
class LiteShape:
    """The shape of a student; a checkpoint records it."""

    width: float
    """Multiplier of the stages' channels, rounded to 8."""
    depth: float
    """Multiplier of the stages' repeats, rounded up."""
    head: int
    """Channels of the last map."""
    stem: int = 16
    """Channels of the first convolution."""
    stages: Sequence[Sequence[str]] = LITE_STAGES
    """The blocks of each stage, in timm's block notation."""

    @classmethod
    def parse(cls, recorded: Mapping[str, Any]) -> "LiteShape":
        """Read a shape as a checkpoint records it; older checkpoints record no stages.

        Raises:
            ModelError: an unknown key, or none where one is needed.
        """
        try:
            shape = cls(**recorded)
        except TypeError as error:
            raise ModelError(f"shape {dict(recorded)}: not that of a student") from error
        return replace(shape, stages=tuple(tuple(stage) for stage in shape.stages))


def build_student(shape: LiteShape, outputs: int = 1) -> nn.Module:
    """An untrained student: (N, 3, S, S) -> logits (N, outputs), any S that is a multiple of 32."""
    student = EfficientNet(
        block_args=decode_arch_def(
            [list(stage) for stage in shape.stages], shape.depth, fix_first_last=True
        ),
        num_features=shape.head,
        num_classes=outputs,
        stem_size=shape.stem,
        fix_stem=True,
        round_chs_fn=partial(round_channels, multiplier=shape.width, divisor=8),
        act_layer=nn.ReLU6,
        norm_layer=nn.BatchNorm2d,
    )
    return reset_classifier(student, outputs)


def reset_classifier(classifier: Any, outputs: int = 1) -> nn.Module:
    """Set the last layers of a timm classifier to zero, so that every crop starts at logit 0.

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
        undecided_layer(layer)
    return classifier


def undecided_layer(layer: Any) -> None:
    """Set a last layer to zero."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _build_lite(outputs: int = 1, **shape: Any) -> nn.Module:
    return build_student(LiteShape.parse(shape), outputs)


def _spec(shape: LiteShape) -> ModelSpec:
    return ModelSpec(_build_lite, InputFormat(size=160), asdict(shape))


PICO = _spec(LiteShape(width=0.25, depth=0.5, head=128))
NANO = _spec(LiteShape(width=1.0, depth=1.0, head=128, stem=24, stages=HALF_STAGES))
LITE = _spec(LiteShape(width=0.75, depth=0.8, head=512, stem=24))
"""The generic student: any shape, this one unless given."""
