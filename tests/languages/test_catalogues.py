"""Every catalogue has every message, with the same values; figures are written as readers do."""

import ast
import datetime
import pickle
from functools import cache
from pathlib import Path
from string import Formatter

import pytest
from jinja2 import Environment, FileSystemLoader, nodes

from deepkd.languages import LANGUAGES, Note, language, usual_language
from deepkd.languages.catalogue import FOLDER, read_entries

PACKAGE = Path(__file__).resolve().parents[2] / "deepkd"
TEMPLATES = PACKAGE / "report" / "templates"
SAYING = {"say", "message", "Note", "t"}
COUNTING = {"count", "n"}
OTHERS = [code for code in LANGUAGES if code != "en"]


@cache
def messages() -> frozenset[str | tuple[str, str]]:
    """Every message of the source and the templates; a pair has a singular and a plural."""
    found: set[str | tuple[str, str]] = set()
    sources = (path.read_text() for path in PACKAGE.rglob("*.py"))
    for source in sources:
        for call in ast.walk(ast.parse(source if "deepkd.languages" in source else "")):
            if isinstance(call, ast.Call):
                name = getattr(call.func, "attr", getattr(call.func, "id", ""))
                values = [getattr(argument, "value", None) for argument in call.args]
                found |= taken(name, values)
    env = Environment(loader=FileSystemLoader(TEMPLATES))
    for path in TEMPLATES.glob("*.html"):
        for call in env.parse(path.read_text()).find_all(nodes.Call):
            values = [getattr(argument, "value", None) for argument in call.args]
            found |= taken(getattr(call.node, "name", ""), values)
    return frozenset(found)


def taken(name: str, values: list[object]) -> set[str | tuple[str, str]]:
    first, second = (*values, None, None)[:2]
    if name in SAYING and isinstance(first, str):
        return {first}
    if name in COUNTING and isinstance(first, str) and isinstance(second, str):
        return {(first, second)}
    return set()


def values(text: str) -> set[tuple[str | None, str | None]]:
    """The placeholders of a text, each with its format."""
    return {(name, spec) for _, name, spec, _ in Formatter().parse(text) if name is not None}


def translations(code: str) -> dict[str | tuple[str, str], list[str]]:
    _, *entries = read_entries((FOLDER / f"{code}.po").read_text())
    return {
        (entry["msgid"], entry["msgid_plural"]) if "msgid_plural" in entry else entry["msgid"]: [
            text for key, text in entry.items() if key.startswith("msgstr")
        ]
        for entry in entries
    }


@pytest.mark.parametrize("code", OTHERS)
def test_a_catalogue_has_every_message_and_no_other(code: str) -> None:
    known = translations(code)
    assert len(messages()) > 100
    assert messages() - known.keys() == set(), "to be translated"
    assert known.keys() - messages() == set(), "no longer said"
    assert "fuzzy" not in (FOLDER / f"{code}.po").read_text()


@pytest.mark.parametrize("code", OTHERS)
def test_a_translation_has_the_values_of_its_message(code: str) -> None:
    for message, forms in translations(code).items():
        wanted = values(message if isinstance(message, str) else message[1])
        assert len(forms) == (1 if isinstance(message, str) or code == "ko" else 2), message
        for form in forms:
            assert form.strip() and values(form) == wanted, (message, form)


@pytest.mark.parametrize(
    ("code", "frames", "share", "size", "time"),
    [
        ("en", ("0 frames", "1 frame"), "12.5%", "1,234,567", "2026-03-09 14:05 UTC"),
        ("de", ("0 Bildern", "1 Bild"), "12,5\xa0%", "1.234.567", "09.03.2026, 14:05 UTC"),
        (
            "fr",
            ("0 image", "1 image"),
            "12,5\u202f%",
            "1\u202f234\u202f567",
            "09/03/2026 à 14:05 UTC",
        ),
        ("es", ("0 fotogramas", "1 fotograma"), "12,5\xa0%", "1.234.567", "09/03/2026, 14:05 UTC"),
        ("ko", ("프레임 0개", "프레임 1개"), "12.5%", "1,234,567", "2026. 03. 09. 14:05 UTC"),
    ],
)
def test_figures(code: str, frames: tuple[str, str], share: str, size: str, time: str) -> None:
    chosen = language(code)
    count = [chosen.count("{count} frame", "{count} frames", number) for number in (0, 1)]
    assert (*count,) == frames
    assert (chosen.number(0.125, ".1%"), chosen.number(1234567)) == (share, size)
    assert chosen.date(datetime.datetime(2026, 3, 9, 14, 5, tzinfo=datetime.UTC)) == time


def test_a_note_is_said_in_another_language_also_after_a_process() -> None:
    note = pickle.loads(pickle.dumps(Note("HDR ({kind}) was converted to SDR", kind="PQ")))
    assert note == "HDR (PQ) was converted to SDR"
    assert language("de").repeat(note) == "HDR (PQ) wurde in SDR umgewandelt"
    assert language("de").repeat("as it is") == "as it is"


@pytest.mark.parametrize(
    ("environment", "code"),
    [
        ({}, "en"),
        ({"LANG": "de_CH.UTF-8"}, "de"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "ja_JP.UTF-8"}, "en"),
        ({"LANG": "de_DE", "LC_ALL": "fr_FR.UTF-8"}, "fr"),
        ({"LANG": "es", "LC_ALL": ""}, "es"),
    ],
)
def test_the_language_of_the_reader(environment: dict[str, str], code: str) -> None:
    assert usual_language(environment) == code
