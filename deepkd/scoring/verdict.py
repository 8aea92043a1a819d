"""From the scores of single faces to the verdict on a clip."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from deepkd.errors import ModelError


@dataclass(frozen=True)
class Thresholds:
    """Calibrated probabilities that decide: `<= real` is REAL, `>= fake` is FAKE, between them INCONCLUSIVE."""

    real: float = 0.5
    fake: float = 0.5

    def __post_init__(self) -> None:
        """Refuse thresholds that contradict each other.

        Raises:
            ModelError: unless 0 <= real <= fake <= 1.
        """
        if not 0 <= self.real <= self.fake <= 1:
            raise ModelError(f"thresholds real={self.real} fake={self.fake}: need 0 <= real <= fake <= 1")

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
