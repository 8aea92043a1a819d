"""Re-derive the figures of `weights/MODEL_CARD.md`: `python benchmarks/model_card.py --data CROPS --cross OTHER_CROPS`.

Prints Markdown tables: the student on each split, what it calls single crops, its AUC beside its teacher's, and its AUC
per forgery method of the other data set. Everything is measured by the functions behind `deepkd evaluate`.
"""

import argparse
from collections import Counter
from pathlib import Path

from deepkd.evaluation.evaluate import evaluate_files
from deepkd.evaluation.evaluation import Evaluation
from deepkd.evaluation.metrics import Measure, Metrics
from deepkd.models.checkpoints import load_model
from deepkd.scoring.verdict import Label, Thresholds
from deepkd.settings.evaluation import EvaluateConfig

VERDICTS = (Label.FAKE, Label.INCONCLUSIVE, Label.REAL)
FIGURES = {
    "auc": "AUC",
    "average_precision": "average precision",
    "log_loss": "log loss",
    "eer": "equal error rate",
    "ece": "calibration error (ECE)",
    "ece_even": "calibration error at even odds",
    "fpr_at_95_tpr": "false alarms where 95% of the forgeries are found",
}


def shown(measure: Measure) -> str:
    """`0.912 [0.899, 0.923]`."""
    return "-" if measure.value is None else f"{measure.value:.3f} [{measure.low:.3f}, {measure.high:.3f}]"


def print_table(head: list[str], lines: list[list[str]]) -> None:
    """A Markdown table with its first column to the left."""
    print(f"| {' | '.join(head)} |\n|---|{'---:|' * (len(head) - 1)}")
    for line in lines:
        print(f"| {' | '.join(line)} |")
    print()


def print_figures(columns: dict[str, Metrics]) -> None:
    """All figures of one model, a column per set of crops or videos."""
    counted = ["real / forged", *(f"{found.real:,} / {found.fake:,}" for found in columns.values())]
    lines = [[name, *(shown(getattr(found, key)) for found in columns.values())] for key, name in FIGURES.items()]
    print_table(["", *columns], [counted, *lines])


def print_verdicts(thresholds: Thresholds, sets: dict[str, Evaluation]) -> None:
    """What single crops are called at the model's own thresholds, in per cent."""
    lines = []
    for name, one in sets.items():
        for kind, label in (("real", 0), ("forged", 1)):
            called = Counter(thresholds.label(score) for score in one.probabilities[one.labels == label])
            total = called.total()
            lines.append(
                [f"{name}, {total:,} {kind}", *(f"{100 * called[verdict] / total:.1f}" for verdict in VERDICTS)]
            )
    print_table(["crops", *(f"called {verdict}, %" for verdict in VERDICTS)], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="deepkd-nano")
    parser.add_argument("--teacher", help="run folder of its teacher, to stand beside it")
    parser.add_argument("--data", type=Path, required=True, help="crops with the splits val and test")
    parser.add_argument("--cross", type=Path, required=True, help="crops of another data set, split cross")
    args = parser.parse_args()

    models = [args.model, *([args.teacher] if args.teacher else [])]
    found: dict[str, list[Evaluation]] = {
        "DFDC val": evaluate_files(models, EvaluateConfig(data=args.data, split="val")),
        "DFDC test": evaluate_files(models, EvaluateConfig(data=args.data, split="test")),
        "FaceForensics++": evaluate_files(models, EvaluateConfig(data=args.cross, split="cross")),
    }
    other = found["FaceForensics++"]
    sets = {name: [one.crops for one in evaluations] for name, evaluations in found.items()}
    sets["FaceForensics++ videos"] = [one.videos or one.crops for one in other]
    print_figures({name: metrics[0] for name, metrics in sets.items()})
    thresholds = load_model(args.model).thresholds
    print_verdicts(thresholds, {name: evaluations[0] for name, evaluations in found.items()})
    named = [f"{one.name} ({one.params:,} parameters)" for one in other]
    print_table(["AUC", *sets], [[name, *(shown(m[i].auc) for m in sets.values())] for i, name in enumerate(named)])
    print_table(
        ["AUC against all real crops", *named],
        [[method, *(shown(one.methods[method].auc) for one in other)] for method in other[0].methods],
    )


if __name__ == "__main__":
    main()
