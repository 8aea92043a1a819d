"""Distillation in a minute, without faces: is a handwritten digit odd?

    python examples/digits.py [--seeds 8] [--steps 300]

The teacher learns from 1,000 labelled digits of scikit-learn's 8 x 8 set, the student has labels
for 100 of them. The losses are those of `deepkd.distillation.losses`; one row repeats a common
mistake, a softmax over the batch axis.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from deepkd.distillation.losses.amd import AngularMargin
from deepkd.distillation.losses.attention_transfer import AttentionTransfer
from deepkd.distillation.losses.bce import BCE
from deepkd.distillation.losses.kd import KD

LABELLED, TRANSFER, TEMPERATURE = 100, 1000, 3.0
HARD, SOFT = BCE(), KD(TEMPERATURE)
ATTENTION, AMD = AttentionTransfer(), AngularMargin()


class Net(nn.Module):
    """Two convolutions and a linear layer: (N, 1, 8, 8) -> logit (N, 1), map (N, C, 8, 8)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Linear(width * 16, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Logit and map."""
        features = self.body(image)
        return self.head(F.max_pool2d(features, 2).flatten(1)), features


@dataclass(frozen=True)
class Digits:
    """Images (N, 1, 8, 8) in [0, 1] and labels (N,), 1 for odd, of training and test."""

    train: Tensor
    train_odd: Tensor
    test: Tensor
    test_odd: Tensor


def digits(seed: int) -> Digits:
    """The 1,797 digits, shuffled: 1,000 to learn from, the others to test on."""
    images, names = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(images))
    pixels = torch.tensor(images[order] / 16, dtype=torch.float32).view(-1, 1, 8, 8)
    odd = torch.tensor(names[order] % 2, dtype=torch.float32)
    return Digits(pixels[:TRANSFER], odd[:TRANSFER], pixels[TRANSFER:], odd[TRANSFER:])


def over_the_batch(student: Tensor, teacher: Tensor) -> Tensor:
    """A known mistake: softmax over the batch axis of [N, 1] instead of over classes."""
    targets, logits = (teacher / TEMPERATURE).softmax(0), (student / TEMPERATURE).log_softmax(0)
    return TEMPERATURE**2 * F.kl_div(logits, targets, reduction="batchmean")


Step = Callable[[tuple[Tensor, Tensor], tuple[Tensor, Tensor], Tensor], Tensor]
"""(student's logit and map, teacher's, labels with NaN for none) -> loss."""


def hard(student: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of those that have a label."""
    return HARD(student, labels=labels.nan_to_num(0.5), weight=labels.isfinite().float())


METHODS: dict[str, tuple[bool, Step]] = {
    "alone": (False, lambda s, t, y: hard(s[0], y)),
    "kd": (
        False,
        lambda s, t, y: 0.3 * hard(s[0], y) + 0.7 * SOFT(s[0], t[0]),
    ),
    "kd, softmax over the batch": (
        False,
        lambda s, t, y: 0.3 * hard(s[0], y) + 0.7 * over_the_batch(s[0], t[0]),
    ),
    "kd + attention_transfer": (
        False,
        lambda s, t, y: 0.3 * hard(s[0], y) + 0.7 * SOFT(s[0], t[0]) + 1e3 * ATTENTION(s[1], t[1]),
    ),
    "kd + amd": (
        False,
        lambda s, t, y: 0.3 * hard(s[0], y) + 0.7 * SOFT(s[0], t[0]) + 50 * AMD(s[1], t[1]),
    ),
    "kd + unlabelled": (
        True,
        lambda s, t, y: 0.3 * hard(s[0], y) + 0.7 * SOFT(s[0], t[0]),
    ),
}
"""Name -> (whether the 900 digits without a label take part, loss)."""


def trained(
    net: Net, images: Tensor, labels: Tensor, steps: int, step: Step, teacher: Net | None = None
) -> Net:
    """`net` after `steps` steps of AdamW on batches of 64."""
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(images), (64,))
        with torch.no_grad():
            spoken = teacher(images[rows]) if teacher else (torch.zeros(1), torch.zeros(1))
        optimiser.zero_grad()
        step(net(images[rows]), spoken, labels[rows]).backward()
        optimiser.step()
        schedule.step()
    return net


def accuracy(net: Net, data: Digits) -> float:
    """Share of the test digits judged right, per cent."""
    with torch.no_grad():
        logits = net(data.test)[0].flatten()
    return 100 * float(((logits > 0) == (data.test_odd > 0.5)).float().mean())


def run(seed: int, steps: int) -> dict[str, float]:
    """Test accuracy of the teacher and of the student under each method, for one seed."""
    data = digits(seed)
    torch.manual_seed(seed)
    teacher = trained(Net(32), data.train, data.train_odd, steps, METHODS["alone"][1]).eval()
    labels = data.train_odd.clone()
    labels[LABELLED:] = float("nan")
    found = {"teacher": accuracy(teacher, data)}
    for name, (with_unlabelled, step) in METHODS.items():
        torch.manual_seed(seed)
        count = TRANSFER if with_unlabelled else LABELLED
        student = trained(Net(4), data.train[:count], labels[:count], steps, step, teacher)
        found[name] = accuracy(student, data)
    return found


def main() -> None:
    """Run all seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=300)
    args = parser.parse_args()
    torch.set_num_threads(1)
    runs = [run(seed, args.steps) for seed in range(args.seeds)]
    print(f"| odd or even, {args.seeds} seeds | accuracy, % | spread | change from alone |")
    print("|---|---:|---:|---:|")
    for name in runs[0]:
        values = np.array([found[name] for found in runs])
        gain = (values - np.array([found["alone"] for found in runs])).mean()
        print(
            f"| {name} | {values.mean():.1f} | {values.std(ddof=min(1, len(values) - 1)):.1f} |"
            f" {gain:+.1f} |"
        )


if __name__ == "__main__":
    main()
