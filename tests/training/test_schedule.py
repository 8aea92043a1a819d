"""Schedules worked by hand."""

import pytest
import torch
from torch import nn

from deepkd.training.schedule import adamw, average_weights, warmup_cosine


@pytest.mark.parametrize(("step", "share"), [(0, 0.5), (1, 1.0), (2, 1.0), (6, 0.5), (10, 0.0)])
def test_warmup_then_cosine(step: int, share: float) -> None:
    assert warmup_cosine(step, 10, 0.2) == pytest.approx(share)


def test_the_average_follows_fast_at_first_and_takes_buffers_along() -> None:
    net = nn.BatchNorm1d(1)
    average = average_weights(net, decay=0.999)
    average.update_parameters(net)  # the first update copies
    net.weight.data.fill_(12.0)
    net.running_mean.fill_(12.0)
    average.update_parameters(net)
    keep = 2 / 11  # (1 + n) / (10 + n) after n = 1 update
    assert average.module.weight.item() == pytest.approx(keep * 1 + (1 - keep) * 12)
    assert average.module.running_mean.item() == pytest.approx((1 - keep) * 12)


def test_vectors_are_not_decayed_and_frozen_weights_are_left_out() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Linear(2, 1))
    net[2].weight.requires_grad_(False)
    groups = adamw(net, 1e-3, 0.1).param_groups
    decayed = {group["weight_decay"]: [tuple(p.shape) for p in group["params"]] for group in groups}
    assert decayed == {0.1: [(2, 1, 1, 1)], 0.0: [(2,), (2,), (2,), (1,)]}
    assert all(isinstance(p, torch.nn.Parameter) for group in groups for p in group["params"])
