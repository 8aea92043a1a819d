"""A tiny distillation for tests: settings with labels, teacher and a hint, and one batch."""

import torch

from deepkd.settings.training import DistillConfig

TAPS = {"hint": ["conv_head:output", "conv_head:output"]}
TERMS = (
    {"name": "bce", "weight": 0.3},
    {"name": "kd", "weight": 0.7},
    {"name": "hint", "weight": 1.0, "tap": "hint"},
)
"""Labels, teacher and a hint."""
TINY = DistillConfig(
    student="pico",
    image_size=32,
    batch=8,
    epochs=1,
    workers=0,
    augment="light",
    ema=0.9,
    lr=2e-3,
)
WITH_HINT = TINY.replace(losses=TERMS, taps=TAPS)
ROWS = torch.arange(4)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Four views, (4, 3, 32, 32), and their labels; one is unknown."""
    torch.manual_seed(0)
    return torch.rand(4, 3, 32, 32), torch.tensor([0.0, 1.0, float("nan"), 1.0])
