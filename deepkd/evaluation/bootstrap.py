"""Bootstrap: how much a figure would vary if other sources had been drawn.

Crops of one source (a real video and the forgeries made from it) rise and fall together, so whole
sources are drawn, never single crops. A resample is a weight per row.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Ends = tuple[float | None, float | None]
"""Of an interval, low and high; None is infinity."""

_CELLS = 2_000_000
"""Weights held at once: resamples in one chunk times rows."""


def draw_resamples(source: npt.NDArray[np.intp], resamples: int, seed: int) -> Iterator[Array]:
    """Chunks of resamples: how often each row was drawn with its source, each (R, N).

    Args:
        source: the number of each row's source, from 0, (N,).
        resamples: how many there are in all.
        seed: the same one draws the same resamples.
    """
    random = np.random.default_rng(seed)
    sources = int(source.max()) + 1
    chunk = max(1, _CELLS // len(source))
    for start in range(0, resamples, chunk):
        times = random.multinomial(
            sources, np.full(sources, 1 / sources), size=min(chunk, resamples - start)
        )
        yield times[:, source].astype(float)


def percentiles(drawn: Array) -> Ends | None:
    """2.5% and 97.5% percentiles of a figure over resamples, (R,), without NaN; None if all are."""
    known = drawn[~np.isnan(drawn)]
    if not len(known):
        return None
    with np.errstate(invalid="ignore"):
        low, high = (
            float(end) if np.isfinite(end) else None for end in np.percentile(known, [2.5, 97.5])
        )
    return low, high


def reflect(value: float, ends: Ends) -> Ends:
    """The basic interval of a figure that noise only raises, 0 or more, made of its percentiles.

    As much as a resample is above the sample, the sample is above the truth (Davison and Hinkley
    1997, Bootstrap Methods and their Application, eq. 5.6): so `2 value - high` to `2 value - low`,
    cut at 0, and never beside `value`.
    """
    low, high = ends
    return (
        None if high is None else min(value, max(0.0, 2 * value - high)),
        None if low is None else max(value, 2 * value - low),
    )
