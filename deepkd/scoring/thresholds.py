"""Thresholds: from a calibrated probability of forgery to one of the answers."""

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from deepkd.errors import ModelError


class Label(StrEnum):
    """The five answers."""

    FAKE = "FAKE"
    REAL = "REAL"
    INCONCLUSIVE = "INCONCLUSIVE"
    NO_FACE = "NO_FACE"
    ERROR = "ERROR"


@dataclass(frozen=True)
class Thresholds:
    """Calibrated probabilities that decide: `>= fake` is FAKE, else `<= real` is REAL, else INCONCLUSIVE."""

    real: float = 0.5
    fake: float = 0.5

    def __post_init__(self) -> None:
        """Refuse thresholds that contradict each other.

        Raises:
            ModelError: unless 0 <= real <= fake <= 1.
        """
        if not 0 <= self.real <= self.fake <= 1:
            raise ModelError(f"thresholds real={self.real} fake={self.fake}: need 0 <= real <= fake <= 1")

    def label(self, score: float) -> Label:
        """What a calibrated probability of forgery means."""
        if score >= self.fake:
            return Label.FAKE
        return Label.REAL if score <= self.real else Label.INCONCLUSIVE

    def replace(self, *, real: float | None = None, fake: float | None = None) -> "Thresholds":
        """A copy with one or both changed; one that is set alone moves the other along rather than cross it."""
        new_fake = self.fake if fake is None else fake
        new_real = min(self.real, new_fake) if real is None else real
        return Thresholds(real=new_real, fake=max(new_fake, new_real) if fake is None else new_fake)

    def to_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Thresholds":
        """The inverse of `to_dict`.

        Raises:
            ModelError: a key is unknown, or a value is no number.
        """
        try:
            return cls(**{key: float(value) for key, value in values.items()})
        except (TypeError, ValueError, AttributeError) as error:
            raise ModelError(
                f"the model's thresholds {values!r} are damaged or from another version ({error})"
            ) from error
