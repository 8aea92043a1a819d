"""Documents are the same after JSON and back."""

import json
from dataclasses import dataclass, field
from typing import ClassVar

from deepkd.documents import NOT_STORED, Document


@dataclass(frozen=True)
class Part(Document):
    value: float | None
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Whole(Document):
    schema: ClassVar[str] = "deepkd.whole/1"

    first: Part
    parts: tuple[Part, ...]
    by_name: dict[str, Part]
    missing: Part | None
    arrays: list[int] = field(default_factory=list, metadata=NOT_STORED)


WHOLE = Whole(Part(1.5), (Part(None, ("a", "b")),), {"x": Part(0.0)}, None)
PLAIN = {
    "schema": "deepkd.whole/1",
    "first": {"value": 1.5, "names": []},
    "parts": [{"value": None, "names": ["a", "b"]}],
    "by_name": {"x": {"value": 0.0, "names": []}},
    "missing": None,
}


def test_a_document_is_plain_values_in_the_order_of_its_fields() -> None:
    assert json.dumps(WHOLE.to_dict()) == json.dumps(PLAIN)


def test_a_document_comes_back_from_json() -> None:
    found = Whole.from_dict(json.loads(json.dumps(PLAIN)) | {"unknown": 1})
    assert found == WHOLE and isinstance(found.parts, tuple) and found.arrays == []
