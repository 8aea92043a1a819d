"""Freed memory is used again, instead of being asked for anew."""

import subprocess
import sys

import pytest

from deepkd.training.memory import keep_freed_memory

ALLOCATE = """
import resource
import numpy as np
from deepkd.training.memory import keep_freed_memory
if {keep}:
    keep_freed_memory()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(40 << 20, np.uint8)
before = faults()
for _ in range(8):
    np.ones(40 << 20, np.uint8)
print(faults() - before)
"""


def count_faults(keep: bool) -> int:
    """Pages that eight equal blocks asked of the system, after a first one was freed."""
    script = ALLOCATE.format(keep=keep)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not keep_freed_memory(), reason="this C library cannot be told")
def test_a_freed_block_is_used_again() -> None:
    assert count_faults(keep=True) < 100
    assert count_faults(keep=False) > 1000
