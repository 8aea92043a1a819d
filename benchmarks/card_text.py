"""The Markdown of a student's card, made of the figures that `model_card.py` measures."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from documents import damage, interval, markdown, percent

from deepkd.data.crops import CropSet
from deepkd.evaluation.decisions import (
    CLIP_FALSE_ALARMS,
    FALSE_ALARMS,
    MISSES,
    SOURCE_FALSE_ALARMS,
)
from deepkd.scoring.thresholds import Label

VERDICTS = (Label.FAKE, Label.INCONCLUSIVE, Label.REAL)
FIGURES = {
    "ece_even": "calibration error (ECE)",
    "fpr_at_95_tpr": "false alarms if 95% of forgeries are found",
}
BEYOND = {
    "unknown": "On {cross} no AUC with an interval was measured",
    "chance": "On {cross} it does little better than chance, if at all",
    "worse": "On {cross} it does worse than chance",
    "better": "On {cross} it does better than chance, but worse than on {home}",
    "no worse": "On {cross} it does better than chance, and no worse than on {home}",
}
"""The sentence on data that the student never saw, by where the interval of its AUC lies."""


def show_file(document: Mapping[str, Any]) -> str:
    side, rule = document["input"]["size"], document["input"]["crop"]
    evidence = " and `evidence`, a map of logits over the face"
    kinds = ", ".join(document["kinds"])
    lines = [
        [
            "file",
            f"`{document['file']}`, {document['bytes']:,} bytes, {kinds}, SHA-256"
            f" `{document['sha256']}`",
        ],
        [
            "architecture",
            f"`{document['architecture']}`; {document['params']:,} parameters,"
            f" {document['macs'] / 1e6:.1f} M multiply-accumulates",
        ],
        [
            "input",
            f"one face, uint8 RGB, {side} x {side} pixels, cut by the rule `{rule['name']}`",
        ],
        [
            "output",
            f"the logit of forgery{evidence if document['evidence'] else ''}; the file's metadata"
            " has crop rule, calibration and thresholds",
        ],
    ]
    return "\n".join(["| | |", "|---|---|", *(f"| {' | '.join(cells)} |" for cells in lines)])


def count_crops(crops: CropSet) -> str:
    """How many crops there are of each label."""
    labels = Counter(row.label for row in crops.rows)
    is_single = len({row.video or row.file for row in crops.rows}) == len(crops.rows)
    return (
        f"{labels['REAL'] + labels['FAKE']:,} face crops ({labels['REAL']:,} real,"
        f" {labels['FAKE']:,} forged{'; one per clip' if is_single else ''})"
    )


def show_trained(document: Mapping[str, Any]) -> str:
    return f"Data: {document['trained_on']}."


def show_figures(document: Mapping[str, Any]) -> str:
    columns = {name: models[0] for name, models in document["sets"].items()}
    counted = [
        "real / forged",
        *(f"{found['real']:,} / {found['fake']:,}" for found in columns.values()),
    ]
    lines = [
        [title, *(interval(found[key]) for found in columns.values())]
        for key, title in FIGURES.items()
    ]
    areas = [
        [f"AUC of {one['name']}", *(interval(m[number]["auc"]) for m in document["sets"].values())]
        for number, one in enumerate(document["models"])
    ]
    parts = [markdown(["[95% interval]", *columns], [counted, *areas, *lines])]
    if document["methods"]:
        methods = [
            [one["name"], *(interval(models[number]) for models in document["methods"].values())]
            for number, one in enumerate(document["models"])
        ]
        parts += [markdown([f"AUC on {document['cross']}", *document["methods"]], methods)]
    return "\n\n".join(parts)


def beyond(document: Mapping[str, Any]) -> str:
    """The sentence that the interval of the AUC on the other data set allows."""
    measure, home = document["auc"], document["home_auc"]["value"]
    if measure["low"] is None:
        kind = "unknown"
    elif measure["low"] <= 0.5 <= measure["high"]:
        kind = "chance"
    elif measure["high"] < 0.5:
        kind = "worse"
    else:
        kind = "better" if home is not None and measure["value"] < home else "no worse"
    return BEYOND[kind].format(**document)


def show_beyond(document: Mapping[str, Any]) -> str:
    text = f"- **{beyond(document)}**: AUC {interval(document['auc'])} on {document['level']}."
    return f"{text}{describe_methods(document['methods'])}"


def describe_methods(methods: Mapping[str, Mapping[str, Any]]) -> str:
    """Which methods are found, as far as the intervals tell; empty where none is known."""
    known = {name: one for name, one in methods.items() if one["low"] is not None}
    found = [name for name, one in known.items() if one["low"] > 0.5]
    missed = [name for name, one in known.items() if one["high"] < 0.5]
    unsure = [name for name in known if name not in (*found, *missed)]
    clauses = {
        "is better than chance": found,
        "is worse than chance": missed,
        "may be chance (0.5 lies in the interval)": unsure,
    }
    text = "; ".join(
        f"{what} against {', '.join(names)}" for what, names in clauses.items() if names
    )
    return f"\n  Its AUC {text}." if text else ""


OF_CROPS = (
    f"Both thresholds come from the validation crops: at most {FALSE_ALARMS:.0%} of the real ones"
    f" are called FAKE and at most {MISSES:.0%} of the forged ones REAL; rounding may add one crop."
)
OF_CLIPS = (
    "Both thresholds come from the validation clips, each source counting equally: at most"
    f" {CLIP_FALSE_ALARMS:.0%} of the real ones are called FAKE ({SOURCE_FALSE_ALARMS:.0%} within"
    f" one source) and at most {MISSES:.0%} of the forged ones REAL."
)


def show_verdicts(document: Mapping[str, Any]) -> str:
    """Thresholds and the shares of verdicts, without the first set, which chose the thresholds."""
    limits = document["thresholds"]
    _, *sets = document["sets"].items()
    lines = [
        [f"{name}, {sum(counts.values()):,} {kind}", *(shares(counts))]
        for name, kinds in sets
        for kind, counts in kinds.items()
    ]
    first, found = sets[0]
    counts = [sum(kind[verdict] for kind in found.values()) for verdict in VERDICTS]
    unsure = 100 * counts[1] / max(1, sum(counts))
    rule = OF_CLIPS if document.get("folders", 1) > 1 else OF_CROPS
    return (
        f"FAKE from a probability of {limits['fake']:.2f}, REAL up to {limits['real']:.2f},"
        f" INCONCLUSIVE between: **{unsure:.0f}% of the single crops** of {first}. {rule}\n\n"
        + markdown(["crops called", *(f"{verdict}, %" for verdict in VERDICTS)], lines)
    )


def shares(counts: Mapping[str, int]) -> list[str]:
    total = sum(counts.values())
    return [f"{100 * count / total:.1f}" if total else "-" for count in counts.values()]


def show_odds(document: Mapping[str, Any]) -> str:
    name, ece = list(document["ece"].items())[-1]
    return (
        "If you know the share s of forgeries, multiply the odds p/(1-p) of a probability p by"
        f" s/(1-s). With s = {document['share']:.0%}, ECE on {name} is {interval(ece)}."
    )


def show_damage(document: Mapping[str, Any]) -> str:
    student = document["models"][0]
    titles = ["corruption", "level", "AUC", "real called FAKE", "INCONCLUSIVE"]
    lines = [["none", "", *damage_cells(student["crops"])]]
    hardest = {one["title"]: one for one in student["robustness"]}  # severities rise
    for title, one in hardest.items():
        lines.append([title, f"{one['level']:g}", *damage_cells(one["crops"])])
    return "\n\n".join([describe_damage(document), markdown(titles, lines, left=2)])


def damage_cells(metrics: Mapping[str, Any]) -> list[str]:
    return [
        interval(metrics["auc"]),
        percent(metrics, "false_alarms"),
        percent(metrics, "inconclusive"),
    ]


def describe_damage(document: Mapping[str, Any]) -> str:
    """What was corrupted, and where AUC is lowest and false alarms are highest."""
    student = document["models"][0]
    low = min(student["robustness"], key=lambda one: value_of(one["crops"], "auc", 1))
    high = max(student["robustness"], key=lambda one: value_of(one["crops"], "false_alarms", 0))
    return (
        f"{document['set']} at the hardest level of each corruption. Over all"
        f" {len(student['robustness'])} levels ([plots]({document['picture']})), AUC is at least"
        f" {low['crops']['auc']['value']:.3f} ({damage(low)}), and at most"
        f" {percent(high['crops'], 'false_alarms')} of the real crops are called FAKE"
        f" ({damage(high)})."
    )


def show_bytes(document: Mapping[str, Any]) -> str:
    """The least and the most of the ways in which crops were saved again."""
    ways = document["ways"]
    least, most = (pick(ways, key=lambda name: ways[name]["changed"]) for pick in (min, max))
    return (
        f"Saved again in {len(ways)} harmless ways ([list](../research/inputs.md)),"
        f" {100 * ways[least]['changed']:.1f}% ({least}) to {100 * ways[most]['changed']:.1f}%"
        f" ({most}) of {document['crops']} validation crops change their verdict."
    )


def value_of(metrics: Mapping[str, Any], key: str, otherwise: float) -> float:
    value = metrics[key]["value"]
    return otherwise if value is None else float(value)


def show_reliability(document: Mapping[str, Any]) -> str:
    return (
        f"The probabilities assume that half of the faces are forged; of {document['set']}"
        f" {100 * document['forged']:.0f}% are ([plot]({document['picture']}))."
    )


def show_samples(document: Mapping[str, Any]) -> str:
    said = [
        f"`{one['name']}` {one['verdict']}{score_said(one['score'])}" for one in document["clips"]
    ]
    return f"- Of the sample clips in `data/samples`, it calls {' and '.join(said)}."


def score_said(score: float | None) -> str:
    return "" if score is None else f" (forgery {score:.0%})"
