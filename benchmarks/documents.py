"""Documents whose figures a benchmark writes: each part between two marks, its JSON beside."""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepkd.evaluation.metrics import Measure
from deepkd.tables.evaluation import format_measure

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Part:
    """A part of a document: what measures it, and what writes its figures as Markdown."""

    measure: Callable[[argparse.Namespace], dict[str, Any]]
    show: Callable[[Mapping[str, Any]], str]


def parser_of(what: str | None, name: str, parts: Mapping[str, Part]) -> argparse.ArgumentParser:
    """The options of a document that compares models on one split and times them."""
    parser = document_parser(what, name, parts, ROOT / "docs" / f"{name}.md")
    parser.add_argument("--split", default="test", help="split that models are compared on")
    parser.add_argument("--runs", type=int, default=50, help="timed runs of each model")
    parser.add_argument(
        "--threads", type=int, help="of the runtime (default: all cores; 1 and 2 for a folder)"
    )
    return parser


def document_parser(
    what: str | None, name: str, parts: Mapping[str, Part], document: Path
) -> argparse.ArgumentParser:
    """The options of every document: what is measured, on how many crops, and where it goes."""
    parser = argparse.ArgumentParser(
        description=what, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="labelled crops with the splits train, val and test",
    )
    parser.add_argument("--limit", type=int, help="compare on about so many crops, whole families")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "runs" / f"{name}-figures", help="where JSON is kept"
    )
    parser.add_argument("--document", type=Path, default=document, help="what is written")
    parser.add_argument(
        "--only", nargs="+", choices=list(parts), default=list(parts), help="parts to measure"
    )
    return parser


def write_parts(parts: Mapping[str, Part], args: argparse.Namespace) -> None:
    """Measure the parts of `args.only`, keep each as JSON, and write it into the document."""
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.only:
        say(f"{args.document.stem}: {name}")
        found = parts[name].measure(args)
        (args.out / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n")
        args.document.write_text(fill(args.document.read_text(), name, parts[name].show(found)))
    say(f"wrote {args.document}")


def beside_earlier(
    args: argparse.Namespace, part: str, rows: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """The new rows behind the rows that OUT already holds of other runs."""
    kept = args.out / f"{part}.json"
    known = json.loads(kept.read_text())["rows"] if kept.exists() else []
    measured = {row["name"] for row in rows}
    return [*(row for row in known if row["name"] not in measured), *rows]


def deepkd(*words: object, processes: int = 1) -> None:
    """Run one command of deepkd, in several processes under `torchrun` or in one.

    Raises:
        SystemExit: it failed.
    """
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--no-python",
        f"--nproc-per-node={processes}",
    ]
    command = [str(Path(sys.executable).with_name("deepkd")), *map(str, words)]
    say(f"deepkd {' '.join(command[1:])}")
    if code := subprocess.run(
        [*(launch if processes > 1 else []), *command], check=False
    ).returncode:
        raise SystemExit(f"deepkd {words[0]} ended with code {code}")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def show_progress(done: int, total: int) -> None:
    """Progress in ten lines."""
    if done * 10 // total > (done - 1) * 10 // total:
        say(f"{done}/{total}")


def markdown(titles: list[str], lines: list[list[str]], *, left: int = 1) -> str:
    """A Markdown table with its first columns to the left."""
    rule = ["---"] * left + ["---:"] * (len(titles) - left)
    head, *body = (f"| {' | '.join(cells)} |" for cells in (titles, *lines))
    return "\n".join([head, f"|{'|'.join(rule)}|", *body])


def fill(text: str, name: str, content: str) -> str:
    """The document with what stands between the marks of a part replaced.

    Raises:
        SystemExit: a mark is missing, or there is more than one.
    """
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if text.count(start) != 1 or text.count(end) != 1:
        raise SystemExit(f"the document needs each of the marks {start} and {end} once")
    before, after = text.split(start, 1)[0], text.split(end, 1)[1]
    return f"{before}{start}\n{content}\n{end}{after}"


def number(metrics: Mapping[str, Any], key: str) -> str:
    value = metrics[key]["value"]
    return "-" if value is None else f"{value:.4f}"


def percent(metrics: Mapping[str, Any], key: str) -> str:
    value = metrics[key]["value"]
    return "-" if value is None else f"{100 * value:.1f}%"


def damage(condition: Mapping[str, Any]) -> str:
    """A corruption and its level, as `--perturb` takes them."""
    return f"`{condition['perturbation']}:{condition['level']:g}`"


def interval(measure: Mapping[str, float | None]) -> str:
    return format_measure(Measure.from_dict(measure), digits=3)


def span(measure: Mapping[str, float | None]) -> str:
    """`+0.0123 [+0.004, +0.020]`."""
    if measure["value"] is None or measure["low"] is None:
        return "-"
    return f"{format_signed(measure['value'])} [{measure['low']:+.3f}, {measure['high']:+.3f}]"


def format_signed(value: float) -> str:
    return f"{value:+.4f}"
