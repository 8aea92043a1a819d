"""Thresholds: from a calibrated probability of forgery to one of the answers."""

from dataclasses import dataclass
from enum import StrEnum

from deepkd.errors import ModelError
from deepkd.scoring.numbers import Numbers


class Label(StrEnum):
    """The five answers."""

    FAKE = "FAKE"
    REAL = "REAL"
    INCONCLUSIVE = "INCONCLUSIVE"
    NO_FACE = "NO_FACE"
    ERROR = "ERROR"


@dataclass(frozen=True)
class Thresholds(Numbers):
    """Probabilities that decide: `>= fake` is FAKE, else `<= real` is REAL, else neither."""

    real: float = 0.5
    fake: float = 0.5

    def __post_init__(self) -> None:
        """Refuse thresholds that contradict each other.

        Raises:
            ModelError: unless 0 <= real <= fake <= 1.
        """
        if not 0 <= self.real <= self.fake <= 1:
            raise ModelError(
                f"thresholds real={self.real} fake={self.fake}: need 0 <= real <= fake <= 1"
            )

    def label(self, score: float) -> Label:
        """What a calibrated probability of forgery means."""
        if score >= self.fake:
            return Label.FAKE
        return Label.REAL if score <= self.real else Label.INCONCLUSIVE

    def replace(self, *, real: float | None = None, fake: float | None = None) -> "Thresholds":
        """A copy with one or both changed; a single change moves the other so that none cross."""
        new_fake = self.fake if fake is None else fake
        new_real = min(self.real, new_fake) if real is None else real
        return Thresholds(real=new_real, fake=max(new_fake, new_real) if fake is None else new_fake)
