"""Terms: what a distillation minimises, as its settings describe it.

[[loss]]
name = "kd"
weight = 0.7
temperature = [6, 3]        # two numbers: from the first to the second over the training

[[loss]]
name = "amd"
tap = "high"
weight = 50

[taps]
high = ["conv_head:output", "sm_image_embedder.to_patch_embedding:input"]
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deepkd.distillation.losses import FEATURE_LOSSES, LOSSES, Loss
from deepkd.errors import ConfigError
from deepkd.settings.training import DistillConfig

Schedule = float | tuple[float, float]
"""A number, or its value at the start and at the end of the training."""


@dataclass(frozen=True)
class Term:
    """One loss of the sum: which, how heavy, between which features, with which options of its own."""

    name: str
    weight: Schedule = 1.0
    tap: str = ""
    options: Mapping[str, Schedule] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What the term is called in logs: `kd`, or `amd.high` for one of a tap's."""
        return f"{self.name}.{self.tap}" if self.tap and self.tap != self.name else self.name

    @classmethod
    def parse(cls, table: Mapping[str, Any]) -> "Term":
        """From a `[[loss]]` table.

        Raises:
            ConfigError: an unknown loss or option, a value that is no number, a tap where none
                belongs, or none.
        """
        values = dict(table)
        name = values.pop("name", None)
        if name not in LOSSES:
            raise ConfigError(f"unknown loss '{name}'; choose from {', '.join(LOSSES)}")
        tap = values.pop("tap", "")
        if bool(tap) != (name in FEATURE_LOSSES):
            raise ConfigError(
                f"loss '{name}' {'takes no tap' if tap else 'compares features and needs a tap'}"
            )
        weight = _schedule(name, "weight", values.pop("weight", 1.0))
        known = [item.name for item in dataclasses.fields(LOSSES[name])]  # type: ignore[arg-type]
        for key in values:
            if key not in known:
                choices = ", ".join(["weight", *known])
                raise ConfigError(f"loss '{name}': unknown option '{key}'; choose from {choices}")
        term = cls(
            name, weight, tap, {key: _schedule(name, key, value) for key, value in values.items()}
        )
        term.loss_at(0.0)
        return term

    def weight_at(self, progress: float) -> float:
        """The weight after `progress` (0 to 1) of the training."""
        return at(self.weight, progress)

    def loss_at(self, progress: float) -> Loss:
        """The loss with its options after `progress` (0 to 1) of the training."""
        return LOSSES[self.name](
            **{key: at(value, progress) for key, value in self.options.items()}
        )


def at(value: Schedule, progress: float) -> float:
    """A scheduled number after `progress` (0 to 1) of the training."""
    if isinstance(value, tuple):
        return value[0] + (value[1] - value[0]) * progress
    return value


def _schedule(name: str, key: str, value: Any) -> Schedule:
    pair = isinstance(value, list | tuple)
    numbers = list(value) if pair else [value]
    if len(numbers) != 1 + pair or any(
        isinstance(n, bool) or not isinstance(n, int | float) for n in numbers
    ):
        raise ConfigError(f"loss '{name}': {key}={value!r}: takes a number, or [start, end]")
    return (float(numbers[0]), float(numbers[1])) if pair else float(value)


def terms_of(config: DistillConfig) -> list[Term]:
    """The terms of a distillation: its `[[loss]]` tables, or what --loss, --alpha, --temperature and --hint say.

    Raises:
        ConfigError: a term is wrong, or names a tap that is not in `taps`; or nothing takes
            --label-smoothing.
    """
    terms = _from_tables(config) if config.losses else _from_flags(config)
    taps = taps_of(config)
    for term in terms:
        if term.tap and term.tap not in taps:
            raise ConfigError(
                f"loss '{term.name}': unknown tap '{term.tap}'; [taps] has"
                f" {', '.join(taps) or 'none'}"
            )
    return terms


def taps_of(config: DistillConfig) -> dict[str, tuple[str, str]]:
    """Tap name -> (student's module and side, teacher's).

    Raises:
        ConfigError: a tap is not a pair of names.
    """
    taps = {"hint": (config.hint_student, config.hint_teacher)} if not config.losses else {}
    for name, pair in (config.taps or {}).items():
        if (
            not isinstance(pair, list | tuple)
            or len(pair) != 2
            or not all(isinstance(side, str) for side in pair)
        ):
            raise ConfigError(f"tap '{name}' = {pair!r}: takes [student module, teacher module]")
        taps[name] = (pair[0], pair[1])
    return taps


def _from_tables(config: DistillConfig) -> list[Term]:
    """The terms as they are listed, each bce with the label smoothing of the settings unless it has its own."""
    terms, smoothing = [Term.parse(table) for table in config.losses], config.label_smoothing
    taken = config.alone or any(
        term.name == "bce" and "label_smoothing" not in term.options for term in terms
    )
    if smoothing != DistillConfig.label_smoothing and not taken:
        raise ConfigError(
            f"label_smoothing={smoothing}: takes a [[loss]] bce that has no label_smoothing of"
            " its own"
        )
    default = {"label_smoothing": smoothing}
    return [
        (
            dataclasses.replace(term, options={**default, **term.options})
            if term.name == "bce"
            else term
        )
        for term in terms
    ]


def _from_flags(config: DistillConfig) -> list[Term]:
    options: dict[str, Schedule] = (
        {"temperature": config.temperature} if config.loss != "logit_mse" else {}
    )
    terms = [
        Term("bce", 1 - config.alpha, options={"label_smoothing": config.label_smoothing}),
        Term(config.loss, config.alpha, options=options),
    ]
    return terms + ([Term("hint", config.hint, tap="hint")] if config.hint else [])
