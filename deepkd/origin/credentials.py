"""Content credentials: what a file says of its own making, signed (C2PA). Nothing is fetched.

https://spec.c2pa.org; read by the package c2pa-python, which the extra `provenance` installs.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from deepkd.errors import UsageError
from deepkd.imports import is_installed
from deepkd.origin.addresses import hide_credentials
from deepkd.text import shorten

SCANNED_BYTES = 16 * 2**20
"""A file up to this size is searched for `MARKS` first: c2pa takes 0.1 s to import."""
MARKS = (b"c2pa", b"dcterms:provenance")
"""One of them is in every file with credentials, or with an address of credentials."""
JSON_CHARACTERS = 16 * 2**20
"""Credentials that take more as JSON are not read."""
ENTRIES = 20
"""Source types and actions that are kept."""
MANIFESTS = 100
"""Manifests that are looked at: the file's own, and those of what it was made from."""
GENERATED = {
    "trainedAlgorithmicMedia",
    "compositeWithTrainedAlgorithmicMedia",
    "trainedAlgorithmicData",
}
"""Digital source types, by the last part of their address, of media from an AI generator."""
OFFLINE = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True},
    "core": {"allowed_network_hosts": [], "decode_identity_assertions": False},
}
"""Settings of c2pa: no manifest, revocation or identity is asked for in the network."""
UNTRUSTED = "signingCredential.untrusted"
"""What c2pa reports of a signer without a trust anchor; no problem of the file."""


class State(StrEnum):
    """What was found out about the credentials of a file."""

    NONE = "none"
    """There are none, which says nothing about the file."""
    ELSEWHERE = "elsewhere"
    """The file names an address of its credentials, which was not asked."""
    UNREADABLE = "unreadable"
    """There are credentials, but they are damaged, or too large."""
    INVALID = "invalid"
    """They do not fit the file, or their signature does not hold."""
    VALID = "valid"
    """They fit the file; who signed them is not confirmed by a trust anchor."""
    TRUSTED = "trusted"
    """They fit the file, and a trust anchor confirms who signed them."""


@dataclass(frozen=True)
class Credentials:
    """The content credentials of a file. Texts are short, on one line, and safe to show."""

    state: State
    signer: str = ""
    """Organization and name in the certificate that signed."""
    tool: str = ""
    """The program or camera that made the credentials, as it calls itself."""
    signed_at: str = ""
    """As a time-stamp authority confirms it; "" without one."""
    source_types: tuple[str, ...] = ()
    """IPTC digital source types of the file and of what it was made from: `digitalCapture`."""
    actions: tuple[str, ...] = ()
    """Edits that are claimed, by their names in C2PA: `c2pa.cropped`."""
    problems: tuple[str, ...] = ()
    """Why they are invalid, by the codes of C2PA: `assertion.dataHash.mismatch`."""
    address: str = ""
    """Where they are said to lie, if not in the file."""

    @property
    def says_generated(self) -> bool:
        """Whether they say that an AI generator made the file, or a part of it."""
        return not GENERATED.isdisjoint(self.source_types)

    def to_dict(self) -> dict[str, object]:
        """The `provenance` of schema deepkd.detect/1."""
        return {
            "state": str(self.state),
            "signer": self.signer or None,
            "tool": self.tool or None,
            "signed_at": self.signed_at or None,
            "digital_source_types": list(self.source_types),
            "says_ai_generated": self.says_generated,
            "actions": list(self.actions),
            "problems": list(self.problems),
            "address": self.address or None,
        }


def can_examine() -> bool:
    """Whether the extra `provenance` is installed."""
    return is_installed("c2pa")


def read_anchors(file: str | None) -> str:
    """The certificates of `--trust-anchors`, PEM; "" without a file.

    Raises:
        UsageError: it cannot be read, has no certificates, or the extra is not installed.
    """
    if file is None:
        return ""
    if not can_examine():
        raise UsageError(
            "--trust-anchors needs c2pa-python, which is not installed;"
            " pip install 'deepkd[provenance]'"
        )
    import ssl  # slow to import

    try:
        text = Path(file).read_text(encoding="utf-8")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except OSError as error:  # an SSLError is one, too
        reason = error.strerror if not isinstance(error, ssl.SSLError) else ""
        raise UsageError(
            f"--trust-anchors {file}: {reason or 'has no certificates'}; give a file of PEM"
            " certificates"
        ) from error
    except ValueError as error:
        raise UsageError(
            f"--trust-anchors {file}: has no certificates; give a file of PEM certificates"
        ) from error
    return text


def examine(path: Path, anchors: str = "") -> Credentials | None:
    """The content credentials of a file; None where c2pa-python is not installed or broken.

    Args:
        path: the file; it is only read.
        anchors: PEM certificates of those who may vouch for signers.

    Raises:
        OSError: the file cannot be read.
    """
    if not can_examine():
        return None
    if not _may_have_credentials(path):
        return Credentials(State.NONE)
    try:
        import c2pa
    except (ImportError, OSError, RuntimeError):
        return None
    settings = {**OFFLINE, "trust": {"user_anchors": anchors}} if anchors else OFFLINE
    with c2pa.Context.from_dict(settings) as context, path.open("rb") as file:
        try:
            reader = c2pa.Reader.try_create(None, file, context=context)
        except c2pa.C2paError as error:
            return _from_error(error)
        if reader is None:
            return Credentials(State.NONE)
        with reader:
            return _parse(reader.json())


def _may_have_credentials(path: Path) -> bool:
    with path.open("rb") as file:
        data = file.read(SCANNED_BYTES + 1)
    return len(data) > SCANNED_BYTES or any(mark in data for mark in MARKS)


def _from_error(error: Exception) -> Credentials:
    """What is known where c2pa gives no credentials: it tells why by the first word."""
    kind, _, rest = str(error).partition(": ")
    if kind == "NotSupported":  # a kind of file that cannot have any
        return Credentials(State.NONE)
    if kind == "Remote":
        return Credentials(State.ELSEWHERE, address=shorten(_address_in(rest)))
    return Credentials(State.UNREADABLE, problems=(shorten(str(error)),))


def _address_in(text: str) -> str:
    return hide_credentials(text.rpartition(" ")[2])


def _parse(text: str) -> Credentials:
    """What a manifest store says, as c2pa writes it in JSON."""
    if len(text) > JSON_CHARACTERS:
        return Credentials(State.UNREADABLE, problems=("too large",))
    try:
        return _describe(json.loads(text))
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        return Credentials(State.UNREADABLE, problems=("not understood",))


def _describe(store: Mapping[str, Any]) -> Credentials:
    manifests = list(_follow_ingredients(store))
    own = manifests[0]
    actions = [action for manifest in manifests for action in _find_actions(manifest)]
    signature = own.get("signature_info") or {}
    names = [shorten(signature.get(key)) for key in ("issuer", "common_name")]
    statuses = store.get("validation_status") or []
    return Credentials(
        State(str(store["validation_state"]).lower()),
        signer=_join_names(*names),
        tool=_name_tool(own),
        signed_at=shorten(signature.get("time")),
        source_types=_keep_distinct(
            _take_last_part(action.get("digitalSourceType")) for action in actions
        ),
        actions=_keep_distinct(shorten(action.get("action")) for action in actions),
        problems=_keep_distinct(
            code for each in statuses if (code := shorten(each.get("code"))) != UNTRUSTED
        ),
    )


def _follow_ingredients(store: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The manifest of the file, then those of what it was made from."""
    manifests, waiting, seen = store["manifests"], [store["active_manifest"]], set[str]()
    while waiting and len(seen) < MANIFESTS:
        label = waiting.pop(0)
        if label in seen or label not in manifests:
            continue
        seen.add(label)
        yield manifests[label]
        ingredients = manifests[label].get("ingredients") or []
        waiting += [each["active_manifest"] for each in ingredients if each.get("active_manifest")]


def _find_actions(manifest: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for assertion in manifest.get("assertions") or []:
        if str(assertion.get("label")).startswith("c2pa.actions"):
            yield from assertion["data"].get("actions") or []


def _name_tool(manifest: Mapping[str, Any]) -> str:
    for info in manifest.get("claim_generator_info") or []:
        return " ".join(filter(None, (shorten(info.get("name")), shorten(info.get("version")))))
    return shorten(manifest.get("claim_generator"))


def _join_names(organization: str, name: str) -> str:
    """As in: News Agency (Jane Doe)."""
    return f"{organization} ({name})" if organization and name else organization or name


def _take_last_part(address: object) -> str:
    return shorten(address).rstrip("/").rpartition("/")[2]


def _keep_distinct(texts: Iterator[str]) -> tuple[str, ...]:
    """Each text once, in their order, the first `ENTRIES`."""
    return tuple(dict.fromkeys(text for text in texts if text))[:ENTRIES]
