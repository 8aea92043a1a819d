"""Random numbers that depend only on a seed and names, not on the order, the batch or the process.

Training, distillation, evaluation and forging use them; this file imports none of these.
"""

import hashlib

import numpy as np


def share_of(name: str) -> float:
    """A number from 0 to 1 that depends only on the name."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8]) / 2**64


def chance(seed: int, *what: object) -> np.random.Generator:
    """A random generator that depends only on its arguments."""
    text = "\0".join(map(str, (seed, *what)))
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    return np.random.default_rng(int.from_bytes(digest[:16]))
