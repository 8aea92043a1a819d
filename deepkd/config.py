"""Settings: one frozen dataclass per command, checked at birth.

A value comes from the flag, else the environment variable `DEEPKD_<COMMAND>_<KEY>`, else the TOML
file, else the default. An unknown key, a wrong type, a value out of range or a contradiction is a
`ConfigError` that names the key and what it takes.
"""

import dataclasses
import json
import math
import os
import sys
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from deepkd.errors import ConfigError
from deepkd.outputs import write_whole

LONGEST_S = 365 * 86_400
"""A year, seconds: what a setting in seconds takes at most where it does not say so itself; clocks
overflow later."""


def setting(
    default: Any,
    help: str,
    *,
    choices: tuple[str, ...] | None = None,
    low: float | None = None,
    high: float | None = None,
    table: str | None = None,
    rare: bool = False,
) -> Any:
    """A dataclass field with its help, its choices and its range (inclusive).

    A field whose name says that it is in seconds (`timeout_s`) takes `LONGEST_S` at most. With
    `table` it is set by the tables of that name in a config file, and by nothing else. The option
    of a `rare` setting works like any other; only `--help-all` shows it.
    """
    metadata = {"help": help, "choices": choices, "low": low, "high": high}
    return field(default=default, metadata={**metadata, "table": table, "rare": rare})


@dataclass(frozen=True)
class Config:
    """Base of all settings: checks every field's type, choices and range when built."""

    command: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """Check each field, then what `check` adds.

        Raises:
            ConfigError: naming the key and what it takes.
        """
        hints = typing.get_type_hints(type(self))
        for item in fields(self):
            _check_field(item, getattr(self, item.name), hints[item.name])
        self.check()

    def check(self) -> None:
        """Refuse contradictions between fields; subclasses override it."""

    def as_dict(self) -> dict[str, Any]:
        """The settings as plain values, ready for JSON or TOML."""
        values = dataclasses.asdict(self)
        return {
            key: str(value) if isinstance(value, Path) else value for key, value in values.items()
        }

    def to_metadata(self) -> dict[str, Any]:
        """The settings as a model's file holds them: of a path only the name."""
        named = {item.name: getattr(self, item.name) for item in fields(self)}
        return self.as_dict() | {
            key: value.name for key, value in named.items() if isinstance(value, Path)
        }

    def to_record(self) -> dict[str, Any]:
        """The settings and their command as they are read from what `save` writes."""
        known: dict[str, Any] = json.loads(
            json.dumps({"command": self.command, **self.as_dict()}, default=str)
        )
        return known

    def save(self, path: Path) -> None:
        """Write the resolved settings as JSON beside the result that they made.

        Raises:
            OutputError: they cannot be written.
        """
        with write_whole(path) as beside:
            beside.write_text(json.dumps(self.to_record(), indent=2) + "\n", encoding="utf-8")

    def replace(self, **changes: Any) -> Self:
        """A checked copy with some fields changed."""
        return dataclasses.replace(self, **changes)


C = TypeVar("C", bound=Config)


def load_config(kind: type[C], file: Path | None = None, /, **flags: object) -> C:
    """Settings from defaults, `file`, the environment and `flags`; the last one counts.

    The file is TOML, or the JSON that `Config.save` wrote beside a result of the same command.

    Raises:
        ConfigError: an unknown key, a wrong type, an unknown choice, a value out of range, a
            contradiction.
    """
    given = {key: value for key, value in flags.items() if value is not None}
    variables = {key: value for key, value in _read_environment(kind).items() if key not in given}
    values = (_read_file(kind, file) if file else {}) | variables | given
    _check_known(kind, values)
    hints = typing.get_type_hints(kind)
    values = {key: _coerce(value, hints[key]) for key, value in values.items()}
    for item in fields(kind):
        if item.name in variables:
            try:
                _check_field(item, values[item.name], hints[item.name])
            except ConfigError as error:
                raise ConfigError(
                    f"variable {_prefix(kind)}{item.name.upper()}: {error}"
                ) from error
    return kind(**values)


def build_config(kind: type[C], base: C | None = None, /, **values: object) -> C:
    """The settings of `base`, or the defaults, changed by those `values` that are not None.

    Neither a file nor the environment is read.

    Raises:
        ConfigError: as `load_config`.
    """
    given = {key: value for key, value in values.items() if value is not None}
    _check_known(kind, given)
    hints = typing.get_type_hints(kind)
    changes = {key: _coerce(value, hints[key]) for key, value in given.items()}
    return dataclasses.replace(base, **changes) if base else kind(**changes)


def _read_file(kind: type[Config], file: Path) -> dict[str, Any]:
    """A TOML file, or the JSON that `Config.save` wrote."""
    import tomllib  # like difflib below, not worth loading for the many who need it not

    saved = file.suffix == ".json"
    try:
        values = (json.loads if saved else tomllib.loads)(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{file}: cannot be read ({error.strerror}); give --config an existing TOML file"
        ) from error
    except (
        ValueError,
        RecursionError,
    ) as error:  # not text, not TOML, or a number of thousands of digits
        raise ConfigError(f"{file}: not valid {'JSON' if saved else 'TOML'} ({error})") from error
    return _read_saved(kind, file, values) if saved else _read_toml_settings(kind, values)


def _read_saved(kind: type[Config], file: Path, values: Any) -> dict[str, Any]:
    """What `Config.save` wrote of this command, without what was not set."""
    command = values.get("command") if isinstance(values, Mapping) else None
    if command != kind.command:
        raise ConfigError(
            f"{file}: not the settings of 'deepkd {kind.command}' as it saves them beside a result"
        )
    return {key: value for key, value in values.items() if key != "command" and value is not None}


def _read_toml_settings(kind: type[Config], values: dict[str, Any]) -> dict[str, Any]:
    """What a TOML file sets of this command: its section, and what stands outside of all."""
    tables = {item.name: item.metadata["table"] for item in fields(kind) if item.metadata["table"]}
    section = values.get(kind.command)
    if isinstance(
        section, Mapping
    ):  # and where one command has its section, others may have theirs
        shared = {
            key: value
            for key, value in values.items()
            if key in tables.values() or not isinstance(value, Mapping)
        }
        values = {**shared, **section}
    for name, table in tables.items():
        if isinstance(values.get(table), list | Mapping):
            values[name] = values.pop(table)
    return values


def _read_environment(kind: type[Config]) -> dict[str, Any]:
    prefix = _prefix(kind)
    values = {
        name.removeprefix(prefix).lower(): value
        for name, value in os.environ.items()
        if name.startswith(prefix)
    }
    _check_known(kind, values, prefix)
    return values


def _prefix(kind: type[Config]) -> str:
    """What the environment variables of this command's settings begin with."""
    return f"DEEPKD_{kind.command}_".upper()


def _check_known(kind: type[Config], values: Iterable[str], prefix: str = "") -> None:
    """Refuse unknown settings; `prefix` begins their names where they are variables."""
    known = {item.name for item in fields(kind)}
    for key in values:
        if key not in known:
            import difflib

            close = difflib.get_close_matches(key, known, n=1)
            guess = f" (did you mean '{close[0]}'?)" if close else ""
            named = f"variable {prefix}{key.upper()}: no setting" if prefix else "unknown setting"
            raise ConfigError(f"{named} '{key}'{guess}; choose from {', '.join(sorted(known))}")


def _kinds(hint: object) -> tuple[type, ...]:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return tuple(typing.get_origin(option) or option for option in options)


def _coerce(value: Any, hint: Any) -> Any:
    """Text from the environment or TOML as the field's type, where that is exact; else as it is."""
    kinds = _kinds(hint)
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, list) and tuple in kinds:
        return tuple(value)
    if (
        isinstance(value, int)
        and not isinstance(value, bool)
        and float in kinds
        and int not in kinds
    ):
        return float(value) if abs(value) <= sys.float_info.max else math.inf
    if not isinstance(value, str) or str in kinds:
        return value
    if bool in kinds and value.lower() in {"1", "true", "yes", "0", "false", "no"}:
        return value.lower() in {"1", "true", "yes"}
    for kind in (int, float, Path):
        if kind in kinds:
            try:
                return kind(value)
            except ValueError:
                continue
    return value


def _check_field(item: "dataclasses.Field[Any]", value: Any, hint: Any) -> None:
    kinds = _kinds(hint)
    wrong_bool = isinstance(value, bool) and bool not in kinds
    if Any not in kinds and (wrong_bool or not isinstance(value, kinds)):
        names = " or ".join(
            "nothing" if kind is types.NoneType else kind.__name__ for kind in kinds
        )
        raise ConfigError(f"{item.name}={value!r}: takes {names}, not {type(value).__name__}")
    choices, low, high = (item.metadata.get(key) for key in ("choices", "low", "high"))
    if high is None and item.name.endswith("_s"):
        high = LONGEST_S
    if value is None:
        return
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{item.name}={value}: takes a finite number")
    if choices and value not in choices:
        raise ConfigError(f"unknown {item.name} '{value}'; choose from {', '.join(choices)}")
    if (low is not None and value < low) or (high is not None and value > high):
        span = f"at least {low}" if high is None else f"{low} to {high}"
        raise ConfigError(f"{item.name}={value}: takes {span}")
