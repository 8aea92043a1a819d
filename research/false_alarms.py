r"""Which way to decide calls fewer real clips of other sources FAKE: `false_alarms.md`.

    PYTHONPATH=benchmarks python research/false_alarms.py deepkd-nano MODEL.onnx \
        --dfdc dfdc-crops --wild wild-crops --cross ffpp-crops

One source of the validation crops (with those that share its footage) is left out at a time. The
others fit and set the thresholds of a variant, which then decides on the source that is left out.
`--cross` is decided on by what all of them say, and chooses nothing. A clip counts by the mean of
its crops, and sources weigh alike, those of fewer than seven clips less. OUT keeps the scores, and
the figures of earlier models, which stay in the table.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from alarm_rules import Clips, Variant, decide, gather_clips, list_variants
from alarm_views import VIEWS, Featured, Scores, draw, score
from documents import ROOT, fill, markdown

from deepkd.data.crops import CropSet, load_crops
from deepkd.evaluation.bootstrap import percentiles
from deepkd.evaluation.decisions import FEW_CLIPS, weigh_sources
from deepkd.scoring.calibration import fit_temperature
from deepkd.tables.plots import save_plot

Array = npt.NDArray[np.float64]
PAGE = ROOT / "research" / "false_alarms.md"
CROSS = "cross"
PRESENT = "present rule"
PROMISES = (*np.geomspace(0.1, 0.95, 12), 1.0, 1.1, 1.25, 1.5, 2.0)
"""Shares of false alarms that the known sources may have, as multiples of those of the rule."""
RESAMPLES = 2000
EVERY_CLIP = 10_000


def leave_one_out(variant: Variant, clips: Clips, promises: Sequence[float]) -> Array:
    """The answers to each clip, by what the clips of other sources say, (P, N)."""
    answers = np.full((len(promises), len(clips)), np.nan)
    own = clips.families != CROSS
    for family in np.unique(clips.families):
        out = clips.families == family
        answers[:, out] = decide(variant, clips, own & ~out, promises)[:, out]
    return answers


def count(clips: Clips, answers: Array, chosen: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Shares of the answers among the chosen clips, whose sources weigh alike."""
    weights = np.where(chosen, weigh_chosen(clips, chosen), 0.0)
    real, forged = weights * (clips.labels == 0), weights * (clips.labels == 1)
    return {
        "real FAKE": float(real @ (answers == 1) / max(real.sum(), 1e-12)),
        "forged FAKE": float(forged @ (answers == 1) / max(forged.sum(), 1e-12)),
        "forged REAL": float(forged @ (answers == 0) / max(forged.sum(), 1e-12)),
        "INCONCLUSIVE": float(weights @ np.isnan(answers) / max(weights.sum(), 1e-12)),
    }


def weigh_chosen(clips: Clips, chosen: npt.NDArray[np.bool_]) -> Array:
    weights = np.zeros(len(clips))
    weights[chosen] = weigh_sources(clips.labels[chosen], clips.datasets[chosen])
    return weights


def compare(clips: Clips, trained: set[str]) -> list[dict[str, Any]]:
    """A row for each variant.

    Args:
        clips: of all sets.
        trained: data sets of which the training had other clips.
    """
    own = clips.families != CROSS
    unseen = own & ~np.isin(clips.families, sorted(trained))
    rows: list[dict[str, Any]] = []
    found: dict[str, Array] = {}
    for name, variant in list_variants(clips).items():
        answers = leave_one_out(variant, clips, PROMISES)
        found[name] = answers[PROMISES.index(1.0)]
        curve = [count(clips, answer, own) for answer in answers]
        rows.append(
            {
                "name": name,
                "crops": len(variant.views),
                "all": count(clips, found[name], own),
                "unseen": count(clips, found[name], unseen),
                "cross": count(clips, found[name], ~own),
                "sources": by_source(clips, found[name]),
                "curve": [(point["real FAKE"], point["forged FAKE"]) for point in curve],
                "change": {
                    key: change(clips, found[PRESENT], found[name], own, label)
                    for key, label in (("real FAKE", 0), ("forged FAKE", 1))
                },
            }
        )
    alarms = rows[0]["all"]["real FAKE"]
    for row in rows:
        row["forged FAKE at equal alarms"] = read_curve(row["curve"], alarms)
    return rows


def calibrate(clips: Clips) -> dict[str, dict[str, float]]:
    """Calibration error at even odds where sources weigh alike in the fit, or by their clips."""
    z, y, own = clips.logits["crop"], clips.labels.astype(int), clips.families != CROSS
    alike = weigh_chosen(clips, own)
    even = np.where(own, 1 / np.bincount(y[own], minlength=2)[y], 0.0)
    found = {}
    for name, weights in (("alike", alike), ("by clips", even)):
        p = np.zeros(len(clips))
        for family in np.unique(clips.families):
            out, known = clips.families == family, own & (clips.families != family)
            fitted = fit_temperature(z[known], y[known], bias=True, weights=weights[known])
            p[out] = fitted.probability(z[out])
        whole = fit_temperature(z[own], y[own], bias=True, weights=weights[own]).probability(z)
        dfdc, cross = clips.families == "dfdc", ~own
        found[name] = {
            "left out": gap(p, y, alike),
            "DFDC val": gap(whole, y, weigh_chosen(clips, dfdc)),
            "FaceForensics++": gap(p, y, weigh_chosen(clips, cross)),
        }
    return found


def gap(p: Array, y: Array, weights: Array) -> float:
    """Expected calibration error in ten bins, of weights (N,) of any sum."""
    bins = np.minimum((p * 10).astype(int), 9)
    return float(np.abs(np.bincount(bins, weights * (p - y))).sum() / weights.sum())


def by_source(clips: Clips, answers: Array) -> dict[str, dict[str, dict[str, float]]]:
    """Data set -> REAL or FAKE -> number of clips and share of each answer."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name in np.unique(clips.datasets):
        for label, word in ((0, "REAL"), (1, "FAKE")):
            own = answers[(clips.datasets == name) & (clips.labels == label)]
            if len(own):
                found.setdefault(str(name), {})[word] = {
                    "clips": len(own),
                    "FAKE": float((own == 1).mean()),
                    "REAL": float((own == 0).mean()),
                    "INCONCLUSIVE": float(np.isnan(own).mean()),
                }
    return found


def change(
    clips: Clips, before: Array, after: Array, chosen: npt.NDArray[np.bool_], label: int
) -> dict[str, Any]:
    """By how much the share called FAKE changes; 95% interval over resampled sources."""
    weights = weigh_chosen(clips, chosen) * (clips.labels == label)
    step = (after == 1).astype(float) - (before == 1)
    names, number = np.unique(clips.families, return_inverse=True)
    mass = np.bincount(number, weights, len(names))
    moved = np.bincount(number, weights * step, len(names))
    random = np.random.default_rng(0)
    drawn = random.multinomial(int((mass > 0).sum()), (mass > 0) / (mass > 0).sum(), RESAMPLES)
    with np.errstate(invalid="ignore"):
        interval = percentiles(drawn @ moved / (drawn @ mass))
    return {"value": float(moved.sum() / mass.sum()), "interval": interval}


def read_curve(curve: list[tuple[float, float]], alarms: float) -> float:
    """The most forged clips called FAKE where no more real ones are than `alarms`."""
    return max((hits for false, hits in curve if false <= alarms + 1e-9), default=0.0)


def show(found: dict[str, list[dict[str, Any]]]) -> str:
    """A row for each variant of each model."""
    titles = ["model", "variant", "crops per face", "real called FAKE", "change", "not in training"]
    titles += ["worst source", "forged called FAKE", "at equal alarms", "INCONCLUSIVE"]
    titles += ["of DFDC val", "FaceForensics++: real, forged called FAKE"]
    return markdown(
        titles, [[name, *cells(row)] for name, rows in found.items() for row in rows], left=2
    )


def cells(row: dict[str, Any]) -> list[str]:
    alarms = {name: share for (name, word), share in called_fake(row).items() if word == "REAL"}
    worst = max(alarms, key=lambda name: alarms[name])
    moved = row["change"]["real FAKE"]
    step, (low, high) = 100 * moved["value"], (100 * end for end in moved["interval"])
    return [
        row["name"],
        str(row["crops"]),
        f"{row['all']['real FAKE']:.1%}",
        "" if row["name"] == PRESENT else f"{step:+.1f} [{low:+.1f}, {high:+.1f}]",
        f"{row['unseen']['real FAKE']:.1%}",
        f"{worst}, {alarms[worst]:.0%}",
        f"{row['all']['forged FAKE']:.1%}",
        f"{row['forged FAKE at equal alarms']:.1%}",
        f"{row['all']['INCONCLUSIVE']:.1%}",
        f"{np.mean([one['INCONCLUSIVE'] for one in row['sources']['dfdc'].values()]):.1%}",
        f"{row['cross']['real FAKE']:.1%}, {row['cross']['forged FAKE']:.1%}",
    ]


def called_fake(row: dict[str, Any]) -> dict[tuple[str, str], float]:
    """Source and label -> share called FAKE, for sources of `FEW_CLIPS` or more."""
    return {
        (name, word): shares["FAKE"]
        for word in ("REAL", "FAKE")
        for name, labels in row["sources"].items()
        for shares in [labels.get(word, {"clips": 0})]
        if name != CROSS and shares["clips"] >= FEW_CLIPS
    }


def draw_sources(rows: list[dict[str, Any]], file: Path) -> None:
    """The share called FAKE of each source, for each variant."""
    keys = list(called_fake(rows[0]))
    shares = np.array([list(called_fake(row).values()) for row in rows])

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.grid(False)
        axes.imshow(100 * shares, cmap="Oranges", vmin=0, vmax=60, aspect="auto")
        axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
        names = [f"{name}, {'real' if word == 'REAL' else 'forged'}" for name, word in keys]
        axes.set_xticks(range(len(keys)), names, rotation=40, ha="right")
        for (y, x), share in np.ndenumerate(shares):
            axes.text(x, y, f"{100 * share:.0f}", ha="center", va="center", fontsize=7)
        axes.axvline(sum(word == "REAL" for _, word in keys) - 0.5, color="black", linewidth=1)
        axes.set_title("Clips of a source that was left out, called FAKE, %")

    save_plot(file, draw, width=8.5, height=4.6)


def measure(name: str, args: argparse.Namespace) -> tuple[Clips, set[str]]:
    """Score what is not scored yet: the clips, and the data sets of the training."""
    model, wild, dfdc = Featured(name), load_crops(args.wild), load_crops(args.dfdc)
    few = args.clips // 2, max(1, args.crops // 2)
    train = {
        "train-wild": draw(of_split(wild, "train"), *few),
        "train-dfdc": draw(of_split(dfdc, "train"), args.dfdc_clips, 1),
    }
    judged = {
        "wild": draw(of_split(wild, "val"), args.clips, args.crops),
        "dfdc": draw(of_split(dfdc, "val"), args.dfdc_clips, 1),
        CROSS: draw(load_crops(args.cross), EVERY_CLIP, args.crops),
    }
    found = {
        part: score(model, crops, views, args.out / f"{Path(name).stem}-{part}.npz")
        for views, sets in ((["crop"], train), (args.views, judged))
        for part, crops in sets.items()
    }
    known = [found.pop(part) for part in train]
    trained = {row.dataset for row in known[0].rows} | {"dfdc"}
    return gather_clips(found, *join_known(known)), trained


def of_split(crops: CropSet, split: str) -> CropSet:
    return crops.subset([index for index, row in enumerate(crops.rows) if row.split == split])


def join_known(sets: list[Scores]) -> tuple[Array, Array]:
    """Features and labels of training crops."""
    labels = [row.label == "FAKE" for scores in sets for row in scores.rows]
    return np.concatenate([scores.features for scores in sets]), np.array(labels, float)


def main() -> None:
    """Measure, keep the JSON, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", help="shipped names or ONNX files")
    parser.add_argument("--dfdc", type=Path, required=True)
    parser.add_argument("--wild", type=Path, required=True)
    parser.add_argument("--cross", type=Path, required=True, help="crops never trained on")
    parser.add_argument("--views", nargs="+", choices=list(VIEWS), default=list(VIEWS))
    parser.add_argument(
        "--clips", type=int, default=80, help="of each data set of --wild and label"
    )
    parser.add_argument("--crops", type=int, default=4, help="of each clip")
    parser.add_argument("--dfdc-clips", type=int, default=300, help="of each label")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "false-alarms")
    parser.add_argument("--write", action="store_true", help="into false_alarms.md and its picture")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    clips = {Path(name).stem: measure(name, args) for name in args.models}
    kept = args.out / "false-alarms.json"
    found = json.loads(kept.read_text()) if kept.exists() else {}
    found |= {name: compare(*each) for name, each in clips.items()}
    errors = {name: calibrate(each) for name, (each, _) in clips.items()}
    kept.write_text(json.dumps(found, indent=2) + "\n")
    print(f"{show(found)}\n\ncalibration error: {json.dumps(errors, indent=2)}")
    if args.write:
        PAGE.write_text(fill(PAGE.read_text(), "variants", show(found)))
        draw_sources(next(iter(found.values())), PAGE.with_suffix(".png"))


if __name__ == "__main__":
    main()
