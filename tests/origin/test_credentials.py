"""Content credentials, in files that are signed here: read, judged, and shown."""

import io
import json
import random
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from credential_factory import IPTC, Identity, manifest, sign
from media import Media
from typer.testing import CliRunner

from deepkd.cli.app import app
from deepkd.errors import UsageError
from deepkd.languages import language
from deepkd.origin.credentials import ENTRIES, Credentials, State, examine, read_anchors
from deepkd.report import Provenance
from deepkd.report.console import console_report
from deepkd.report.json import SCHEMA
from deepkd.scoring.verdict import Label, Verdict
from deepkd.scoring.wording import CREDENTIALS, describe_credentials
from deepkd.text import TEXT_CHARACTERS

FORGED = Path(__file__).parents[2] / "data" / "samples" / "forged.mp4"
NAMES = ("a.jpg", "a.png", "a.mp4")
AI = {"action": "c2pa.created", "digitalSourceType": f"{IPTC}trainedAlgorithmicMedia"}
HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e\n[red]"


@pytest.fixture(scope="module")
def identity() -> Identity:
    return Identity.make()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, identity: Identity) -> Path:
    """Files without credentials, and `signed-` copies of them."""
    media = Media(tmp_path_factory.mktemp("credentials"))
    media.still("a.jpg"), media.still("a.png"), media.clip("a.mp4")
    for name in NAMES:
        sign(media.path(name), media.path(f"signed-{name}"), identity)
    return media.path("a.jpg").parent


@pytest.mark.parametrize("name", NAMES)
def test_an_intact_file(name: str, folder: Path, identity: Identity) -> None:
    signed = folder / f"signed-{name}"
    found = examine(signed)
    assert (found.state, found.problems) == (State.VALID, ())
    assert (found.signer, found.tool) == ("News Agency (Jane Doe)", "Test Camera 1.0")
    assert (found.source_types, found.says_generated) == (("digitalCapture",), False)
    assert found.actions == ("c2pa.created", "c2pa.cropped")
    assert examine(signed, identity.anchor).state is State.TRUSTED
    assert examine(signed, Identity.make("Others").anchor).state is State.VALID
    assert examine(folder / name).state is State.NONE


@pytest.mark.parametrize("name", NAMES)
def test_one_byte_changed(name: str, folder: Path, identity: Identity, tmp_path: Path) -> None:
    data = bytearray((folder / f"signed-{name}").read_bytes())
    at = data.find(b"mdat") + 40 if name.endswith("mp4") else len(data) - 40
    claim = data.find(b"Test Camera")
    for place in (at, claim):
        changed = tmp_path / name
        changed.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        found = examine(changed, identity.anchor)
        assert found.state is State.INVALID
        assert any(code.endswith("mismatch") for code in found.problems)
        assert "changed after signing" in describe_credentials(found)[0]


@pytest.mark.parametrize("name", NAMES)
def test_an_expired_certificate(
    name: str, folder: Path, identity: Identity, tmp_path: Path
) -> None:
    expired = sign(folder / name, tmp_path / name, identity, is_expired=True)
    found = examine(expired, identity.anchor)
    assert (found.state, found.problems) == (State.INVALID, ("signingCredential.expired",))
    assert "not valid" in describe_credentials(found)[0]


def test_an_ai_generator_in_what_the_file_was_made_from(
    folder: Path, identity: Identity, tmp_path: Path
) -> None:
    made = sign(folder / "a.jpg", tmp_path / "made.jpg", identity, manifest(AI, tool="Generator"))
    assert examine(made).says_generated

    def add_parent(builder) -> None:
        with made.open("rb") as file:
            builder.add_ingredient({"relationship": "parentOf"}, "image/jpeg", file)

    edited = sign(made, tmp_path / "edited.jpg", identity, manifest({"action": "c2pa.edited"}),
                  prepare=add_parent)  # fmt: skip
    found = examine(edited)
    assert (found.tool, found.says_generated) == ("Test Camera 1.0", True)
    assert any("AI generator" in sentence for sentence in describe_credentials(found))


def test_credentials_elsewhere_are_not_asked_for(
    folder: Path, identity: Identity, tmp_path: Path
) -> None:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

        def move(builder) -> None:
            builder.set_no_embed()
            builder.set_remote_url(f"http://127.0.0.1:{server.server_port}/m?token=s3cret")

        remote = sign(folder / "a.jpg", tmp_path / "r.jpg", identity, prepare=move)
        found = examine(remote, identity.anchor)
        server.shutdown()
    assert (found.state, asked) == (State.ELSEWHERE, [])
    assert (
        found.address.endswith("/m?token=***") and found.address in describe_credentials(found)[0]
    )


def test_damaged_credentials_never_raise(folder: Path, tmp_path: Path) -> None:
    data = (folder / "signed-a.jpg").read_bytes()
    start, draw, states = data.find(b"jumb"), random.Random(1), set()
    for place in draw.sample(range(start, start + 4000), 40):
        damaged = tmp_path / "d.jpg"
        damaged.write_bytes(data[:place] + bytes([draw.randrange(256)]) + data[place + 1 :])
        states.add(examine(damaged).state)
    for end in (start + 8, start + 900, len(data) - 5):
        damaged.write_bytes(data[:end])
        states.add(examine(damaged).state)
    assert {State.INVALID, State.UNREADABLE} <= states <= set(State) - {State.TRUSTED}


def test_hostile_texts_are_cut_and_escaped(
    folder: Path, identity: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    actions = [{"action": f"{HOSTILE}{number}"} for number in range(50)]
    claims = manifest(AI, *actions, tool=HOSTILE + 500_000 * "x")
    hostile = sign(FORGED, tmp_path / "h.mp4", Identity.make(HOSTILE), claims)
    found = examine(hostile)
    assert len(found.tool) <= 2 * TEXT_CHARACTERS and len(found.actions) <= ENTRIES
    report = tmp_path / "r.html"
    words = ["detect", str(hostile), "--report", str(report), "--format", "json", "--frames", "2"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.stderr
    page = report.read_text(encoding="utf-8")
    shown = _on_terminal(Verdict(Label.REAL, None, "why", path=hostile, provenance=found))
    assert json.loads(done.stdout)["videos"][0]["provenance"] == found.to_dict()
    for text in (done.stdout, page, shown):
        assert "alert(1)" in text and "\x1b[31m" not in text and "\u202e" not in text
    assert "<script" not in page and len(page) < 300_000
    assert "[red]" in shown


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _on_terminal(verdict: Verdict) -> str:
    out = _Terminal()
    report = console_report(out, Provenance("nano", "ab" * 32, 1))
    report.add(verdict)
    report.close()
    return out.getvalue()


def test_detect_tells_them_beside_the_verdict(identity: Identity, tmp_path: Path) -> None:
    signed = sign(FORGED, tmp_path / "s.mp4", identity, manifest(AI, {"action": "c2pa.cropped"}))
    anchors, report = tmp_path / "anchors.pem", tmp_path / "r.html"
    anchors.write_text(identity.anchor)
    words = ["detect", str(signed), str(FORGED), "--format", "json", "--frames", "2", "--report",
             str(report), "--trust-anchors", str(anchors)]  # fmt: skip
    document = json.loads(CliRunner().invoke(app, words).stdout)
    first, second = document["videos"]
    assert document["schema"] == SCHEMA == "deepkd.detect/1"
    assert (first["verdict"], first["score"]) == (second["verdict"], second["score"])
    assert first["provenance"]["says_ai_generated"] and first["provenance"]["state"] == "trusted"
    assert (second["provenance"]["state"], second["provenance"]["signer"]) == ("none", None)
    page = report.read_text(encoding="utf-8")
    for text in (
        "signed by News Agency (Jane Doe)",
        "AI generator",
        "claim: cropped",
        "says nothing",
    ):
        assert text in page


def test_edits_are_named_in_the_language_of_the_report() -> None:
    found = Credentials(State.VALID, actions=("c2pa.opened", "c2pa.cropped", "org.x_y", "{0}"))
    assert describe_credentials(found)[-1] == "Edits that they claim: cropped, org.x y, {0}."
    told = describe_credentials(found, language("de"))[-1]
    assert told == "Angegebene Bearbeitungen: zugeschnitten, org.x y, {0}."


@pytest.mark.parametrize("state", State)
def test_every_state_has_a_sentence(state: State) -> None:
    assert state in CREDENTIALS


def test_without_the_extra(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    assert examine(folder / "signed-a.jpg") is None
    report = tmp_path / "r.html"
    words = ["detect", str(folder / "signed-a.jpg"), "--format", "json", "--report", str(report)]
    done = CliRunner().invoke(app, words)
    assert "provenance" not in json.loads(done.stdout)["videos"][0]
    page = report.read_text(encoding="utf-8").replace("&#39;", "'")
    assert "not examined; to do so: pip install 'deepkd[provenance]'" in page
    with pytest.raises(UsageError, match=r"pip install 'deepkd\[provenance\]'"):
        read_anchors("a.pem")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        (b"junk", "has no certificates"),
        (b"", "has no certificates"),
        (b"\xff\xfe\0", "has no certificates"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "has no certificates"),
    ],
)
def test_bad_trust_anchors(content: bytes | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "a.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_anchors(str(file))
