"""Processes that train together wait for one another for as long as validation takes."""

import importlib
from datetime import timedelta
from typing import Any

import pytest
from torch import distributed as dist

from deepkd.training.processes import distributed


class Asked(Exception):
    """Stands for a group of processes that is about to be joined."""


def test_processes_wait_for_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def join(*_: object, **named: object) -> None:
        asked.update(named)
        raise Asked

    monkeypatch.setenv("WORLD_SIZE", "2")
    rendezvous = importlib.import_module("torch.distributed.rendezvous")
    monkeypatch.setattr(rendezvous, "rendezvous", lambda _: iter([(dist.HashStore(), 0, 2)]))
    monkeypatch.setattr(dist, "init_process_group", join)
    with pytest.raises(Asked), distributed("cpu", "float32"):
        pass
    assert asked["timeout"] >= timedelta(hours=1), "by default ten minutes on GPUs, thirty on CPUs"
