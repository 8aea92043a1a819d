"""Chance that can be repeated, whatever the order, the batch and the process."""

import hashlib

import numpy as np


def share_of(name: str) -> float:
    """A number from 0 to 1 that depends on the name alone."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8]) / 2**64


def chance(seed: int, *what: object) -> np.random.Generator:
    """A source of chance that hangs on its arguments alone."""
    text = "\0".join(map(str, (seed, *what)))
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    return np.random.default_rng(int.from_bytes(digest[:16]))
