"""The model files that deepkd ships: where they lie, and the proof that they are whole."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from deepkd.errors import ModelError

CHECKSUMS = "SHA256SUMS"


@cache
def weights_dir() -> Path:
    """The folder of shipped weights: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package / "weights", package.parent / "weights"):
        if (folder / CHECKSUMS).is_file():
            return folder
    raise ModelError("the shipped weights are missing from this installation; reinstall deepkd")


@cache
def checksums() -> dict[str, str]:
    """File name -> SHA-256 (hex) of every shipped model."""
    lines = (weights_dir() / CHECKSUMS).read_text().splitlines()
    return {name: digest for digest, name in (line.split() for line in lines if line.strip())}


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
        raise ModelError(f"{name}: damaged or altered (its SHA-256 is not the published one); reinstall deepkd")
    return path


def shipped_card(sha256: str) -> dict[str, Any]:
    """The essence of the card of a shipped model, named by the SHA-256 (hex) of its file; {} for other models."""
    for name, digest in checksums().items():
        path = (weights_dir() / name).with_suffix(".json")
        if digest == sha256 and path.is_file():
            card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return card
    return {}


def sha256_of(path: Path) -> str:
    """The SHA-256 (hex) of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
