"""Families seen in training, as short hashes that travel with a model, to tell whether a test set is new to it.

A family is an original with its forgeries: the unit of splitting, so that one clip, one frame or
one method of it in the training data is enough. Its name, as the index gives it, is hashed to 40
bits: 8,000 families take 40 kB (54 kB as text), where hashes of 27,000 files would take more than
three times that. A test set of 1,000 strange families looks partly familiar by accident once in
140,000 times; a Bloom filter of the same odds is hardly smaller.

What a model starts from and who teaches it have seen data of their own. Their lists are joined to
its own, and where one of them has none, its name is kept, so that nobody takes the list for
complete.
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
"""Likewise those of the people in its training data, where the index names any."""
NAMES_KEY = "names"
"""Likewise the file names alone of families that are named with their folders: these hang on which
folder was given."""

UNLISTED_KEY = "unlisted"
"""Names of the starts and teachers whose training data nobody listed; absent where there is
none."""


class Known(Protocol):
    """A model with what is known of it."""

    name: str
    trained: bool
    metadata: dict[str, Any]


def training_record(crops: CropSet, earlier: Iterable[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """What a model's recipe says of what it was trained on: hashes of the whole, of each family and person.

    Args:
        crops: its own training data.
        earlier: `inherited` from its start and its teachers, whose families and people are joined
            to its own.

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
        key: hashes.union(*(_seen(record, key) for record in before)) for key, hashes in own.items()
    }
    unlisted = sorted({name for record in before for name in record.get(UNLISTED_KEY, ())})
    return {
        "index_sha256": crops.index_sha256(),
        **{key: _joined(hashes) for key, hashes in lists.items() if hashes},
        **({UNLISTED_KEY: unlisted} if unlisted else {}),
    }


def inherited(model: Known) -> dict[str, Any]:
    """What is known of the data that a start or a teacher has seen; nothing for weights that saw no labelled faces."""
    recipe = model.metadata.get("recipe") or {}
    listed = {
        key: recipe[key]
        for key in (FAMILIES_KEY, PEOPLE_KEY, NAMES_KEY, UNLISTED_KEY)
        if key in recipe
    }
    if model.trained and FAMILIES_KEY not in listed:
        listed[UNLISTED_KEY] = [*listed.get(UNLISTED_KEY, ()), model.name]
    return listed


def known_families(recipe: Mapping[str, Any], originals: Iterable[str]) -> list[str] | None:
    """Those of the originals that a model was trained on, sorted; None where its recipe does not list them.

    Raises:
        ModelError: the list is damaged.
    """
    return _known(recipe, FAMILIES_KEY, originals)


def known_people(recipe: Mapping[str, Any], people: Iterable[str]) -> list[str] | None:
    """Those of the people whom a model saw in its training, sorted; None where its recipe lists nobody.

    Raises:
        ModelError: the list is damaged.
    """
    return _known(recipe, PEOPLE_KEY, people)


def known_names(recipe: Mapping[str, Any], originals: Iterable[str]) -> list[str]:
    """Those of the originals that only have the file name of one that a model was trained on, sorted.

    It may be the same file, found under another folder, or another one of that name.

    Raises:
        ModelError: a list is damaged.
    """
    families = _seen(recipe, FAMILIES_KEY)
    named = families | _seen(recipe, NAMES_KEY)
    return sorted(
        name
        for name in set(originals)
        if _hash(name) not in families and _hash(_file_name(name)) in named
    )


def _file_name(original: str) -> str:
    return original.replace("\\", "/").rpartition("/")[2]


def _known(recipe: Mapping[str, Any], key: str, names: Iterable[str]) -> list[str] | None:
    if recipe.get(key) is None:
        return None
    seen = _seen(recipe, key)
    return sorted(name for name in set(names) if _hash(name) in seen)


def _seen(recipe: Mapping[str, Any], key: str) -> set[bytes]:
    """The hashes of a list."""
    try:
        data = base64.b64decode(recipe.get(key, ""), validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise ModelError(
            f"the model's list of training {key} is damaged ({error}); train or export again"
        ) from error
    return {data[start : start + HASH_BYTES] for start in range(0, len(data), HASH_BYTES)}


def _joined(hashes: set[bytes]) -> str:
    """The hashes sorted, in base64."""
    return base64.b64encode(b"".join(sorted(hashes))).decode("ascii")


def _hashes(names: Iterable[str]) -> set[bytes]:
    return {_hash(name) for name in names}


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:HASH_BYTES]
