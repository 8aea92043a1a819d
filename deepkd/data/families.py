"""Families: the originals that a model was trained on, as short hashes in its recipe.

The hashes show whether a test set is new to the model. A family is an original with its forgeries.
A model knows a family if one crop of it was in the training data. Its name in the index is hashed
to 40 bits: 8,000 families take 40 kB (54 kB as text); hashes of 27,000 files would take more than
three times that. Of 140,000 test sets of 1,000 new families, one seems partly known by accident. A
Bloom filter with the same error rate is hardly smaller.

The checkpoint that a model starts from and its teachers have their own training data. Their lists
are added to the model's list. If one of them has no list, its name is stored, to show that the list
is incomplete.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from deepkd.data.crops import CropSet
from deepkd.errors import ModelError

HASH_BYTES = 5
FAMILIES_KEY = "families"
"""In a model's recipe: the sorted hashes of its training families, joined, in base64."""
PEOPLE_KEY = "people"
"""The same for the people in its training data, if the index names any."""
NAMES_KEY = "names"
"""The same for the file names of families that are named with their folders: the folder depends on
the path that was given."""

UNLISTED_KEY = "unlisted"
"""Names of the starts and teachers without a list of their training data; absent if all have
one."""


class Known(Protocol):
    """A model with its metadata."""

    name: str
    trained: bool
    metadata: dict[str, Any]


def training_record(crops: CropSet, earlier: Iterable[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """The part of a recipe that lists training data: hashes of index, families and people.

    Args:
        crops: its own training data.
        earlier: what `list_inherited` gives of its start and its teachers; their families and
            people are joined to its own.

    Raises:
        ModelError: an earlier list is damaged.
    """
    people = {name for row in crops.rows for name in row.identities}
    originals = {row.original for row in crops.rows}
    own = {
        FAMILIES_KEY: _hashes(originals),
        PEOPLE_KEY: _hashes(people),
        NAMES_KEY: _hashes({_file_name(name) for name in originals} - originals),
    }
    before = list(earlier)
    lists = {
        key: hashes.union(*(_read_hashes(record, key) for record in before))
        for key, hashes in own.items()
    }
    unlisted = sorted({name for record in before for name in record.get(UNLISTED_KEY, ())})
    return {
        "index_sha256": crops.index_sha256(),
        **{key: _join_hashes(hashes) for key, hashes in lists.items() if hashes},
        **({UNLISTED_KEY: unlisted} if unlisted else {}),
    }


def list_inherited(model: Known) -> dict[str, Any]:
    """The lists of a start or a teacher; empty for weights that saw no labelled faces."""
    recipe = model.metadata.get("recipe") or {}
    listed = {
        key: recipe[key]
        for key in (FAMILIES_KEY, PEOPLE_KEY, NAMES_KEY, UNLISTED_KEY)
        if key in recipe
    }
    if model.trained and FAMILIES_KEY not in listed:
        listed[UNLISTED_KEY] = [*listed.get(UNLISTED_KEY, ()), model.name]
    return listed


def find_known_families(recipe: Mapping[str, Any], originals: Iterable[str]) -> list[str] | None:
    """The originals that a model was trained on, sorted; None if its recipe lists none.

    Raises:
        ModelError: the list is damaged.
    """
    return _find_known(recipe, FAMILIES_KEY, originals)


def find_known_people(recipe: Mapping[str, Any], people: Iterable[str]) -> list[str] | None:
    """The people in a model's training data, sorted; None if its recipe lists none.

    Raises:
        ModelError: the list is damaged.
    """
    return _find_known(recipe, PEOPLE_KEY, people)


def find_known_names(recipe: Mapping[str, Any], originals: Iterable[str]) -> list[str]:
    """The originals that share only a file name with a training original, sorted.

    It may be the same file in another folder, or another file with that name.

    Raises:
        ModelError: a list is damaged.
    """
    families = _read_hashes(recipe, FAMILIES_KEY)
    named = families | _read_hashes(recipe, NAMES_KEY)
    return sorted(
        name
        for name in set(originals)
        if _hash(name) not in families and _hash(_file_name(name)) in named
    )


def _file_name(original: str) -> str:
    return original.replace("\\", "/").rpartition("/")[2]


def _find_known(recipe: Mapping[str, Any], key: str, names: Iterable[str]) -> list[str] | None:
    if recipe.get(key) is None:
        return None
    seen = _read_hashes(recipe, key)
    return sorted(name for name in set(names) if _hash(name) in seen)


def _read_hashes(recipe: Mapping[str, Any], key: str) -> set[bytes]:
    """The hashes of a list."""
    try:
        data = base64.b64decode(recipe.get(key, ""), validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise ModelError(
            f"the model's list of training {key} is damaged ({error}); train or export again"
        ) from error
    return {data[start : start + HASH_BYTES] for start in range(0, len(data), HASH_BYTES)}


def _join_hashes(hashes: set[bytes]) -> str:
    """The hashes sorted, in base64."""
    return base64.b64encode(b"".join(sorted(hashes))).decode("ascii")


def _hashes(names: Iterable[str]) -> set[bytes]:
    return {_hash(name) for name in names}


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:HASH_BYTES]
