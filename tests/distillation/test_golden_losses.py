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


def dkd(s: Array, t: Array) -> float:
    total = 0.0
    for a, b, y in zip(s / 4, t / 4, LABELS, strict=True):
        p_s, p_t = softmax(a), softmax(b)
        target = divergence(np.array([p_t[y], 1 - p_t[y]]), np.array([p_s[y], 1 - p_s[y]]))
        rest = divergence(np.delete(p_t, y) / (1 - p_t[y]), np.delete(p_s, y) / (1 - p_s[y]))
        total += 16 * (target + 8 * rest)
    return total / len(s)


def standardized(s: Array, t: Array) -> float:
    z = [(row - row.mean()) / row.std() / 2 for row in (*s, *t)]
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
        own = [
            (x[i] @ x[j] / np.linalg.norm(x[i]) / np.linalg.norm(x[j]) + 1) / 2
            for j in range(len(x))
            if j != i
        ]
        return np.array(own) / sum(own)

    return np.mean([divergence(neighbours(t, i), neighbours(s, i)) for i in range(len(s))])


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
            e = math.exp(t[j] @ s[i] / 0.07)
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

    return np.mean([np.linalg.norm(place(a) - place(b)) for a, b in zip(s, t, strict=True)])


LOGITS, VECTORS, MAPS = (5, 4), (5, 6), (3, 4, 8, 8)
GOLDEN: list[tuple[Loss, Callable[[Array, Array], float], tuple[int, ...]]] = [
    (CE(), ce, LOGITS),
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


def examples(name: str) -> tuple[object, object]:
    """A student's and a teacher's input of other widths, several where the loss takes several."""
    torch.manual_seed(0)
    if LOSSES.load(name).inputs == "embedding":
        return torch.randn(6, 5, requires_grad=True), torch.randn(6, 7)
    sides = (8, 4) if LOSSES.load(name).is_several else (8,)
    mine = [torch.randn(6, 4, side, side, requires_grad=True) for side in sides]
    its = [torch.randn(6, 7, side, side) for side in sides]
    return (mine, its) if len(sides) > 1 else (mine[0], its[0])


@pytest.mark.parametrize("name", ["vid", "crd", "review_kd", "afd"])
def test_what_a_loss_learns_itself_trains_beside_the_student(name: str) -> None:
    student, teacher = examples(name)
    comparison = LOSSES.load(name)().make_comparison(student, teacher, rows=40)
    assert comparison is not None
    rows, labels = torch.tensor([3, 8, 20, 39, 0, -1]), torch.zeros(6)

    def value(weight: Tensor | None = None) -> Tensor:
        torch.manual_seed(1)
        found: Tensor = comparison(student, teacher, labels=labels, weight=weight, rows=rows)
        return found

    optimiser = torch.optim.Adam(comparison.parameters(), 0.01)
    first = float(value().detach())
    for _ in range(20):
        optimiser.zero_grad()
        value().backward()
        optimiser.step()
    assert float(value().detach()) < first
    for one in student if isinstance(student, list) else [student]:
        assert one.grad is not None and float(one.grad.abs().sum()) > 0  # type: ignore[union-attr]
    assert float(value(torch.zeros(6)).detach()) == 0


def test_the_memory_keeps_features_by_row_and_leaves_no_trace_in_eval_mode() -> None:
    loss = Contrastive(features=8, negatives=5)
    memory = loss.make_comparison(torch.randn(3, 4), torch.randn(3, 6), rows=10)
    before = memory.bank.clone()  # type: ignore[union-attr]
    teacher, rows = torch.randn(3, 6), torch.tensor([2, -1, 7])
    given = {"labels": torch.zeros(3), "weight": None, "rows": rows}
    memory.eval()(torch.randn(3, 4), teacher, **given)
    assert torch.equal(memory.bank, before)  # type: ignore[arg-type]
    memory.train()(torch.randn(3, 4), teacher, **given)
    changed = (memory.bank != before).any(1).nonzero().flatten()  # type: ignore[union-attr]
    assert changed.tolist() == [2, 7]
    feature = memory.teacher(teacher[:1])[0]  # type: ignore[operator]
    expected = before[2] / 2 + feature / feature.norm() / 2
    torch.testing.assert_close(memory.bank[2], (expected / expected.norm()).detach())  # type: ignore[index]


def test_several_taps_are_for_losses_that_compare_several() -> None:
    assert Term.parse({"name": "review_kd", "tap": ["a", "b"]}).taps == ("a", "b")
    with pytest.raises(ConfigError, match="takes one tap, not a"):
        Term.parse({"name": "amd", "tap": ["a", "b"]})
