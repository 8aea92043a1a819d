"""LOSSES: every distillation loss by its name.

Logit losses are called as `loss(student_logits, teacher_logits)`, feature losses as
`loss(student_map, teacher_map)`; `bce` takes labels in the teacher's place, `subclass_kd` a logit
per subclass. All take `weight`, (N,), which is 0 for samples to be left out, compute in float32 and
return a scalar.
"""

from collections.abc import Callable

from torch import Tensor

from deepkd.distillation.losses.angular import AngularMargin
from deepkd.distillation.losses.features import AttentionTransfer, Hint
from deepkd.distillation.losses.logits import BCE, KD, LogitMSE
from deepkd.distillation.losses.relations import Similarity
from deepkd.distillation.losses.subclasses import SubclassKD

Loss = Callable[..., Tensor]

LOGIT_LOSSES: dict[str, Callable[..., Loss]] = {
    "bce": BCE,
    "kd": KD,
    "logit_mse": LogitMSE,
    "subclass_kd": SubclassKD,
}
FEATURE_LOSSES: dict[str, Callable[..., Loss]] = {
    "attention_transfer": AttentionTransfer,
    "amd": AngularMargin,
    "similarity": Similarity,
    "hint": Hint,
}
LOSSES: dict[str, Callable[..., Loss]] = {**LOGIT_LOSSES, **FEATURE_LOSSES}
