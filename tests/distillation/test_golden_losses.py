"""Losses of the literature against plain loops in float64, written from their formulas."""

import math
from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
import torch
from torch import Tensor

from deepkd.distillation.losses.afd import AttentionFeatures
from deepkd.distillation.losses.ce import CE
from deepkd.distillation.losses.crd import Contrastive
from deepkd.distillation.losses.dist import Dist
from deepkd.distillation.losses.dkd import DecoupledKD
from deepkd.distillation.losses.kd import KD
from deepkd.distillation.losses.kd_standardized import StandardizedKD
from deepkd.distillation.losses.loss import Loss
from deepkd.distillation.losses.nst import NeuronSelectivity
from deepkd.distillation.losses.pkt import ProbabilisticTransfer
from deepkd.distillation.losses.review_kd import ReviewKD
from deepkd.distillation.losses.rkd import RelationalAngle, RelationalDistance
from deepkd.distillation.losses.vid import VariationalInformation
from deepkd.distillation.terms import Term
from deepkd.errors import ConfigError
from deepkd.settings.choices import LOSSES

Array = np.ndarray
LABELS = (0, 2, 1, 3, 2)


def drawn(*shape: int) -> tuple[Array, Array]:
    student, teacher = np.random.default_rng(3).standard_normal((2, *shape))
    return student, teacher


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max())
    return e / e.sum()


def divergence(p: Array, q: Array) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def ce(s: Array, t: Array) -> float:
    return -np.mean([math.log(softmax(z)[y]) for z, y in zip(s, LABELS, strict=True)])


def kd(s: Array, t: Array) -> float:
    return 9 * np.mean(
        [divergence(softmax(b / 3), softmax(a / 3)) for a, b in zip(s, t, strict=True)]
    )


def dkd(s: Array, t: Array) -> float:
    total = 0.0
    for a, b, y in zip(s / 4, t / 4, LABELS, strict=True):
        p_s, p_t = softmax(a), softmax(b)
        target = divergence(np.array([p_t[y], 1 - p_t[y]]), np.array([p_s[y], 1 - p_s[y]]))
        rest = divergence(np.delete(p_t, y) / (1 - p_t[y]), np.delete(p_s, y) / (1 - p_s[y]))
        total += 16 * (target + 8 * rest)
    return total / len(s)


def standardized(s: Array, t: Array) -> float:
    z = [(row - row.mean()) / row.std(ddof=1) / 2 for row in (*s, *t)]
    half = len(s)
    return 4 * np.mean([divergence(softmax(z[half + i]), softmax(z[i])) for i in range(half)])


def dist(s: Array, t: Array) -> float:
    p_s, p_t = np.array([softmax(z) for z in s]), np.array([softmax(z) for z in t])
    inter = np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in zip(p_s, p_t, strict=True)])
    intra = np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in zip(p_s.T, p_t.T, strict=True)])
    return inter + intra


def huber(x: float) -> float:
    return x * x / 2 if abs(x) < 1 else abs(x) - 0.5


def rkd_distance(s: Array, t: Array) -> float:
    pairs = list(permutations(range(len(s)), 2))
    d = [np.array([np.linalg.norm(x[i] - x[j]) for i, j in pairs]) for x in (s, t)]
    return np.mean([huber(a - b) for a, b in zip(*(x / x.mean() for x in d), strict=True)])


def rkd_angle(s: Array, t: Array) -> float:
    def cosine(x: Array, i: int, j: int, k: int) -> float:
        a, b = x[i] - x[j], x[k] - x[j]
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    triples = permutations(range(len(s)), 3)
    return np.mean([huber(cosine(s, *three) - cosine(t, *three)) for three in triples])


def pkt(s: Array, t: Array) -> float:
    def neighbours(x: Array, i: int) -> Array:
        kernel = [(x[i] @ y / np.linalg.norm(x[i]) / np.linalg.norm(y) + 1) / 2 for y in x]
        return np.array(kernel) / sum(kernel)

    total = 0.0
    for i in range(len(s)):
        for a, b in zip(neighbours(t, i), neighbours(s, i), strict=True):
            total += a * math.log((a + 1e-7) / (b + 1e-7))
    return total / len(s)


def vid(s: Array, t: Array) -> float:
    return np.mean([(a - b) ** 2 / 2 for a, b in zip(s.ravel(), t.ravel(), strict=True)])


def nst(s: Array, t: Array) -> float:
    def kernel(x: Array, y: Array) -> float:
        values = [
            (a.ravel() @ b.ravel() / np.linalg.norm(a) / np.linalg.norm(b)) ** 2
            for a in x
            for b in y
        ]
        return np.mean(values)

    return np.mean(
        [kernel(b, b) + kernel(a, a) - 2 * kernel(b, a) for a, b in zip(s, t, strict=True)]
    )


def crd(s: Array, t: Array) -> float:
    s, t = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (s, t))
    count, total = len(s), 0.0
    noise = (count - 1) / count  # K / M
    for i in range(count):
        for j in range(count):
            for product in (s[i] @ t[j], t[i] @ s[j]):
                e = math.exp(product / 0.07)
                h = e / (e + noise)
                total -= math.log(h) if i == j else math.log(1 - h)
    return total / count


def review_kd(s: Array, t: Array) -> float:
    def pooled(x: Array, side: int) -> Array:
        cells = [np.array_split(np.arange(x.shape[-1]), side)] * 2
        return np.array([[x[..., r, :][..., c].mean((-1, -2)) for c in cells[1]] for r in cells[0]])

    total = ((s - t) ** 2).mean()
    for share, side in ((1 / 2, 4), (1 / 4, 2), (1 / 8, 1)):
        total += share * ((pooled(s, side) - pooled(t, side)) ** 2).mean()
    return total / (1 + 1 / 2 + 1 / 4 + 1 / 8)


def afd(s: Array, t: Array) -> float:
    def place(x: Array) -> Array:
        flat = (x**2).mean(0).ravel()
        return flat / np.linalg.norm(flat)

    return np.mean([((place(a) - place(b)) ** 2).mean() for a, b in zip(s, t, strict=True)])


LOGITS, VECTORS, MAPS = (5, 4), (5, 6), (3, 4, 8, 8)
GOLDEN: list[tuple[Loss, Callable[[Array, Array], float], tuple[int, ...]]] = [
    (CE(), ce, LOGITS),
    (KD(), kd, LOGITS),
    (DecoupledKD(), dkd, LOGITS),
    (StandardizedKD(), standardized, LOGITS),
    (Dist(), dist, LOGITS),
    (RelationalDistance(), rkd_distance, VECTORS),
    (RelationalAngle(), rkd_angle, VECTORS),
    (ProbabilisticTransfer(), pkt, VECTORS),
    (Contrastive(), crd, VECTORS),
    (VariationalInformation(), vid, MAPS),
    (NeuronSelectivity(), nst, MAPS),
    (ReviewKD(), review_kd, MAPS),
    (AttentionFeatures(), afd, MAPS),
]


@pytest.mark.parametrize(("loss", "worked", "shape"), GOLDEN, ids=lambda one: type(one).__name__)
def test_the_formula_in_plain_loops(
    loss: Loss,
    worked: Callable[[Array, Array], float],
    shape: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Tensor, "float", Tensor.double)
    student, teacher = drawn(*shape)
    labels = torch.tensor(LABELS[: len(student)])
    found = loss(torch.from_numpy(student), torch.from_numpy(teacher), labels=labels, weight=None)
    assert float(found) == pytest.approx(worked(student, teacher), rel=1e-6)


@pytest.mark.parametrize("name", ["dkd", "kd_standardized", "dist"])
@pytest.mark.parametrize("columns", [1, 2])
def test_two_classes_are_refused_with_the_reason(name: str, columns: int) -> None:
    z = torch.randn(4, columns)
    with pytest.raises(ConfigError, match="three or more classes; with two"):
        LOSSES.load(name)()(z, z, labels=torch.zeros(4), weight=None)


def test_two_classes_say_nothing_which_is_why() -> None:
    """DKD's other part is 0, standardised logits are signs, two columns correlate fully."""
    z = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    signs = (z - z.mean(1, keepdim=True)) / z.std(1, correction=0, keepdim=True)
    torch.testing.assert_close(signs.abs(), torch.ones_like(z))
    correlations = [abs(float(torch.corrcoef(torch.stack((p, p.flip(0))))[0, 1])) for p in z]
    assert correlations == pytest.approx([1.0] * 6)


def test_several_taps_are_for_losses_that_compare_several() -> None:
    assert Term.parse({"name": "review_kd", "tap": ["a", "b"]}).taps == ("a", "b")
    with pytest.raises(ConfigError, match="takes one tap, not a"):
        Term.parse({"name": "amd", "tap": ["a", "b"]})
