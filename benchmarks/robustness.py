"""Derive the figures of `docs/robustness.md`.

    python benchmarks/robustness.py --teacher RUN --before MODEL --after RUN --data CROPS --videos
    CLIPS --peer RUN ...

Compares a teacher, its student before and its student after distillation for robustness, and peers
trained on the same crops. Each part is measured by the functions behind `deepkd evaluate`, kept as
JSON in OUT, and written between its two marks in the document; `--only` measures some parts again
and leaves the others as they are. What is scored stays in OUT: a run that was stopped goes on, and
a further peer costs only its own time.
"""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from documents import (
    ROOT,
    Part,
    damage,
    interval,
    markdown,
    number,
    parser_of,
    percent,
    say,
    signed,
    span,
    told,
    write_parts,
)

from deepkd.benchmark.latency import take_turns
from deepkd.compression.quantize import as_onnx
from deepkd.config import Config
from deepkd.data.crops import load_crops
from deepkd.evaluation.evaluate import evaluate_files
from deepkd.evaluation.figures import sources_of
from deepkd.evaluation.metrics import Array, Measure, auc, auc_change, auc_resamples
from deepkd.evaluation.results import Evaluation, distinct_names
from deepkd.evaluation.robustness import CorruptedCrops
from deepkd.evaluation.scores import logits_of
from deepkd.machine import cores, machine
from deepkd.models.checkpoints import load_model
from deepkd.settings.evaluation import EvaluateConfig
from deepkd.settings.training import DistillConfig, TrainConfig
from deepkd.tables.evaluation import FIGURES
from deepkd.tables.robustness import draw_robustness

ROLES = {"teacher": "teacher", "before": "student before", "after": "student after"}
"""Argument -> what the document calls the model."""
CLAUSES = {"CRF 40": [("h264", 40.0)], "quarter size": [("downscale", 0.25)],
           "quarter size, then CRF 40": [("downscale", 0.25), ("h264", 40.0)]}  # fmt: skip
"""Damage under which the student shall lose no more AUC than its teacher -> what befalls a crop, in
turn."""
TABLE = ("auc", "average_precision", "log_loss", "eer", "fpr_at_95_tpr", "false_alarms", "detected", "inconclusive",
         "ece", "ece_even")  # fmt: skip
"""Figures in which peers are compared."""
IDLE = {"workers", "compile", "device", "checkpoint_every", "model", "student", "losses", "taps"}
"""Settings that say nothing of what was learned, or that are shown otherwise."""


def arguments_of(args: argparse.Namespace) -> list[str]:
    return [getattr(args, role) for role in ROLES]


def evaluated(models: list[str], args: argparse.Namespace, perturb: str) -> list[Evaluation]:
    """The models on the crops, with what was scored before taken from OUT."""
    config = EvaluateConfig(
        data=args.data,
        split=args.split,
        limit=args.limit,
        perturb=perturb,
        seed=args.seed,
        resamples=args.resamples,
    )
    return evaluate_files(models, config, out=args.out / "crops", progress=told)


# How they were trained


def measure_models(args: argparse.Namespace) -> dict[str, Any]:
    paths = [*arguments_of(args), *args.peer]
    models = [load_model(path) for path in paths]
    names = [*ROLES.values(), *distinct_names([model.name for model in models[3:]], args.peer)]
    return {
        "models": [
            {
                "name": name,
                "architecture": (
                    getattr(model, "architecture", None)
                    or model.metadata.get("architecture", model.name)
                ),
                "params": model.params,
                "size": model.format.size,
                "made": made(model.metadata.get("recipe") or {}),
            }
            for name, model in zip(names, models, strict=True)
        ]
    }


def made(recipe: Mapping[str, Any]) -> str:
    """The command that a recipe stands for, with what differs from the command's defaults."""
    if "epochs" not in recipe:
        return (
            f"taken from {recipe['from']}" if "from" in recipe else "says nothing of its training"
        )
    kind: type[Config] = DistillConfig if "student" in recipe else TrainConfig
    words = [
        f"deepkd {kind.command}",
        *(f"--{key} {recipe[key]}" for key in ("model", "student") if key in recipe),
    ]
    for item in dataclasses.fields(kind):
        value = recipe.get(item.name, item.default)
        if item.name not in IDLE and value != item.default:
            words.append(flag(item.name, value))
    taught = f"    # taught by {recipe['teacher']}" if "teacher" in recipe else ""
    return " ".join(words) + taught


def flag(name: str, value: Any) -> str:
    option = f"--{name.replace('_', '-')}"
    return option if value is True else f"{option} {value}"


def show_models(document: Mapping[str, Any]) -> str:
    lines = [
        [row["name"], row["architecture"], f"{row['params']:,}", f"{row['size']} px"]
        for row in document["models"]
    ]
    table = markdown(["model", "architecture", "parameters", "input"], lines, left=2)
    commands = "\n".join(f"    # {row['name']}\n    {row['made']}" for row in document["models"])
    return f"{table}\n\nAs each model's own recipe has it:\n\n{commands}"


# Before and after, on crops


def measure_crops(args: argparse.Namespace) -> dict[str, Any]:
    found = evaluated(arguments_of(args), args, args.perturb)
    found = [
        dataclasses.replace(one, name=name) for one, name in zip(found, ROLES.values(), strict=True)
    ]
    document = {
        "data": args.data.name,
        "split": args.split,
        "sources": found[0].whole.sources,
        "models": [one.to_dict() for one in found],
        "gains": gains(found[1], found[2], args),
        "clauses": [clause(name, found, args) for name in CLAUSES],
    }
    draw_robustness(args.picture, [one.figures for one in found])
    return document | {"picture": args.picture.name}


def gains(before: Evaluation, after: Evaluation, args: argparse.Namespace) -> list[dict[str, Any]]:
    """AUC of the student after less that before, under the same damage of the same crops."""
    sources = sources_of(before.rows).tolist()
    pairs = zip(before.perturbed, after.perturbed, strict=True)
    return [
        dataclasses.asdict(auc_change(before.labels, one.logits, other.logits, sources=sources,
                                      resamples=args.resamples, seed=args.seed))
        for one, other in pairs
    ]  # fmt: skip


def clause(name: str, found: list[Evaluation], args: argparse.Namespace) -> dict[str, Any]:
    """What damage costs each model in AUC, and how much more it costs either student than the teacher."""
    harmed = damaged_logits(CLAUSES[name], found, args)
    losses = [Loss.of(one, logits, args) for one, logits in zip(found, harmed, strict=True)]
    teacher, before, after = losses
    return {
        "name": name,
        "losses": [loss.value for loss in losses],
        "before": dataclasses.asdict(before.beyond(teacher)),
        "after": dataclasses.asdict(after.beyond(teacher)),
    }


def damaged_logits(
    steps: Sequence[tuple[str, float]], found: list[Evaluation], args: argparse.Namespace
) -> list[Array]:
    """Each model's logits of the crops after some steps of damage; scored here where no condition has them."""
    kept = [{(one.perturbation, one.level): one.logits for one in each.perturbed} for each in found]
    if len(steps) == 1 and steps[0] in kept[0]:
        return [logits[steps[0]] for logits in kept]
    say(f"scoring {' and '.join(name for name, _ in steps)}")
    crops: Any = load_crops(
        args.data, None if args.split == "all" else args.split, limit=args.limit
    )
    labelled = [index for index, row in enumerate(crops.rows) if row.label]
    for name, level in steps:
        crops = CorruptedCrops(crops, name, level, args.seed)
    return logits_of(
        [load_model(path) for path in arguments_of(args)], crops, labelled, batch=64, progress=told
    )


@dataclasses.dataclass(frozen=True)
class Loss:
    """AUC that damage costs a model, over all crops and over each resample of their originals."""

    value: float
    drawn: Array

    @classmethod
    def of(cls, clean: Evaluation, harmed: Array, args: argparse.Namespace) -> "Loss":
        """What lies between a model's clean logits and its logits of damaged crops."""
        whole = [auc(clean.labels, logits) for logits in (clean.logits, harmed)]
        if whole[0] is None or whole[1] is None:
            raise SystemExit(
                "AUC needs REAL and FAKE crops; give another --split or a larger --limit"
            )
        sources = sources_of(clean.rows).tolist()
        drawn = [
            auc_resamples(clean.labels, logits, sources, resamples=args.resamples, seed=args.seed)
            for logits in (clean.logits, harmed)
        ]
        return cls(whole[0] - whole[1], drawn[0] - drawn[1])

    def beyond(self, other: "Loss") -> Measure:
        """How much more this is than another's, with the interval over the resamples that both were drawn on."""
        low, high = np.nanpercentile(self.drawn - other.drawn, [2.5, 97.5])
        return Measure(self.value - other.value, float(low), float(high))


def show_crops(document: Mapping[str, Any]) -> str:
    whole = document["models"][0]["crops"]
    counted = (
        f"{whole['rows']:,} crops of {document['sources']:,} originals ({whole['real']:,} real,"
        f" {whole['fake']:,} forged) of `{document['data']}`, split {document['split']}; the same"
        " damaged crops for all models."
    )
    picture = (
        "![AUC and false alarms of teacher, student before and student"
        f" after]({document['picture']})"
    )
    return "\n\n".join(
        [counted, clauses_table(document), conclusion(document), picture, levels_table(document)]
    )


def clauses_table(document: Mapping[str, Any]) -> str:
    titles = [
        "AUC lost under",
        *ROLES.values(),
        "before less teacher",
        "after less teacher",
        "no more than its teacher",
    ]
    lines = [
        [row["name"], *(f"{loss:.4f}" for loss in row["losses"]), span(row["before"]), span(row["after"]),
         answer(row["after"])]
        for row in document["clauses"]
    ]  # fmt: skip
    return markdown(titles, lines)


def answer(difference: Mapping[str, float]) -> str:
    """Whether the student loses no more than its teacher, and whether the interval leaves doubt."""
    held = difference["value"] <= 0
    sure = difference["high"] <= 0 if held else difference["low"] > 0
    return f"{'yes' if held else '**no**'}{'' if sure else ', within chance'}"


def conclusion(document: Mapping[str, Any]) -> str:
    """The clause, checked."""
    held, broken = ([row["name"] for row in document["clauses"] if (row["after"]["value"] <= 0) is yes]
                    for yes in (True, False))  # fmt: skip
    parts = [f"it holds under {', under '.join(held)}"] if held else []
    parts += [f"it does **not** hold under {', under '.join(broken)}"] if broken else []
    return (
        f"*The student loses no more AUC than its teacher*: {'; '.join(parts)}. In brackets: 95%"
        " interval of the difference over resamples of the originals, the same for both; *within"
        " chance* where it holds 0."
    )


def levels_table(document: Mapping[str, Any]) -> str:
    """A row per perturbation and level: changes of AUC, the gain, false alarms."""
    titles = ["damage", "level", *(f"AUC, {name}" for name in ROLES.values()), "after less before",
              *(f"false alarms, {name}" for name in ROLES.values())]  # fmt: skip
    models = document["models"]
    clean = [model["crops"] for model in models]
    first = [
        "none",
        "",
        *(number(one, "auc") for one in clean),
        "",
        *(percent(one, "false_alarms") for one in clean),
    ]
    lines = [first]
    for place, gain in enumerate(document["gains"]):
        these = [model["robustness"][place] for model in models]
        changes = [signed(one["crops"]["auc"]["value"] - of["auc"]["value"])
                   for one, of in zip(these, clean, strict=True)]  # fmt: skip
        alarms = [percent(one["crops"], "false_alarms") for one in these]
        lines.append([these[0]["title"], f"{these[0]['level']:g}", *changes, span(gain), *alarms])
    return (
        markdown(titles, lines, left=2)
        + "\n\nAUC: of the sound crops, then its change. *After less before*: AUC under that"
        " damage, with its paired 95% interval. False alarms: share of the real crops called"
        " FAKE, at each model's own threshold."
    )


# Whole clips


def measure_clips(args: argparse.Namespace) -> dict[str, Any]:
    if args.videos is None:
        return {"missing": "no clips were given (`--videos`)"}
    config = EvaluateConfig(
        data=args.videos, split=args.video_split, limit=args.video_limit, perturb=args.video_perturb, seed=args.seed,
        resamples=args.resamples,
    )  # fmt: skip
    found = evaluate_files(arguments_of(args), config, out=args.out / "clips", progress=told)
    named = [
        dataclasses.replace(one, name=name) for one, name in zip(found, ROLES.values(), strict=True)
    ]
    return {
        "data": args.videos.name,
        "split": args.video_split,
        "frames": config.frames,
        "models": [one.to_dict() for one in named],
    }


def show_clips(document: Mapping[str, Any]) -> str:
    if "missing" in document:
        return f"Not measured: {document['missing']}."
    models = document["models"]
    conditions = [("none", [model["videos"] for model in models])]
    for place, one in enumerate(models[0]["robustness"]):
        these = [model["robustness"][place]["videos"] for model in models]
        conditions.append((damage(one), these))
    named = [
        (title, *pair)
        for title, these in conditions
        for pair in zip(ROLES.values(), these, strict=True)
    ]
    lines = [[title, name, *clip_cells(one)] for title, name, one in named]
    whole, failed = models[0]["videos"], models[0]["unjudged"].get("ERROR", 0)
    unread = f"; {failed} more could not be read and are left out" if failed else ""
    counted = (
        f"{whole['rows']} clips of `{document['data']}` ({whole['real']} real, {whole['fake']}"
        f" forged), split {document['split']}, each judged as `deepkd detect` does from at least"
        f" {document['frames']} frames{unread}. A clip without a score is INCONCLUSIVE here; AUC is"
        " of those with a score."
    )
    titles = [
        "damage",
        "model",
        "AUC",
        "real called FAKE",
        "forged called FAKE",
        "INCONCLUSIVE",
        "clips with a score",
    ]
    few = "" if min(whole["real"], whole["fake"]) >= 50 else (
        "\n\nSo few clips show that the whole path holds under damage, not how right a model is."
    )  # fmt: skip
    return f"{counted}\n\n{markdown(titles, lines, left=2)}{few}"


def clip_cells(metrics: Mapping[str, Any] | None) -> list[str]:
    """The figures of one model under one damage; dashes where no clip could be read."""
    if metrics is None:
        return [*["-"] * 4, "0 of 0"]
    shares = (percent(metrics, key) for key in ("false_alarms", "detected", "inconclusive"))
    return [number(metrics, "auc"), *shares, f"{metrics['scored']} of {metrics['rows']}"]


# Peers


def measure_peers(args: argparse.Namespace) -> dict[str, Any]:
    paths = [*arguments_of(args), *args.peer]
    harms = [step for steps in CLAUSES.values() if len(steps) == 1 for step in steps]
    found = evaluated(paths, args, ",".join(f"{name}:{level:g}" for name, level in harms))
    names = [*ROLES.values(), *distinct_names([one.name for one in found[3:]], args.peer)]
    threads = args.threads or cores()
    where = machine(threads)
    timings = take_turns(scorers(paths, args.out, threads), runs=args.runs, batch=32)
    rows = [
        {**one.to_dict(), "name": name, "single_ms": 1000 * float(np.median(timing.single)),
         "batch_ms": 1000 * float(np.median(timing.batch)) / 32}
        for name, one, timing in zip(names, found, timings, strict=True)
    ]  # fmt: skip
    return {
        "data": args.data.name,
        "split": args.split,
        "machine": where.to_dict(),
        "runs": args.runs,
        "models": rows,
    }


def scorers(paths: list[str], out: Path, threads: int) -> list[Any]:
    """Each model in ONNX Runtime, exported to a folder of its own where it is no ONNX file."""
    from deepkd.scoring.model import Scorer

    folders = [out / "exported" / str(place) for place in range(len(paths))]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    return [
        Scorer.load(as_onnx(path, folder), threads=threads)
        for path, folder in zip(paths, folders, strict=True)
    ]


def show_peers(document: Mapping[str, Any]) -> str:
    rows, at = document["models"], document["machine"]
    lines = [["parameters", *(f"{row['params']:,}" for row in rows)]]
    lines += [[FIGURES[key], *(interval(row["crops"][key]) for row in rows)] for key in TABLE]
    for place, condition in enumerate(rows[0]["robustness"]):
        lines.append(
            [
                f"AUC under {damage(condition)}",
                *(interval(row["robustness"][place]["crops"]["auc"]) for row in rows),
            ]
        )
    lines += [["ms, one crop", *(f"{row['single_ms']:.2f}" for row in rows)]]
    lines += [["ms per crop in 32s", *(f"{row['batch_ms']:.2f}" for row in rows)]]
    counts = rows[0]["crops"]
    return (
        f"{markdown(['', *(row['name'] for row in rows)], lines)}\n\n{counts['rows']:,} crops of"
        f" `{document['data']}`, split {document['split']}; in brackets 95% intervals over"
        f" {counts['sources']:,} originals. FAKE and REAL at each model's own thresholds."
        f" Milliseconds: ONNX Runtime {at['onnxruntime']}, {at['cpu']}, {at['threads']} threads,"
        f" load {at['load']} before the run, in turn in one process, median of {document['runs']}"
        " runs."
    )


PARTS = {
    "trained": Part(measure_models, show_models),
    "crops": Part(measure_crops, show_crops),
    "clips": Part(measure_clips, show_clips),
    "peers": Part(measure_peers, show_peers),
}


def main() -> None:
    parser = parser_of(__doc__, "robustness", PARTS)
    parser.add_argument("--teacher", required=True, help="run folder, file or name")
    parser.add_argument(
        "--before", required=True, help="its student before distillation for robustness"
    )
    parser.add_argument("--after", required=True, help="its student after it")
    parser.add_argument(
        "--peer", nargs="+", default=[], help="other models trained on the same crops"
    )
    parser.add_argument(
        "--perturb",
        default="all",
        help="damage of the crops, as `deepkd evaluate --perturb` takes it",
    )
    parser.add_argument(
        "--videos", type=Path, help="data set of clips, damaged before faces are looked for"
    )
    parser.add_argument("--video-split", default="all", help="split of the clips")
    parser.add_argument("--video-limit", type=int, help="only about so many clips, whole families")
    parser.add_argument(
        "--video-perturb", default="h264:30,h264:40,downscale:0.25,frame-rate,double-compression:33"
    )
    parser.add_argument(
        "--resamples", type=int, default=1000, help="of the originals, behind the intervals"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the damage and the resampling")
    parser.add_argument(
        "--picture", type=Path, default=ROOT / "docs" / "robustness-before-after.png"
    )
    write_parts(PARTS, parser.parse_args())


if __name__ == "__main__":
    main()
