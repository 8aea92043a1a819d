"""The processes of a training: device, arithmetic, and the others that `torchrun` started."""

import itertools
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed as dist

from deepkd.models.devices import pick_device
from deepkd.training.memory import keep_freed_memory

PATIENCE = timedelta(hours=12)
"""How long processes wait for one another: while the first one validates, the others do nothing
else."""
_TRAININGS = itertools.count()
"""Numbers the trainings that this process has a part in."""


@dataclass(frozen=True)
class DistributedContext:
    """One process of a training: its device, its rank among `world` processes, its arithmetic."""

    device: torch.device
    rank: int = 0
    world: int = 1
    bf16: bool = False

    @property
    def leads(self) -> bool:
        """Whether this process validates and writes files."""
        return self.rank == 0

    def autocast(self) -> AbstractContextManager[None]:
        """bf16 autocast where it is on."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def agree(self, value: float) -> float:
        """The leader's value, in every process."""
        if self.world == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.broadcast(shared, src=0)
        return float(shared.item())

    def largest(self, value: float) -> float:
        """The largest value that a process has."""
        if self.world == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        return float(shared.item())


def leads() -> bool:
    """Whether this process writes and prints for all that `torchrun` started."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def distributed(device: str, precision: str) -> Iterator[DistributedContext]:
    """Join the processes that `torchrun` started, if any, and leave them at the end."""
    chosen = pick_device(device)
    if chosen.type == "cpu":
        keep_freed_memory()
    bf16 = precision == "bf16" or (precision == "auto" and chosen.type == "cuda")
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield DistributedContext(chosen, bf16=bf16)
        return
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(chosen)
    from torch.distributed.distributed_c10d import PrefixStore  # not in every build of PyTorch
    from torch.distributed.rendezvous import rendezvous

    common, rank, world = next(rendezvous("env://"))
    # Under a name of its own, as addresses of an earlier training of the same processes lead
    # nowhere.
    store = PrefixStore(f"training {next(_TRAININGS)}", common)
    backend = "nccl" if chosen.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=PATIENCE)
    try:
        yield DistributedContext(chosen, rank, world, bf16)
    finally:
        dist.destroy_process_group()
