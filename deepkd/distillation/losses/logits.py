"""Losses on logits: hard labels (bce), soft targets (kd) and matching logits (logit_mse)."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from deepkd.distillation.losses.reduce import weighted_mean


@dataclass(frozen=True)
class BCE:
    """Binary cross-entropy with the labels, `-[y log p + (1 - y) log(1 - p)]`, `p = sigmoid(z)`.

    With label smoothing s the label is `(1 - s) y + s / 2` (Szegedy et al. 2016, eq. 3, for two
    classes).
    """

    label_smoothing: float = 0.0

    def __call__(self, logits: Tensor, labels: Tensor, *, weight: Tensor | None = None) -> Tensor:
        """Logits (N,) or (N, 1), labels (N,) of 0 and 1 -> scalar."""
        target = labels.float().flatten() * (1 - self.label_smoothing) + 0.5 * self.label_smoothing
        return weighted_mean(
            F.binary_cross_entropy_with_logits(logits.float().flatten(), target, reduction="none"),
            weight,
        )


@dataclass(frozen=True)
class KD:
    """Soft targets, `T^2 KL(p_teacher || p_student)` at temperature T (Hinton et al. 2015, arXiv:1503.02531, sec. 2).

    For one logit z the two classes are those of `[0, z]`: with `p = sigmoid(z_t / T)` the
    divergence is that of two Bernoulli distributions, `BCEWithLogits(z_s / T, p) - H(p)`, and its
    gradient `(T / N) (sigmoid(z_s / T) - p)`. It must not go through a softmax over [N, 1]: over
    the batch axis that compares crops with each other, over the class axis it is always 1. For [N,
    C], C >= 2, it is the divergence of softmaxes over the classes.
    """

    temperature: float = 3.0

    def __call__(self, student: Tensor, teacher: Tensor, *, weight: Tensor | None = None) -> Tensor:
        """Logits (N,), (N, 1) or (N, C) of each -> scalar."""
        s, t = student.float() / self.temperature, teacher.float() / self.temperature
        if s.ndim == 2 and s.shape[1] > 1:
            divergence = F.kl_div(
                s.log_softmax(1), t.log_softmax(1), log_target=True, reduction="none"
            ).sum(1)
        else:
            s, t = s.flatten(), t.flatten()
            p = t.sigmoid()
            divergence = p * (F.logsigmoid(t) - F.logsigmoid(s)) + (1 - p) * (
                F.logsigmoid(-t) - F.logsigmoid(-s)
            )
        return self.temperature**2 * weighted_mean(divergence, weight)


@dataclass(frozen=True)
class LogitMSE:
    """Half the squared distance of logits, `(z_s - z_t)^2 / 2` (Ba & Caruana 2014, arXiv:1312.6184, eq. 1).

    Teacher logits are clipped to +-`clip`, so that a few very sure ones do not outweigh the rest.
    """

    clip: float = 10.0

    def __call__(self, student: Tensor, teacher: Tensor, *, weight: Tensor | None = None) -> Tensor:
        """Logits (N,) or (N, C) of each -> scalar."""
        distance = student.float() - teacher.float().clamp(-self.clip, self.clip)
        return weighted_mean(distance.reshape(len(distance), -1).square().sum(1) / 2, weight)
