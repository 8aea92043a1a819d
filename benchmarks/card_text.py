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
    "ece_even": "calibration error at even odds",
    "fpr_at_95_tpr": "real called forged where 95% of forgeries are found",
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
        ["file", f"`{document['file']}`, {document['bytes']:,} bytes, {kinds}"],
        ["SHA-256", f"`{document['sha256']}`"],
        [
            "architecture",
            f"`{document['architecture']}`; {document['params']:,} parameters,"
            f" {document['macs'] / 1e6:.1f} M multiply-accumulates",
        ],
        [
            "input",
            f"one face, uint8 RGB, {side} x {side} pixels: a square of {rule['scale']:g} x the"
            f" {rule['reference']} of MTCNN's box, its centre {rule['shift_y']:g} x that height"
            f" lower (rule `{rule['name']}`)",
        ],
        [
            "output",
            f"the logit of forgery{evidence if document['evidence'] else ''}; calibration and"
            " thresholds are in the file",
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
    named = [f"{one['name']} ({one['params']:,} parameters)" for one in document["models"]]
    areas = [
        [name, *(interval(models[number]["auc"]) for models in document["sets"].values())]
        for number, name in enumerate(named)
    ]
    parts = [markdown(["AUC", *columns], areas), markdown(["", *columns], [counted, *lines])]
    if document["methods"]:
        methods = [
            [one["name"], *(interval(models[number]) for models in document["methods"].values())]
            for number, one in enumerate(document["models"])
        ]
        parts += [
            markdown([f"AUC on {document['cross']}, by method", *document["methods"]], methods)
        ]
    return "\n\n".join([*parts, "In brackets: 95% intervals of a bootstrap over original videos."])


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
    total, missed = sum(document["forged"].values()), document["forged"][Label.REAL]
    text = (
        f"- **{beyond(document)}**: AUC {interval(document['auc'])} on {document['level']}. It"
        f" calls {100 * missed / max(1, total):.0f}% of the {total:,} forged crops there REAL."
    )
    return "\n".join([text, *(f"  {line}" for line in methods_said(document["methods"]))])


def methods_said(methods: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Which methods are found, as far as the intervals tell; nothing where none is known."""
    known = {name: one for name, one in methods.items() if one["low"] is not None}
    if not known:
        return []
    found = [name for name, one in known.items() if one["low"] > 0.5]
    missed = [name for name, one in known.items() if one["high"] < 0.5]
    unsure = [name for name in known if name not in (*found, *missed)]
    worst = min(known, key=lambda name: known[name]["value"])
    said = {
        "is better than chance": found,
        "is worse than chance": missed,
        "may be chance, because its interval includes 0.5": unsure,
    }
    clauses = [
        f"against {', '.join(names)} its AUC {what}" for what, names in said.items() if names
    ]
    return [
        f"Method by method: {'; '.join(clauses)}.",
        (
            f"The lowest is {interval(known[worst])}, of {worst}; the interval is"
            f" {known[worst]['high'] - known[worst]['low']:.2f} wide because originals are few."
        ),
    ]


OF_CROPS = (
    f"Both thresholds were set on the validation split so that at most {FALSE_ALARMS:.0%} of the"
    f" real crops are called FAKE and at most {MISSES:.0%} of the forged ones REAL; rounding may"
    " add one crop."
)
OF_CLIPS = (
    "Both thresholds were set on the clips of the validation splits, where each source weighs"
    f" alike: at most {CLIP_FALSE_ALARMS:.0%} of the real clips are called FAKE, at most"
    f" {SOURCE_FALSE_ALARMS:.0%} within any source, and at most {MISSES:.0%} of the forged ones"
    " REAL."
)


def show_verdicts(document: Mapping[str, Any]) -> str:
    limits = document["thresholds"]
    lines = [
        [f"{name}, {sum(counts.values()):,} {kind}", *(shares(counts))]
        for name, kinds in document["sets"].items()
        for kind, counts in kinds.items()
    ]
    first = next(iter(document["sets"]))
    counts = [
        sum(kind[verdict] for kind in document["sets"][first].values()) for verdict in VERDICTS
    ]
    unsure = 100 * counts[1] / max(1, sum(counts))
    rule = OF_CLIPS if document.get("folders", 1) > 1 else OF_CROPS
    return (
        f"FAKE from a probability of {limits['fake']:.2f}, REAL up to {limits['real']:.2f},"
        f" INCONCLUSIVE between: **{unsure:.0f}% of the single crops** of {first}. {rule}\n\n"
        + markdown(["crops", *(f"called {verdict}, %" for verdict in VERDICTS)], lines)
    )


def shares(counts: Mapping[str, int]) -> list[str]:
    total = sum(counts.values())
    return [f"{100 * count / total:.1f}" if total else "-" for count in counts.values()]


def show_odds(document: Mapping[str, Any]) -> str:
    errors = " and ".join(f"{interval(ece)} on {name}" for name, ece in document["ece"].items())
    return (
        "If you know the share of forgeries, multiply the odds of each probability by the odds of"
        " that share: with"
        f" the share of {document['set']}, {document['share']:.0%}, the calibration"
        f" error (ECE) is {errors}."
    )


def show_damage(document: Mapping[str, Any]) -> str:
    student = document["models"][0]
    titles = ["corruption", "level", "AUC", "real called FAKE", "INCONCLUSIVE"]
    lines = [["none", "", *damage_cells(student["crops"])]]
    hardest = {one["title"]: one for one in student["robustness"]}  # severities rise
    for title, one in hardest.items():
        lines.append([title, f"{one['level']:g}", *damage_cells(one["crops"])])
    picture = f"![AUC and false alarms on corrupted crops]({document['picture']})"
    return "\n\n".join([damage_said(document), markdown(titles, lines, left=2), picture])


def damage_cells(metrics: Mapping[str, Any]) -> list[str]:
    return [
        interval(metrics["auc"]),
        percent(metrics, "false_alarms"),
        percent(metrics, "inconclusive"),
    ]


def damage_said(document: Mapping[str, Any]) -> str:
    """What was corrupted and how often, and where AUC is lowest and false alarms are highest."""
    student = document["models"][0]
    kinds = [
        f"{title} ({count} {'level' if count == 1 else 'levels'})"
        for title, count in Counter(one["title"] for one in student["robustness"]).items()
    ]
    low = min(student["robustness"], key=lambda one: value_of(one["crops"], "auc", 1))
    high = max(student["robustness"], key=lambda one: value_of(one["crops"], "false_alarms", 0))
    return (
        f"The {student['crops']['rows']:,} crops of {document['set']}, corrupted:"
        f" {'; '.join(kinds)}; the table has the hardest level of each. AUC is lowest,"
        f" {interval(low['crops']['auc'])}, under {damage(low)}; uncorrupted crops have"
        f" {interval(student['crops']['auc'])}. The share of real crops called FAKE is"
        f" highest, {percent(high['crops'], 'false_alarms')}, under {damage(high)}; without"
        f" corruption it is {percent(student['crops'], 'false_alarms')}."
    )


def value_of(metrics: Mapping[str, Any], key: str, otherwise: float) -> float:
    value = metrics[key]["value"]
    return otherwise if value is None else float(value)


def show_reliability(document: Mapping[str, Any]) -> str:
    return (
        f"![Reliability on {document['set']}]({document['picture']})\n\nOf {document['set']},"
        f" {100 * document['forged']:.0f}% are forged; the probabilities assume half."
    )


def show_samples(document: Mapping[str, Any]) -> str:
    said = [
        f"`{one['name']}` {one['verdict']}{score_said(one['score'])}" for one in document["clips"]
    ]
    return f"- Of the sample clips in `data/samples`, it calls {' and '.join(said)}."


def score_said(score: float | None) -> str:
    return "" if score is None else f" (probability of forgery {score:.0%})"
