"""Terms: what a distillation minimises, as its settings describe it.

[[loss]]
name = "kd"
weight = 0.7
temperature = [6, 3]        # two numbers: from the first to the second over the training
warmup = 0.1                # share of the training in which the weight rises from 0

[[loss]]
name = "amd"
tap = "high"
weight = 50

[taps]
high = ["conv_head:output", "sm_image_embedder.to_patch_embedding:input"]
"""

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deepkd.distillation.losses.loss import FEATURES, Loss
from deepkd.errors import ConfigError
from deepkd.settings.choices import LOSSES
from deepkd.settings.training import DistillConfig

Schedule = float | tuple[float, float]
"""A number, or its value at the start and at the end of the training."""
SMOOTHING = "label_smoothing"
"""The option that a loss takes from the settings, where its table does not set it."""


@dataclass(frozen=True)
class Term:
    """One loss of the sum, with its weight, its tap and its options."""

    name: str
    weight: Schedule = 1.0
    warmup: float = 0.0
    """Share of the training in which the weight rises from 0."""
    tap: str = ""
    """The name of its tap; of several, the names with + between."""
    options: Mapping[str, Schedule] = field(default_factory=dict)

    @property
    def kind(self) -> type[Loss]:
        """The class of the loss."""
        return LOSSES.load(self.name)

    @property
    def taps(self) -> tuple[str, ...]:
        """The names of its taps."""
        return tuple(self.tap.split("+")) if self.tap else ()

    @property
    def label(self) -> str:
        """The name of the term in logs: `kd`, or `amd.high` for one at a tap."""
        return f"{self.name}.{self.tap}" if self.tap and self.tap != self.name else self.name

    def on_classes(self) -> "Term":
        """The same term for a network that tells classes apart, not REAL from FAKE."""
        return dataclasses.replace(self, name=self.kind.on_classes or self.name)

    @classmethod
    def parse(cls, table: Mapping[str, Any]) -> "Term":
        """Read a `[[loss]]` table.

        Raises:
            ConfigError: an unknown loss or option, a value that is no number, a tap too many, or
                none where one is needed.
        """
        values = dict(table)
        name = values.pop("name", None)
        if name not in LOSSES:
            raise ConfigError(f"unknown loss '{name}'; choose from {', '.join(LOSSES)}")
        tap = _tap(values.pop("tap", ""))
        weight = _schedule(name, "weight", values.pop("weight", 1.0))
        warmup = _warmup(name, values.pop("warmup", 0.0))
        options = {key: _schedule(name, key, value) for key, value in values.items()}
        term = cls(name, weight, warmup, tap, options)
        if bool(tap) != (term.kind.inputs in FEATURES):
            wrong = "takes no tap" if tap else "compares features and needs a tap"
            raise ConfigError(f"loss '{name}' {wrong}")
        if len(term.taps) > 1 and not term.kind.is_several:
            raise ConfigError(f"loss '{name}' takes one tap, not {tap}; give it a table for each")
        _check_options(term)
        term.loss_at(0.0)
        return term

    def weight_at(self, progress: float) -> float:
        """The weight after `progress` (0 to 1) of the training."""
        risen = min(1.0, progress / self.warmup) if self.warmup else 1.0
        return risen * at(self.weight, progress)

    def loss_at(self, progress: float) -> Loss:
        """The loss with its options after `progress` (0 to 1) of the training."""
        return self.kind(**{key: at(value, progress) for key, value in self.options.items()})


def _warmup(name: str, given: Any) -> float:
    """The share of the training in which a weight rises.

    Raises:
        ConfigError: it is no number from 0 to 1.
    """
    share = _schedule(name, "warmup", given)
    if isinstance(share, tuple) or not 0 <= share <= 1:
        raise ConfigError(f"loss '{name}': warmup={given!r}: takes a number from 0 to 1")
    return share


def _tap(given: Any) -> str:
    """A tap, or a list of them, as `Term.tap`."""
    return "+".join(map(str, given)) if isinstance(given, list | tuple) else str(given)


def at(value: Schedule, progress: float) -> float:
    """A scheduled number after `progress` (0 to 1) of the training."""
    if isinstance(value, tuple):
        return value[0] + (value[1] - value[0]) * progress
    return value


def options_of(name: str) -> tuple[str, ...]:
    """The options that a loss takes in its table."""
    return tuple(inspect.signature(LOSSES.load(name)).parameters)


def _check_options(term: Term) -> None:
    known = options_of(term.name)
    for key in term.options:
        if key not in known:
            choices = ", ".join(["weight", "warmup", *known])
            raise ConfigError(f"loss '{term.name}': unknown option '{key}'; choose from {choices}")


def _schedule(name: str, key: str, value: Any) -> Schedule:
    pair = isinstance(value, list | tuple)
    numbers = list(value) if pair else [value]
    if len(numbers) != 1 + pair or any(
        isinstance(n, bool) or not isinstance(n, int | float) for n in numbers
    ):
        raise ConfigError(f"loss '{name}': {key}={value!r}: takes a number, or [start, end]")
    return (float(numbers[0]), float(numbers[1])) if pair else float(value)


def terms_of(config: DistillConfig) -> list[Term]:
    """The terms of a distillation.

    Raises:
        ConfigError: a term is wrong, is listed twice, or names a tap that `taps` lacks; or nothing
            takes the settings' label_smoothing.
    """
    terms = [Term.parse(table) for table in tables_of(config)]
    taps = taps_of(config)
    for number, term in enumerate(terms):
        if unknown := [tap for tap in term.taps if tap not in taps]:
            raise ConfigError(
                f"loss '{term.name}': unknown tap '{unknown[0]}'; [taps] has"
                f" {', '.join(taps) or 'none'}"
            )
        if term.label in (other.label for other in terms[:number]):
            raise ConfigError(f"loss '{term.label}' is listed twice; merge the two tables")
    return _smooth_labels(terms, config)


def tables_of(config: DistillConfig) -> Sequence[Mapping[str, Any]]:
    """The `[[loss]]` tables: those of the settings, or those that --loss and --alpha stand for.

    Raises:
        ConfigError: the temperature is set for a loss that has none.
    """
    if config.losses:
        return config.losses
    soft = {"name": config.loss, "weight": config.alpha}
    if "temperature" in options_of(config.loss):
        soft["temperature"] = config.temperature
    elif config.temperature != DistillConfig.temperature:
        raise ConfigError(f"temperature={config.temperature}: loss '{config.loss}' has none")
    return ({"name": "bce", "weight": 1 - config.alpha}, soft)


def taps_of(config: DistillConfig) -> dict[str, tuple[str, str]]:
    """Tap name -> (student's module and side, teacher's).

    Raises:
        ConfigError: a tap is not a pair of names.
    """
    taps = {}
    for name, pair in (config.taps or {}).items():
        if (
            not isinstance(pair, list | tuple)
            or len(pair) != 2
            or not all(isinstance(side, str) for side in pair)
        ):
            raise ConfigError(f"tap '{name}' = {pair!r}: takes [student module, teacher module]")
        taps[name] = (pair[0], pair[1])
    return taps


def _smooth_labels(terms: Sequence[Term], config: DistillConfig) -> list[Term]:
    """The terms, each with the settings' label smoothing where it takes one and sets none.

    Raises:
        ConfigError: the settings have one, and no term takes it.
    """
    smoothing = config.label_smoothing
    taking = [SMOOTHING in options_of(t.name) and SMOOTHING not in t.options for t in terms]
    if smoothing != DistillConfig.label_smoothing and not (any(taking) or config.alone):
        known = " or ".join(name for name in LOSSES if SMOOTHING in options_of(name))
        raise ConfigError(
            f"{SMOOTHING}={smoothing}: takes a [[loss]] {known} that has no {SMOOTHING} of its own"
        )
    return [
        dataclasses.replace(term, options={**term.options, SMOOTHING: smoothing}) if takes else term
        for term, takes in zip(terms, taking, strict=True)
    ]
