"""What deepkd ships: where models and recipes lie, and the proof that the models are whole."""

import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from deepkd.errors import ConfigError, ModelError

CHECKSUMS = "SHA256SUMS"
GOLDEN = "golden.json"
PATTERN = "pattern"
"""The name of `deepkd.images.pattern` among the golden scores."""
_CHECKSUM = re.compile(r"(?P<digest>[0-9a-f]{64}) [ *](?P<name>[\w.-]+)")


def _find(name: str) -> Path | None:
    """Something that is shipped: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    return next(
        (folder / name for folder in (package, package.parent) if (folder / name).exists()), None
    )


@cache
def weights_dir() -> Path:
    """The folder of shipped weights.

    Raises:
        ModelError: it is missing.
    """
    checksums = _find(f"weights/{CHECKSUMS}")
    if checksums is None:
        raise ModelError("the shipped weights are missing from this installation; reinstall deepkd")
    return checksums.parent


def recipe_file(given: Path) -> Path:
    """The file of a shipped recipe, such as `hinton`; any other path is returned as it is.

    Raises:
        ConfigError: it is a mere name, but neither that of a file nor of a recipe.
    """
    if given.name != str(given) or given.suffix or given.exists():
        return given
    folder = _find("recipes")
    recipes = {path.stem: path for path in folder.glob("*.toml")} if folder else {}
    if given.name not in recipes:
        raise ConfigError(
            f"{given}: no such file and no such recipe; the recipes are"
            f" {', '.join(sorted(recipes))}"
        )
    return recipes[given.name]


@cache
def checksums() -> dict[str, str]:
    """File name -> SHA-256 (hex) of every shipped model.

    Raises:
        ModelError: the list is damaged.
    """
    lines = (weights_dir() / CHECKSUMS).read_text(encoding="utf-8", errors="replace").splitlines()
    found = [_CHECKSUM.fullmatch(line) for line in lines if line.strip()]
    if not all(found):
        raise ModelError(
            f"{CHECKSUMS}: damaged, so that no shipped model can be trusted; reinstall deepkd"
        )
    return {match["name"]: match["digest"] for match in found if match}


def shipped_students() -> list[str]:
    """The names of the shipped students, such as `deepkd-nano`."""
    return sorted(name.removesuffix(".onnx") for name in checksums() if name.startswith("deepkd-"))


def shipped_file(name: str) -> Path:
    """The path of a shipped model, verified against its SHA-256.

    Raises:
        ModelError: it is not shipped, missing or altered.
    """
    known = checksums()
    if name not in known:
        raise ModelError(f"{name}: not a shipped model; choose from {', '.join(sorted(known))}")
    path = weights_dir() / name
    if not path.is_file():
        raise ModelError(f"{name}: missing from {weights_dir()}; reinstall deepkd")
    if sha256_of(path) != known[name]:
        raise ModelError(
            f"{name}: damaged or altered (its SHA-256 is not the published one); reinstall deepkd"
        )
    return path


def shipped_card(sha256: str) -> dict[str, Any]:
    """The main facts of a shipped model's card, by the SHA-256 (hex) of its file; else {}.

    Raises:
        ModelError: the card is damaged.
    """
    for name, digest in checksums().items():
        path = (weights_dir() / name).with_suffix(".json")
        if digest == sha256 and path.is_file():
            try:
                card: dict[str, Any] = json.loads(path.read_bytes())
                written_for = card["sha256"]
            except (ValueError, KeyError, TypeError) as error:
                raise ModelError(f"{path.name}: damaged; reinstall deepkd") from error
            return (
                card if written_for == sha256 else {}
            )  # a card of another file says nothing of this one
    return {}


def golden_logit(student: str) -> float:
    """The logit of a shipped student for `deepkd.images.pattern` of its input size.

    Raises:
        ModelError: that is not known, as the list is missing or damaged.
    """
    try:
        return float(json.loads((weights_dir() / GOLDEN).read_bytes())[student][PATTERN])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{GOLDEN}: missing or damaged; reinstall deepkd") from error


def sha256_of(path: Path) -> str:
    """The SHA-256 (hex) of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
