"""Numbers: a few named numbers that travel in a model's metadata."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

from deepkd.errors import ModelError


@dataclass(frozen=True)
class Numbers:
    """Base of dataclasses that hold nothing but numbers; it reads and writes them."""

    def to_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_dict`.

        Raises:
            ModelError: a key is unknown, or a value is no number.
        """
        try:
            return cls(**{key: float(value) for key, value in values.items()})
        except (TypeError, ValueError, AttributeError) as error:
            what = cls.__name__.lower()
            raise ModelError(
                f"the model's {what}, {values!r}: damaged or from another version ({error})"
            ) from error
