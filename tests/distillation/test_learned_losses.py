"""What losses learn or remember themselves, against plain loops in float64, and how it trains."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deepkd.distillation.losses.afd import AttentionFeatures
from deepkd.distillation.losses.crd import Contrastive
from deepkd.distillation.losses.loss import Comparison
from deepkd.distillation.losses.review_kd import ReviewKD
from deepkd.distillation.losses.vid import VariationalInformation
from deepkd.settings.choices import LOSSES

Array = np.ndarray
ROWS = torch.tensor([3, 8, 20, 39, 0, -1])


@pytest.fixture
def in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tensor, "float", Tensor.double)


def maps(*shapes: tuple[int, int, int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(6, *shape, generator=generator, dtype=torch.float64) for shape in shapes]


def compare(comparison: Comparison, student: object, teacher: object, **rest: object) -> Tensor:
    given = {"labels": torch.zeros(6), "weight": None, "rows": ROWS, **rest}
    found: Tensor = comparison(student, teacher, **given)
    return found


def weights(module: nn.Module) -> Array:
    array: Array = module.weight.detach().double().numpy()
    return array


@pytest.mark.usefixtures("in_float64")
def test_vid_in_loops_with_its_regression_and_variances() -> None:
    student, teacher = maps((2, 4, 4), (3, 2, 2))
    comparison = VariationalInformation().make_comparison(student, teacher, rows=9).double()
    with torch.no_grad():
        comparison.a.copy_(torch.tensor([0.5, -1.0, 2.0]).view(3, 1, 1))
    layers = [weights(comparison.mean[i])[:, :, 0, 0] for i in (0, 2, 4)]
    total = 0.0
    for s, t in zip(student.numpy(), teacher.numpy(), strict=True):
        for i in range(2):
            for j in range(2):
                x = s[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean((1, 2))
                for number, layer in enumerate(layers):
                    x = layer @ x
                    x = np.maximum(x, 0) if number < 2 else x
                for c, a in enumerate((0.5, -1.0, 2.0)):
                    v = math.log(1 + math.exp(a)) + 1e-5
                    total += math.log(v) / 2 + (t[c, i, j] - x[c]) ** 2 / (2 * v)
    found = compare(comparison, student, teacher)
    assert float(found.detach()) == pytest.approx(total / (6 * 3 * 2 * 2))


def test_the_variances_of_vid_begin_at_five() -> None:
    comparison = VariationalInformation().make_comparison(*maps((2, 4, 4), (3, 4, 4)), rows=9)
    start = nn.functional.softplus(comparison.a) + 1e-5
    assert start.flatten().tolist() == pytest.approx([5.0] * 3, rel=1e-6)


@pytest.mark.usefixtures("in_float64")
def test_afd_in_loops_with_its_attention() -> None:
    student, teacher = maps((2, 4, 4), (3, 2, 2)), maps((4, 4, 4), (5, 4, 4), (2, 2, 2))
    torch.manual_seed(0)
    loss = AttentionFeatures(features=4)
    comparison = loss.make_comparison(student, teacher, rows=9).double()

    def layer(module: nn.Module, x: Array) -> Array:
        x = x @ weights(module.linear).T + module.linear.bias.detach().numpy()
        return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)

    def place(x: Array, side: int) -> Array:
        squares, step = (x**2).mean(0), x.shape[1] // side
        cells = squares.reshape(side, step, side, step).mean((1, 3)).ravel()
        return cells / np.linalg.norm(cells)

    s, t = [x.numpy() for x in student], [x.numpy() for x in teacher]
    queries = [layer(m, x.mean((2, 3))) for m, x in zip(comparison.queries, t, strict=True)]
    keys = [
        np.maximum(layer(m, x.mean((2, 3))), 0) for m, x in zip(comparison.keys, s, strict=True)
    ]
    mixed = layer(comparison.bilinear, np.stack(keys, 1).reshape(12, 4)).reshape(6, 2, 3, 4)
    e_t, e_s = (p.detach().numpy() for p in (comparison.place_t, comparison.place_s))
    total = 0.0
    for n in range(6):
        for i in range(3):
            scores = [(mixed[n, j, i] @ queries[i][n] + e_t[i] @ e_s[j]) / 2 for j in range(2)]
            shares = np.exp(scores) / np.exp(scores).sum()
            for j in range(2):
                side = min(t[i].shape[2], s[j].shape[2])
                total += shares[j] * ((place(t[i][n], side) - place(s[j][n], side)) ** 2).mean()
    found = compare(comparison, student, teacher)
    assert float(found.detach()) == pytest.approx(total / 6)


@pytest.mark.usefixtures("in_float64")
def test_crd_in_loops_with_its_memories() -> None:
    loss = Contrastive(features=3, negatives=4)
    student, teacher = (x[:, :, 0, 0] for x in maps((5, 1, 1), (2, 1, 1)))
    memory = loss.make_comparison(student, teacher, rows=40).double()
    banks = {"s": memory.students.numpy().copy(), "t": memory.teachers.numpy().copy()}
    torch.manual_seed(3)
    found = float(compare(memory, student, teacher).detach())
    torch.manual_seed(3)
    others = ((ROWS.clamp_min(0)[:, None] + torch.randint(1, 40, (6, 4))) % 40).numpy()

    def unit(layer: nn.Module, x: Tensor) -> Array:
        y = x.numpy() @ weights(layer).T + layer.bias.detach().numpy()
        return y / np.linalg.norm(y, axis=1, keepdims=True)

    now = {"s": unit(memory.student, student), "t": unit(memory.teacher, teacher)}
    total = 0.0
    for mine, its in (("s", "t"), ("t", "s")):
        e = np.array([
            [math.exp(now[mine][n] @ b / 0.07) for b in
             [banks[its][ROWS[n]] if ROWS[n] >= 0 else now[its][n], *banks[its][others[n]]]]
            for n in range(6)
        ])  # fmt: skip
        h = e / (e + 40 * e.mean() * 4 / 40)
        total -= np.log(h[:, 0]).sum() + np.log(1 - h[:, 1:]).sum()
    assert found == pytest.approx(total / 6)


@pytest.mark.usefixtures("in_float64")
def test_review_in_loops_with_its_fusion() -> None:
    student, teacher = maps((2, 4, 4), (3, 2, 2)), maps((4, 4, 4), (5, 2, 2))
    torch.manual_seed(0)
    comparison = ReviewKD().make_comparison(student, teacher, rows=9).double()

    def convolve(layer: nn.Module, x: Array) -> Array:
        w = weights(layer[0])
        edge, (_, _, height, width) = w.shape[2] // 2, x.shape
        padded = np.pad(x, ((0, 0), (0, 0), (edge, edge), (edge, edge)))
        y = np.zeros((len(x), len(w), height, width))
        for i in range(height):
            for j in range(width):
                patch = padded[:, :, i : i + w.shape[2], j : j + w.shape[3]]
                y[:, :, i, j] = np.einsum("nchw,ochw->no", patch, w)
        return (y - y.mean((0, 2, 3), keepdims=True)) / np.sqrt(
            y.var((0, 2, 3), keepdims=True) + 1e-5
        )

    def pooled(x: Array, side: int) -> Array:
        step = x.shape[2] // side
        return x.reshape(*x.shape[:2], side, step, side, step).mean((3, 5))

    deep = convolve(comparison.enter[1], student[1].numpy())
    own, up = convolve(comparison.enter[0], student[0].numpy()), deep.repeat(2, 2).repeat(2, 3)
    both, attend = np.concatenate((own, up), 1), comparison.attend[0]
    scores = np.einsum("nchw,oc->nohw", both, weights(attend)[:, :, 0, 0])
    scores += attend.bias.detach().numpy()[:, None, None]
    a = 1 / (1 + np.exp(-scores))
    fused = [convolve(comparison.leave[0], a[:, :1] * own + a[:, 1:] * up)]
    fused.append(convolve(comparison.leave[1], deep))
    total = 0.0
    for f, t in zip(fused, (x.numpy() for x in teacher), strict=True):
        levels = [side for side in (4, 2, 1) if side < f.shape[2]]
        parts = [((f - t) ** 2).mean()]
        parts += [((pooled(f, side) - pooled(t, side)) ** 2).mean() for side in levels]
        total += np.average(parts, weights=[0.5**k for k in range(len(parts))])
    assert float(compare(comparison, student, teacher).detach()) == pytest.approx(total)


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

    def value(weight: Tensor | None = None) -> Tensor:
        torch.manual_seed(1)
        return compare(comparison, student, teacher, weight=weight)

    optimiser = torch.optim.Adam(comparison.parameters(), 0.01)
    first = float(value().detach())
    for _ in range(20):
        optimiser.zero_grad()
        value().backward()
        optimiser.step()
    assert float(value().detach()) < first
    for one in student if isinstance(student, list) else [student]:
        assert one.grad is not None and float(one.grad.abs().sum()) > 0
    assert float(value(torch.zeros(6)).detach()) == 0


def test_the_memories_keep_features_by_row_and_leave_no_trace_in_eval_mode() -> None:
    loss = Contrastive(features=8, negatives=5)
    memory = loss.make_comparison(torch.randn(3, 4), torch.randn(3, 6), rows=10)
    before = {name: one.clone() for name, one in memory.named_buffers()}
    student, teacher, rows = torch.randn(3, 4), torch.randn(3, 6), torch.tensor([2, -1, 7])
    compare(memory.eval(), student, teacher, rows=rows)
    for name, one in memory.named_buffers():
        torch.testing.assert_close(one, before[name], rtol=0, atol=0, equal_nan=True)
    compare(memory.train(), student, teacher, rows=rows)
    scale = memory.log_z.clone()
    for bank, name, given in (("students", "student", student), ("teachers", "teacher", teacher)):
        now = memory.get_buffer(bank)
        assert (now != before[bank]).any(1).nonzero().flatten().tolist() == [2, 7]
        feature = memory.get_submodule(name)(given[:1])[0]
        expected = before[bank][2] / 2 + feature / feature.norm() / 2
        torch.testing.assert_close(now[2], (expected / expected.norm()).detach())
    compare(memory, student, teacher, rows=rows)
    assert torch.equal(memory.log_z, scale), "Z is that of the first batch"
