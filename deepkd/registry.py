"""Registry: names of variants and where each one is defined, without importing any of them."""

import importlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Generic, TypeVar, cast

from deepkd.errors import ConfigError

T = TypeVar("T")


class Registry(Generic[T]):
    """Name -> "module:attribute" of each variant, in the order in which they are offered.

    A registry is a table of strings, so that settings and help can list the names quickly.

    RULES: Registry[Rule] = Registry("rule", {"mean-logit": "deepkd.scoring.rules:MEAN_LOGIT"})
    RULES.load("mean-logit")
    """

    def __init__(
        self, kind: str, targets: Mapping[str, str], traits: Mapping[str, Collection[str]] = {}
    ) -> None:
        self.kind = kind
        """What the variants are, for messages: "detector"."""
        self.targets = dict(targets)
        self.traits = dict(traits)
        """Name -> what settings must know of a variant before it is imported."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in order."""
        return tuple(self.targets)

    def having(self, trait: str) -> tuple[str, ...]:
        """The names of the variants with a trait, in order."""
        return tuple(name for name in self.targets if trait in self.traits.get(name, ()))

    def load(self, name: str) -> T:
        """The variant called `name`; its module is imported now.

        Raises:
            ConfigError: no variant has this name; the message lists those that exist.
            ModuleNotFoundError: the variant needs a package that is not installed.
        """
        module, _, attribute = self.target(name).partition(":")
        found: Any = getattr(importlib.import_module(module), attribute)
        return cast(T, found)

    def target(self, name: str) -> str:
        """The "module:attribute" of the variant called `name`.

        Raises:
            ConfigError: no variant has this name; the message lists those that exist.
        """
        if name not in self.targets:
            known = ", ".join(self.targets)
            raise ConfigError(f"unknown {self.kind} '{name}'; choose from {known}")
        return self.targets[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.targets)

    def __len__(self) -> int:
        return len(self.targets)

    def __contains__(self, name: object) -> bool:
        return name in self.targets
