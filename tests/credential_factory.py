"""Files with content credentials, signed by certificates that are made here and thrown away.

identity = Identity.make("News Agency")
sign(Path("a.jpg"), Path("signed.jpg"), identity)
sign(Path("a.jpg"), Path("expired.jpg"), identity, is_expired=True)
"""

import datetime
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

TYPES = {".jpg": "image/jpeg", ".png": "image/png", ".mp4": "video/mp4"}
IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"
QUIET = {"verify": {"verify_after_sign": False}, "builder": {"thumbnail": {"enabled": False}}}
USAGES = (
    "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "encipher_only", "decipher_only",
)  # fmt: skip


@dataclass(frozen=True)
class Identity:
    """A signer: its key, two certificates for it, and the root that vouches for it."""

    key: ec.EllipticCurvePrivateKey
    leaf: x509.Certificate
    expired: x509.Certificate
    """As long as `leaf`."""
    root: x509.Certificate

    @classmethod
    def make(cls, organization: str = "News Agency", name: str = "Jane Doe") -> "Identity":
        key, root_key = (
            ec.generate_private_key(ec.SECP256R1()),
            ed25519.Ed25519PrivateKey.generate(),
        )
        issuer = _name(organization, "Root")
        root = _certificate(issuer, issuer, root_key.public_key(), root_key, (-900, 900))
        subject, serial = _name(organization, name), x509.random_serial_number()
        leaf, expired = (
            _certificate(subject, issuer, key.public_key(), root_key, days, serial=serial)
            for days in ((-1, 30), (-60, -30))
        )
        return cls(key, leaf, expired, root)

    @property
    def anchor(self) -> str:
        """The root, PEM."""
        return self.root.public_bytes(Encoding.PEM).decode()

    def signer(self, *, is_expired: bool = False) -> c2pa.Signer:
        """Signs with the key; c2pa refuses an expired certificate, so it is swapped in."""
        chain = self.leaf.public_bytes(Encoding.PEM).decode() + self.anchor

        def answer(data: bytes) -> bytes:
            data = self.swap(data) if is_expired else data
            return self.key.sign(data, ec.ECDSA(hashes.SHA256()))

        return c2pa.Signer.from_callback(answer, c2pa.C2paSigningAlg.ES256, chain)

    def swap(self, data: bytes) -> bytes:
        """The bytes with the expired certificate in place of the valid one."""
        valid, expired = (each.public_bytes(Encoding.DER) for each in (self.leaf, self.expired))
        assert len(valid) == len(expired) and valid in data
        return data.replace(valid, expired)


def _name(organization: str, name: str) -> x509.Name:
    parts = ((NameOID.ORGANIZATION_NAME, organization), (NameOID.COMMON_NAME, name))
    return x509.Name([x509.NameAttribute(*part) for part in parts])


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: Any,
    by: Any,
    days: tuple[int, int],
    *,
    serial: int = 0,
) -> x509.Certificate:
    """A certificate by the key `by`; a root where both names are one."""
    now, is_root = datetime.datetime.now(datetime.UTC), subject == issuer
    start, end = (now + datetime.timedelta(days=each) for each in days)
    usage = x509.KeyUsage(
        digital_signature=not is_root, key_cert_sign=is_root, crl_sign=is_root,
        **dict.fromkeys(USAGES, False),
    )  # fmt: skip
    builder = x509.CertificateBuilder(issuer, subject, key, serial or 1, start, end)
    for extension, critical in (
        (x509.BasicConstraints(is_root, None), True),
        (usage, True),
        (x509.SubjectKeyIdentifier.from_public_key(key), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), False),
    ):
        builder = builder.add_extension(extension, critical)
    if not is_root:
        mail = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(mail, False)
    return builder.sign(by, None)


def manifest(*actions: dict[str, Any], tool: str = "Test Camera", **more: Any) -> dict[str, Any]:
    """What is signed; without actions the file was taken by a camera and cropped."""
    actions = actions or ({"action": "c2pa.created", "digitalSourceType": f"{IPTC}digitalCapture"},
                          {"action": "c2pa.cropped"})  # fmt: skip
    claims = {"label": "c2pa.actions", "data": {"actions": list(actions)}}
    info = {"name": tool, "version": "1.0"}
    return {"claim_generator_info": [info], "assertions": [claims], **more}


def sign(
    source: Path,
    target: Path,
    identity: Identity,
    claims: dict[str, Any] | None = None,
    *,
    is_expired: bool = False,
    prepare: Callable[[c2pa.Builder], object] = lambda builder: None,
) -> Path:
    """Write a signed copy; `prepare` may add to it before."""
    with (
        c2pa.Context.from_dict(QUIET) as context,
        c2pa.Builder(json.dumps(claims or manifest()), context) as builder,
        source.open("rb") as original,
        target.open("w+b") as copy,
    ):
        prepare(builder)
        builder.sign(identity.signer(is_expired=is_expired), TYPES[target.suffix], original, copy)
    if is_expired:
        data = identity.swap(target.read_bytes())
        target.write_bytes(_renew_sums(data) if target.suffix == ".png" else data)
    return target


def _renew_sums(png: bytes) -> bytes:
    """The file with a right checksum in every chunk."""
    whole, at = png[:8], 8
    while at < len(png):
        end = at + 8 + int.from_bytes(png[at : at + 4])
        whole += png[at:end] + zlib.crc32(png[at + 4 : end]).to_bytes(4)
        at = end + 4
    return whole
