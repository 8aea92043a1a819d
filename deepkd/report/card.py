"""What a report says of the model: its metadata, and the essence of a shipped model's card."""

from collections.abc import Iterator, Mapping
from typing import Any

from deepkd.languages import ENGLISH, Language, Note
from deepkd.report import Provenance
from deepkd.shipped import shipped_card
from deepkd.text import visible

SHOWN = {
    "calibration": ("temperature", "bias"),
    "validation": ("val_auc", "val_log_loss", "epoch"),
    "input": ("size", "color", "resize"),
    "recipe": (
        *("teacher", "loss", "alpha", "temperature", "epochs", "batch", "lr", "weight_decay"),
        *(
            "augment",
            "self_blend",
            "face_swap",
            "same_encoding",
            "ema",
            "share_of_weights",
            "index_sha256",
        ),
    ),
}
"""What of a file's nested metadata is shown, a line each; the rest is defaults or long
lists."""
GUESSING = 0.6
"""A model with a lower AUC on its own validation crops is no detector."""
ELSEWHERE = {"name", "params", "schema", "trained"}
"""Plain metadata that has a line of its own, or says nothing."""


def model_facts(provenance: Provenance, language: Language = ENGLISH) -> Iterator[tuple[str, str]]:
    """Names and values, a line each, safe to show; what the file says of itself is in English."""
    say = language.say
    yield say("name"), visible(provenance.model)
    yield say("parameters"), language.number(provenance.params)
    yield "SHA-256", visible(provenance.sha256)
    if limits := provenance.thresholds:
        yield say("thresholds"), say("REAL up to {real:.1%}, FAKE from {fake:.1%}", **limits)
    for key, value in provenance.metadata.items():
        text = (
            _format_values(value, SHOWN.get(key, ()))
            if isinstance(value, Mapping)
            else _plain(value)
        )
        if text and key not in ELSEWHERE:
            yield visible(key).replace("_", " "), visible(text)
    yield from _card_facts(shipped_card(provenance.sha256), language)


def _card_facts(card: Mapping[str, Any], language: Language) -> Iterator[tuple[str, str]]:
    """What the card of a shipped model says, nothing for other models."""
    if card:
        yield language.say("trained on"), card["trained_on"]
        yield (
            language.say("AUC, with 95% intervals"),
            "; ".join(f"{name}: {figure}" for name, figure in card["auc"].items()),
        )


def model_limits(provenance: Provenance) -> str:
    """What the card of a shipped model says that it cannot do; "" for other models."""
    limits = shipped_card(provenance.sha256).get("limits", [])
    return " ".join(f"{text[0].upper()}{text[1:].rstrip('.')}." for text in limits)


def model_doubt(metadata: Mapping[str, Any]) -> str:
    """A warning for a model little better on its validation crops than guessing; else ""."""
    validation = metadata.get("validation")
    area = validation.get("val_auc") if isinstance(validation, Mapping) else None
    if not isinstance(area, int | float) or area >= GUESSING:
        return ""
    return Note(
        "the model's AUC on its own validation crops is {area:.2f}, where {chance:.1f} is guessing:"
        " its verdicts mean little",
        area=area,
        chance=0.5,
    )


def _format_values(values: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    """As in: temperature 1.165, bias 0.1334."""
    shown = ((key.replace("_", " "), _plain(values.get(key))) for key in keys)
    return ", ".join(f"{key} {text}" for key, text in shown if text)


def _plain(value: object) -> str:
    """A text, a number or a truth as text; "" for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value) if isinstance(value, str | bool) else ""
