"""Documents: results that are written as JSON and read back."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, ClassVar, Self


class Document:
    """A frozen dataclass whose fields are the keys of a JSON object, in their order.

    A field with the metadata `NOT_STORED` is left out.
    """

    schema: ClassVar[str] = ""
    """Name and version, the first key of the object; if empty, the key is left out."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        head = {"schema": self.schema} if self.schema else {}
        return head | {name: _to_plain(getattr(self, name)) for name in self._list_stored()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The document from the result of `to_dict`; unknown keys are ignored."""
        hints = typing.get_type_hints(cls)
        return cls(
            **{
                name: _from_plain(data[name], hints[name])
                for name in cls._list_stored()
                if name in data
            }
        )

    @classmethod
    def _list_stored(cls) -> list[str]:
        fields: Any = dataclasses.fields(cls)  # type: ignore[arg-type]
        return [item.name for item in fields if item.metadata.get("stored", True)]


NOT_STORED = types.MappingProxyType({"stored": False})
"""Metadata of a field that is not part of the JSON object."""


def _to_plain(value: Any) -> Any:
    if isinstance(value, Document):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {key: _to_plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_to_plain(one) for one in value]
    return value


def _from_plain(value: Any, hint: Any) -> Any:
    if value is None:
        return None
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return _from_plain(value, next(kind for kind in inner if kind is not type(None)))
    if origin in {tuple, list}:
        return origin(_from_plain(one, inner[0]) for one in value)
    if origin is dict:
        return {key: _from_plain(one, inner[1]) for key, one in value.items()}
    if isinstance(hint, type) and issubclass(hint, Document):
        return hint.from_dict(value)
    return value
