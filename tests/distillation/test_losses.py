"""Every loss: zero at the match, the right gradient, the published identities, known mistakes."""

import inspect
import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from deepkd.distillation.losses.attention_transfer import AttentionTransfer
from deepkd.distillation.losses.bce import BCE
from deepkd.distillation.losses.hint import Hint
from deepkd.distillation.losses.kd import KD
from deepkd.distillation.losses.logit_mse import LogitMSE
from deepkd.distillation.losses.loss import FEATURES, INPUTS, Loss
from deepkd.distillation.terms import Term, options_of
from deepkd.errors import ConfigError
from deepkd.settings.choices import LOSSES
from deepkd.settings.training import DistillConfig

KINDS: dict[str, type[Loss]] = {name: LOSSES.load(name) for name in LOSSES}
FROM_TEACHER = [name for name, kind in KINDS.items() if kind.wants_teacher]
DISTANCES = [name for name in FROM_TEACHER if KINDS[name].is_distance]
SOFT = [name for name in FROM_TEACHER if KINDS[name].inputs not in FEATURES]
SHAPES = {"logit": (6, 1), "classes": (6, 3), "map": (6, 4, 5, 5), "embedding": (6, 4)}
LABELS = torch.tensor([0.0, 1.0, 0.0, 1.0, 1.0, 0.0])


def pair(name: str, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Inputs of the kind that a loss declares: the student's and the teacher's."""
    generator = torch.Generator().manual_seed(0)
    student, teacher = (
        torch.randn(SHAPES[KINDS[name].inputs], generator=generator, dtype=torch.float64).to(dtype)
        for _ in range(2)
    )
    return student, teacher


def value(
    name: str, student: Tensor, teacher: Tensor, *, weight: Tensor | None = None, **options: float
) -> Tensor:
    """The loss of a batch with the first of `LABELS`, repeated."""
    labels = LABELS.repeat(1 + len(student) // len(LABELS))[: len(student)]
    return KINDS[name](**options)(student, teacher, labels=labels, weight=weight)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_declares_what_distillation_asks_of_it(name: str) -> None:
    kind = KINDS[name]
    assert issubclass(kind, Loss), f"{name}: {kind} is no Loss"
    assert getattr(kind, "inputs", None) in INPUTS, f"{name}: inputs is one of {INPUTS}"
    assert kind.wants_labels or kind.wants_teacher, f"{name}: learns from nothing"
    tap = {"tap": "here"} if kind.inputs in FEATURES else {}
    assert Term.parse({"name": name, **tap}).kind is kind
    assert DistillConfig(loss=name).loss == name
    for option in options_of(name):
        default = inspect.signature(kind).parameters[option].default
        assert isinstance(default, float), f"{name}: option {option} needs a default, a float"


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_a_finite_scalar_that_trains(name: str) -> None:
    student, target = pair(name)
    student.requires_grad_()
    loss = value(name, student, target)
    assert loss.requires_grad, f"{name}: the student gets no gradient"
    loss.backward()
    loss = loss.detach()
    assert loss.shape == () and loss.dtype == torch.float32 and float(loss) > 0
    assert float(student.grad.abs().sum()) > 0  # type: ignore[union-attr]
    half = value(name, student.detach().bfloat16(), target.bfloat16())
    assert half.dtype == torch.float32 and half.isfinite()


@pytest.mark.parametrize("name", DISTANCES)
def test_zero_at_the_match(name: str) -> None:
    _, teacher = pair(name)
    student = teacher.clone().requires_grad_()
    loss = value(name, student, teacher)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
    assert float(student.grad.abs().max()) == pytest.approx(0, abs=1e-6)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["bce", *SOFT, "attention_transfer", "amd", "hint"])
def test_a_batch_twice_is_the_same_loss(name: str) -> None:
    student, target = pair(name)
    twice = [one.repeat(2, *[1] * (one.ndim - 1)) for one in (student, target)]
    once = float(value(name, student, target))
    assert float(value(name, *twice)) == pytest.approx(once, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_weights_leave_samples_out(name: str) -> None:
    student, target = pair(name)
    mask = torch.tensor([1, 1, 1, 0, 0, 0])
    first = float(value(name, student[:3], target[:3]))
    masked = float(value(name, student, target, weight=mask))
    assert masked == pytest.approx(first, rel=1e-5), f"{name}: samples of weight 0 count"
    assert float(value(name, student, target, weight=torch.zeros(6))) == 0


@pytest.mark.parametrize("name", SOFT)
def test_gradients_in_float64(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Tensor, "float", Tensor.double
    )  # the losses compute in float32; gradcheck needs float64
    student, teacher = pair(name, torch.float64)
    assert torch.autograd.gradcheck(lambda s: value(name, s, teacher), student.requires_grad_())


def test_kd_by_hand() -> None:
    # z_s = 0, z_t = ln 3, T = 1: p = 3/4, q = 1/2: KL = 3/4 ln(3/2) + 1/4 ln(1/2)
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert float(KD(1.0)(torch.tensor([0.0]), torch.tensor([math.log(3)]))) == pytest.approx(
        expected, rel=1e-6
    )
    # the same at T = 2 from logits twice as far, times T^2
    assert float(KD(2.0)(torch.tensor([0.0]), torch.tensor([2 * math.log(3)]))) == pytest.approx(
        4 * expected, rel=1e-6
    )


@pytest.mark.parametrize("temperature", [1.0, 3.0, 20.0])
def test_kd_has_the_closed_gradient_and_equals_two_class_softmax(temperature: float) -> None:
    student, teacher = pair("kd")
    student.requires_grad_()
    loss = KD(temperature)(student, teacher)
    loss.backward()
    loss = loss.detach()
    closed = (
        temperature / 6 * ((student / temperature).sigmoid() - (teacher / temperature).sigmoid())
    )
    torch.testing.assert_close(student.grad, closed.detach())
    two = [torch.cat((torch.zeros_like(z), z), 1) for z in (student.detach(), teacher)]
    assert float(KD(temperature)(*two)) == pytest.approx(float(loss), rel=1e-4)
    reference = F.kl_div(
        (two[0] / temperature).log_softmax(1),
        (two[1] / temperature).softmax(1),
        reduction="batchmean",
    )
    assert float(loss) == pytest.approx(temperature**2 * float(reference), rel=1e-4)


def test_kd_tends_to_an_eighth_of_the_squared_distance() -> None:
    student, teacher = pair("kd")
    limit = float((student - teacher).square().mean() / 8)
    assert float(KD(300.0)(student, teacher)) == pytest.approx(limit, rel=1e-2)


def test_kd_is_no_softmax_over_the_batch() -> None:
    """`softmax(dim=0)` on [N, 1] compares crops: blind to a constant shift, 0 for one crop."""
    student, teacher = pair("kd")
    loss = KD(3.0)

    def over_the_batch(s: Tensor, t: Tensor) -> Tensor:
        return 9 * F.kl_div((s / 3).log_softmax(0), (t / 3).softmax(0), reduction="batchmean")

    shifted = student + 5
    assert float(over_the_batch(shifted, teacher)) == pytest.approx(
        float(over_the_batch(student, teacher)), rel=1e-4
    )
    assert float(loss(shifted, teacher)) > 1.5 * float(loss(student, teacher))
    assert float(over_the_batch(student[:1], teacher[:1])) == pytest.approx(0)
    assert float(loss(student[:1], teacher[:1])) > 0.01
    slopes = []
    many = torch.randn(2, 64, 1, generator=torch.Generator().manual_seed(0))
    for function in (loss, over_the_batch):
        z = many[0].clone().requires_grad_()
        function(z, many[1]).backward()
        slopes.append(float(z.grad.norm()))  # type: ignore[union-attr]
    assert slopes[0] > 5 * slopes[1]


def test_extreme_logits_stay_finite() -> None:
    student = torch.tensor([200.0, -200.0], requires_grad=True)
    loss = KD(1.0)(student, torch.tensor([-200.0, 200.0]))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(200) and student.grad.isfinite().all()  # type: ignore[union-attr]


def test_bce_and_logit_mse_by_hand() -> None:
    one = torch.tensor([1.0])
    assert float(BCE()(torch.tensor([0.0]), labels=torch.tensor([1.0]))) == pytest.approx(
        math.log(2)
    )
    smoothed = 0.95 * math.log(1 + math.exp(-2)) + 0.05 * math.log(1 + math.exp(2))
    assert float(BCE(0.1)(torch.tensor([2.0]), labels=one)) == pytest.approx(smoothed)
    assert float(LogitMSE()(torch.tensor([1.0, 0.0]), torch.tensor([3.0, 1.0]))) == pytest.approx(
        (2 + 0.5) / 2
    )
    assert float(LogitMSE(clip=2.0)(torch.tensor([1.0]), torch.tensor([3.0]))) == pytest.approx(0.5)


def test_attention_transfer_against_numpy() -> None:
    student, teacher = (t.double().numpy() for t in pair("attention_transfer"))

    def q(f: np.ndarray) -> np.ndarray:
        flat = (f**2).mean(1).reshape(len(f), -1)
        return flat / np.sqrt((flat**2).sum(1, keepdims=True))

    expected = ((q(student) - q(teacher)) ** 2).mean()
    loss = AttentionTransfer()(torch.from_numpy(student), torch.from_numpy(teacher))
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert AttentionTransfer()(torch.ones(2, 3, 4, 4), torch.ones(2, 7, 8, 8)) == pytest.approx(0)


def test_similarity_against_numpy() -> None:
    student, teacher = (t.double().numpy() for t in pair("similarity"))

    def g(f: np.ndarray) -> np.ndarray:
        flat = f.reshape(len(f), -1)
        product = flat @ flat.T
        return product / np.linalg.norm(product, axis=1, keepdims=True)

    expected = np.linalg.norm(g(student) - g(teacher)) ** 2 / len(student) ** 2
    loss = KINDS["similarity"]()(torch.from_numpy(student), torch.from_numpy(teacher))
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert float(
        KINDS["similarity"]()(2 * pair("similarity")[0], pair("similarity")[0])
    ) == pytest.approx(0, abs=1e-9)


def amd_in_numpy(q_s: np.ndarray, q_t: np.ndarray, m: float = 1.35, s: float = 64.0) -> float:
    """Jeon et al. 2023 for normalised positive maps (N, H, W), in float64."""
    total = 0.0
    for one_s, one_t in zip(q_s, q_t, strict=True):
        maps = []
        for q in (one_s.ravel(), one_t.ravel()):
            p, n = s * np.cos(m * np.arccos(np.clip(q, 0, 1 - 1e-7))), s * (1 - q)
            maps.append((p - np.logaddexp(p, n), p, n))
        for a, b in zip(*maps, strict=True):
            total += ((a / np.linalg.norm(a) - b / np.linalg.norm(b)) ** 2).mean() / 3
    return total / len(q_s)


@pytest.mark.parametrize(("local", "side"), [(0.0, 6), (0.2, 6), (0.2, 7)])
def test_amd_against_numpy(local: float, side: int) -> None:
    student, teacher = (
        torch.randn(3, 4, side, side, generator=torch.Generator().manual_seed(i)) for i in (1, 2)
    )
    q_s, q_t = ((f.double().numpy() ** 2).sum(1) for f in (student, teacher))
    q_s, q_t = (
        q / np.linalg.norm(q.reshape(len(q), -1), axis=1)[:, None, None] for q in (q_s, q_t)
    )
    halves = (slice(0, 3), slice(3, side))
    quarters = [np.s_[:, a, b] for a in halves for b in halves]
    expected = amd_in_numpy(q_s, q_t)
    if local:
        expected = 0.8 * expected + 0.2 * np.mean(
            [amd_in_numpy(q_s[part], q_t[part]) for part in quarters]
        )
    assert float(KINDS["amd"](local=local)(student, teacher)) == pytest.approx(expected, rel=1e-4)


def test_amd_refuses_what_says_nothing_and_survives_one_bright_spot() -> None:
    with pytest.raises(ConfigError, match="1 x 1 map says nothing"):
        KINDS["amd"]()(torch.ones(2, 3, 1, 1), torch.ones(2, 3, 4, 4))
    with pytest.raises(ConfigError, match="margin"):
        KINDS["amd"](margin=3.0)
    spot = torch.zeros(1, 1, 4, 4)
    spot[..., 1, 1] = 1.0
    student = spot.clone().requires_grad_()
    KINDS["amd"]()(student, torch.ones(1, 1, 4, 4)).backward()
    assert student.grad is not None and student.grad.isfinite().all()


@pytest.mark.parametrize("weight", [None, [1.0], [0.0]])
def test_hint_of_one_value_per_channel_is_zero_and_keeps_the_graph(
    weight: list[float] | None,
) -> None:
    student = torch.ones(1, 4, 1, 1, requires_grad=True)
    loss = Hint()(
        student, torch.zeros(1, 4, 1, 1), weight=None if weight is None else torch.tensor(weight)
    )
    loss.backward()
    assert float(loss.detach()) == 0 and student.grad is not None and not student.grad.any()


def test_hint_against_numpy() -> None:
    student, teacher = (t.double().numpy() for t in pair("hint"))

    def standard(f: np.ndarray) -> np.ndarray:
        return (f - f.mean((0, 2, 3), keepdims=True)) / np.sqrt(
            f.var((0, 2, 3), keepdims=True) + 1e-5
        )

    expected = ((standard(student) - standard(teacher)) ** 2).mean()
    assert float(Hint()(torch.from_numpy(student), torch.from_numpy(teacher))) == pytest.approx(
        expected, rel=1e-5
    )
    assert float(Hint()(3 * pair("hint")[0] + 1, pair("hint")[0])) == pytest.approx(0, abs=1e-4)


def test_a_loss_must_declare_its_inputs() -> None:
    with pytest.raises(TypeError, match="Bare: takes inputs = one of logit, classes, map, emb"):
        type("Bare", (Loss,), {})
