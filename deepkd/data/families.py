"""Families seen in training, as short hashes that travel with a model, to tell whether a test set is new to it.

A family is an original with its forgeries: the unit of splitting, so that one clip, one frame or one method of it in
the training data is enough. Its name, as the index gives it, is hashed to 40 bits: 8,000 families take 40 kB (54 kB
as text), where hashes of 27,000 files would take more than three times that. A test set of 1,000 strange families
looks partly familiar by accident once in 140,000 times; a Bloom filter of the same odds is hardly smaller.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable
from typing import Any

from deepkd.data.crops import CropSet
from deepkd.errors import ModelError

HASH_BYTES = 5
FAMILIES_KEY = "families"
"""In a model's recipe: the sorted hashes of its training families, joined, in base64."""
PEOPLE_KEY = "people"
"""Likewise those of the people in its training data, where the index names any."""


def training_record(crops: CropSet) -> dict[str, str]:
    """What a model's recipe says of the crops it was trained on: hashes of the whole, of each family and person."""
    people = {name for row in crops.rows for name in row.identities}
    return {
        "index_sha256": crops.index_sha256(),
        FAMILIES_KEY: _joined({row.original for row in crops.rows}),
        **({PEOPLE_KEY: _joined(people)} if people else {}),
    }


def known_families(recipe: dict[str, Any], originals: Iterable[str]) -> list[str] | None:
    """Those of the originals that a model was trained on, sorted; None where its recipe does not list them.

    Raises:
        ModelError: the list is damaged.
    """
    return _known(recipe, FAMILIES_KEY, originals)


def known_people(recipe: dict[str, Any], people: Iterable[str]) -> list[str] | None:
    """Those of the people whom a model saw in its training, sorted; None where its recipe lists nobody.

    Raises:
        ModelError: the list is damaged.
    """
    return _known(recipe, PEOPLE_KEY, people)


def _known(recipe: dict[str, Any], key: str, names: Iterable[str]) -> list[str] | None:
    listed = recipe.get(key)
    if listed is None:
        return None
    try:
        data = base64.b64decode(listed, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise ModelError(f"the model's list of training {key} is damaged ({error}); train or export again") from error
    seen = {data[start : start + HASH_BYTES] for start in range(0, len(data), HASH_BYTES)}
    return sorted(name for name in set(names) if _hash(name) in seen)


def _joined(names: Iterable[str]) -> str:
    """The sorted hashes of the names, in base64."""
    return base64.b64encode(b"".join(sorted({_hash(name) for name in names}))).decode("ascii")


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:HASH_BYTES]
