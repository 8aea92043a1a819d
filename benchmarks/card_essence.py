"""The essence of a model's card, which reports show: file, hash, training data, AUC, limits."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from card_text import BEYOND, beyond
from documents import interval, say

from deepkd.outputs import write_whole
from deepkd.scoring.model import Scorer


def write_essence(args: argparse.Namespace) -> None:
    """Write what reports show of the model beside the card.

    Raises:
        SystemExit: a limit is no sentence of the card.
    """
    scorer = Scorer.load(args.model)
    path = args.document.parent / f"{scorer.path.stem}.json"
    kept = [args.out / f"{name}.json" for name in ("trained", "figures", "beyond")]
    trained, figures, other = (json.loads(one.read_text()) if one.exists() else {} for one in kept)
    if any(one.get("sha256") != scorer.sha256 for one in (trained, figures, other)):
        raise SystemExit(
            f"{path}: not written; measure the parts trained, figures and beyond of this file first"
        )
    essence = {
        "file": scorer.path.name,
        "sha256": scorer.sha256,
        "trained_on": trained["trained_on"],
        "auc": {name: interval(models[0]["auc"]) for name, models in figures["sets"].items()},
        "limits": limits_of(path, other),
    }
    with write_whole(path) as beside:
        beside.write_text(json.dumps(essence, indent=2) + "\n")
    say(f"wrote {path}")
    page = " ".join(args.document.read_text().split())
    lost = [text for text in essence["limits"] if text not in page]
    if lost:
        raise SystemExit(
            f"{path}: no sentence of {args.document}, mend one of them: {' | '.join(lost)}"
        )


def limits_of(path: Path, document: Mapping[str, Any]) -> list[str]:
    """The limits that people chose, with the sentence about other data as measured now."""
    ours = {text.format(**document) for text in BEYOND.values()}
    known: Sequence[str] = (
        json.loads(path.read_text(encoding="utf-8"))["limits"] if path.exists() else []
    )
    place = next((number for number, text in enumerate(known) if text in ours), len(known))
    kept = [text for text in known if text not in ours]
    return [*kept[:place], beyond(document), *kept[place:]]
