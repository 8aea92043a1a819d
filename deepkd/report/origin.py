"""Where a clip comes from: content credentials and links, for the page and the terminal."""

from typing import Any

from deepkd.languages import ENGLISH, Language
from deepkd.origin.credentials import State
from deepkd.origin.origin import Origin
from deepkd.scoring.verdict import Label, Verdict
from deepkd.scoring.wording import describe_credentials


def origin_section(verdict: Verdict, language: Language = ENGLISH) -> dict[str, Any]:
    """What the page shows below a clip: `sentences` and `facts`, both may be empty."""
    is_judged = verdict.label is not Label.ERROR
    return {
        "sentences": describe_credentials(verdict.provenance, language) if is_judged else [],
        "facts": _facts(verdict.origin, language) if verdict.origin else [],
    }


def origin_sentence(verdict: Verdict) -> str:
    """What the terminal shows below a clip; "" where there is nothing to tell."""
    if verdict.provenance is None or verdict.provenance.state is State.NONE:
        return ""
    return " ".join(describe_credentials(verdict.provenance))


def _facts(origin: Origin, language: Language) -> list[tuple[str, str]]:
    """Names and values, a line each."""
    say = language.say
    facts = [
        (say("fetched from"), origin.address),
        (say("fetched at"), origin.fetched_at),
        (say("title"), origin.title),
        (say("uploader"), origin.uploader),
        (say("format"), origin.format),
        (say("fetched by"), f"{origin.tool} ({origin.extractor})"),
        (
            say("file"),
            say("{size:,} bytes, SHA-256 {digest}", size=origin.bytes, digest=origin.sha256),
        ),
    ]
    return [(name, value) for name, value in facts if value]
