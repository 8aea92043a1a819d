"""Chance that can be repeated, whatever the order, the batch and the process."""

import hashlib

import numpy as np


def chance(seed: int, *what: object) -> np.random.Generator:
    """A source of chance that hangs on its arguments alone."""
    text = "\0".join(map(str, (seed, *what)))
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    return np.random.default_rng(int.from_bytes(digest[:16]))
