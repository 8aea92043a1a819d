"""Languages: the sentences of reports in the reader's language, and figures as it writes them.

A message is the English sentence itself, with its values in braces, and `CODE.po` in this folder
has its translation. `deepkd.languages.catalogue` reads these files.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from string import Formatter
from typing import Protocol


class Catalogue(Protocol):
    """The translations of one language, as `gettext` has them."""

    def gettext(self, message: str) -> str:
        """The translation of a message; the message itself without one."""
        ...

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        """The translation for a number, of a message in the singular and in the plural."""
        ...


@dataclass(frozen=True)
class Habits:
    """How a language writes figures and dates."""

    point: str = "."
    comma: str = ","
    """Between groups of three digits."""
    percent: str = "%"
    date: str = "%Y-%m-%d %H:%M UTC"


HABITS = {
    "en": Habits(),
    "de": Habits(",", ".", "\N{NO-BREAK SPACE}%", "%d.%m.%Y, %H:%M UTC"),
    "fr": Habits(
        ",", "\N{NARROW NO-BREAK SPACE}", "\N{NARROW NO-BREAK SPACE}%", "%d/%m/%Y à %H:%M UTC"
    ),
    "es": Habits(",", ".", "\N{NO-BREAK SPACE}%", "%d/%m/%Y, %H:%M UTC"),
    "ko": Habits(date="%Y. %m. %d. %H:%M UTC"),
}
"""Code of a language (ISO 639-1) -> its habits."""
LANGUAGES = tuple(HABITS)


def message(text: str) -> str:
    """The text itself; marks what catalogues translate where it is only kept for later."""
    return text


class Note(str):
    """A sentence in English that can be said in another language later."""

    message: str
    values: Mapping[str, object]

    def __new__(cls, message: str, **values: object) -> "Note":
        """The sentence of a message and its values."""
        self = super().__new__(cls, ENGLISH.say(message, **values))
        self.message, self.values = message, values
        return self

    def __reduce__(self) -> tuple[object, ...]:
        """What another process makes it from."""
        return _note, (self.message, dict(self.values))


def _note(message: str, values: Mapping[str, object]) -> Note:
    return Note(message, **values)


@dataclass(frozen=True)
class Language:
    """Says messages in one language; figures in them are written as it writes them."""

    code: str = "en"
    catalogue: Catalogue | None = field(default=None, repr=False, compare=False)
    """None for English."""

    def say(self, message: str, /, **values: object) -> str:
        """A message with its values."""
        return self.fill(self._translate(message), values)

    def count(self, one: str, many: str, count: int, /, **values: object) -> str:
        """A message for a number, which stands in it as `{count}`."""
        values = {"count": count, **values}
        if self.catalogue is None:
            return self.fill(one if count == 1 else many, values)
        return self.fill(self.catalogue.ngettext(one, many, count), values)

    def repeat(self, text: str) -> str:
        """A `Note` in this language; any other text as it is."""
        return self.say(text.message, **text.values) if isinstance(text, Note) else text

    def number(self, value: float, spec: str = ",") -> str:
        """A figure in a format such as `,` or `.1%`."""
        habits = HABITS[self.code]
        swapped = {".": habits.point, ",": habits.comma, "%": habits.percent}
        return "".join(swapped.get(char, char) for char in format(value, spec))

    def date(self, when: datetime) -> str:
        """A time in UTC, to the minute."""
        return when.strftime(HABITS[self.code].date)

    def fill(self, text: str, values: Mapping[str, object]) -> str:
        """A translated text with its values."""
        return _Figures(self).vformat(text, (), values)

    def _translate(self, message: str) -> str:
        return self.catalogue.gettext(message) if self.catalogue else message


class _Figures(Formatter):
    """Writes the figures in a text as a language does."""

    def __init__(self, language: Language) -> None:
        self._language = language

    def format_field(self, value: object, format_spec: str) -> str:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return self._language.number(value, format_spec)
        return str(super().format_field(value, format_spec))


ENGLISH = Language()


@cache
def language(code: str) -> Language:
    """The language with this code, of `LANGUAGES`."""
    if code == ENGLISH.code:
        return ENGLISH
    from deepkd.languages.catalogue import read_catalogue

    return Language(code, read_catalogue(code))


def usual_language(environment: Mapping[str, str] = os.environ) -> str:
    """The code of the reader's language by `LC_ALL`, `LC_MESSAGES` or `LANG`; else English."""
    chosen = (environment.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    code = next(filter(None, chosen), "").partition("_")[0].partition(".")[0].lower()
    return code if code in LANGUAGES else ENGLISH.code
