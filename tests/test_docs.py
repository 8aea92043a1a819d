"""The documents are true: examples run, commands and files exist, links lead somewhere.

The examples of the README and of docs/ are the whole chain, from clips to a verdict; here they run
on tiny DFDC-like clips of public-domain faces.
"""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from media import Media
from warm import run_deepkd, time_few_runs

from deepkd.cli.app import app
from deepkd.config import load_config
from deepkd.data.clips import Clip
from deepkd.data.index import read_index
from deepkd.data.splits import make_splits
from deepkd.models.checkpoints import load_checkpoint
from deepkd.scoring.model import Scorer
from deepkd.settings.distillation import DistillConfig
from deepkd.settings.training import TrainConfig
from deepkd.tables.plots import read_metrics

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    path for pattern in ("*.md", "[!.]*/*.md", "recipes/*/*.md") for path in ROOT.glob(pattern)
)
COMMANDS = typer.main.get_command(app).commands
CHAIN = ("extract", "train", "distill", "compress", "evaluate", "forge", "benchmark")
"""Pages of docs/ whose examples make a model, in the order in which they run."""
SHIPPED = sorted((ROOT / "recipes" / "shipped").glob("*.toml"))

SMALL = {
    "DEEPKD_EXTRACT_FACE_PX": "96",
    "DEEPKD_EXTRACT_FRAMES": "3",
    "DEEPKD_EXTRACT_WORKERS": "1",
    **{
        f"DEEPKD_{command}_{key}": value
        for command in ("TRAIN", "DISTILL")
        for key, value in {
            "EPOCHS": "1",
            "BATCH": "4",
            "WORKERS": "0",
            "EMA": "0.9",
            "SAMPLING": "balanced",
            "LIMIT": "8",
            "VAL_LIMIT": "8",
        }.items()
    },
    "DEEPKD_DISTILL_IMAGE_SIZE": "64",
    "DEEPKD_PRUNE_BATCH": "8",
    "DEEPKD_PRUNE_LIMIT": "16",
    "DEEPKD_PRUNE_VAL_LIMIT": "8",
    "DEEPKD_PRUNE_WORKERS": "0",
    "DEEPKD_PRUNE_SAMPLING": "balanced",
    "DEEPKD_QUANTIZE_INT8": "plain",
    "DEEPKD_QUANTIZE_SAMPLES": "4",
    "DEEPKD_QUANTIZE_RUNS": "3",
    "DEEPKD_QUANTIZE_FORMAT": "json",
    "DEEPKD_EVALUATE_FORMAT": "json",
    "DEEPKD_FORGE_FACE_PX": "96",
    "DEEPKD_BENCHMARK_FORMAT": "json",
    "DEEPKD_BENCHMARK_BATCH": "2",
    "DEEPKD_BENCHMARK_THREADS": os.environ["OMP_NUM_THREADS"],
    "DEEPKD_BENCHMARK_RUNS": "3",
    "DEEPKD_DETECT_FORMAT": "json",
    "DEEPKD_DETECT_FRAMES": "4",
}
"""Settings that make every command small; the flags of the documents stay as they are."""


def commands(document: str, section: str) -> list[str]:
    """The `deepkd ...` lines of a section of a document, without their comments."""
    text = (ROOT / document).read_text().split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    return [line.split("#")[0].strip() for line in text.splitlines() if line.startswith("deepkd ")]


def run(line: str, folder: Path, *, codes: tuple[int, ...] = (0,), warm: bool = False) -> str:
    """Standard output of one command line, run in `folder`."""
    environment = {**SMALL, "PYTHONPATH": str(ROOT), "COLUMNS": "160"}
    _, *words = shlex.split(line)
    if warm:
        result = run_deepkd(words, folder, environment=environment, before=time_few_runs)
    else:
        words = [sys.executable, "-W", "error", "-m", "deepkd", *words]
        environment = {**os.environ, **environment}
        result = subprocess.run(
            words, capture_output=True, text=True, timeout=300, env=environment, cwd=folder
        )
    assert result.returncode in codes, f"{line}\n{result.stderr[-3000:]}"
    return result.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the README's commands name: `clip.mp4`, `clips/`, `dfdc/`."""
    folder = tmp_path_factory.mktemp("readme")
    media = Media(folder)
    shutil.copy(ROOT / "data" / "samples" / "forged.mp4", folder / "clip.mp4")
    media.clip("clips/a.mp4", faces=["astronaut"])
    media.clip("clips/b.mp4", faces=[])
    _write_dfdc(Media(folder / "dfdc" / "dfdc_train_part_0"))
    return folder


def _write_dfdc(media: Media) -> None:
    """Families of a real clip and a forgery of it, enough for each split to get one."""
    metadata, splits, number = {}, set(), 0
    while splits < {"train", "val", "test"} or number < 6:
        real, fake = f"real{number}.mp4", f"fake{number}.mp4"
        (family,) = {
            clip.split for clip in make_splits([Clip(Path(real), "REAL", real, real, "dfdc")]).clips
        }
        number += 1
        if family in splits and len(metadata) >= 8:
            continue
        splits.add(family)
        person = ("astronaut", "grace_hopper")[len(metadata) // 2 % 2]
        media.clip(real, faces=[person])
        media.clip(fake, faces=[person], forged=True)
        metadata[real] = {"label": "REAL", "split": "train"}
        metadata[fake] = {"label": "FAKE", "split": "train", "original": real}
    (media.folder / "metadata.json").write_text(json.dumps(metadata))


def test_the_readme_shows_the_verdict_that_is_printed() -> None:
    (line,) = commands("README.md", "Judge a clip")
    printed = run_deepkd(shlex.split(line)[1:], ROOT, environment={"PYTHONPATH": str(ROOT)}).stdout
    verdict, score, path, reason = printed.rstrip("\n").split("\t")
    shown = " ".join((ROOT / "README.md").read_text().split())
    assert f"{verdict} {score.removeprefix('forgery ')} {path} {reason}" in shown


def test_the_examples_that_judge_clips(place: Path) -> None:
    lines = commands("docs/detect.md", "Example")
    assert len(lines) == 4
    printed = {
        line: run(line, place, codes=(0, 4) if "--fail-on-fake" in line else (0,)) for line in lines
    }
    verdicts = [
        json.loads(line) for line in printed["deepkd detect clips/ --format jsonl"].splitlines()
    ]
    assert {Path(v["path"]).name: v["verdict"] == "NO_FACE" for v in verdicts} == {
        "a.mp4": False,
        "b.mp4": True,
    }
    assert (place / "report.html").stat().st_size > 5000 and (
        place / "marked.webm"
    ).stat().st_size > 5000


def test_the_examples_that_judge_in_shards(place: Path) -> None:
    for line in commands("docs/scale.md", "Example"):
        run(line, place)
    report = (place / "all.jsonl").read_text().splitlines()
    assert {Path(json.loads(line)["path"]).name for line in report} == {"a.mp4", "b.mp4"}
    assert len((place / "results" / "part-0001-of-0001.jsonl").read_text().splitlines()) == 2
    page = (ROOT / "docs" / "scale.md").read_text()
    assert len(page.split()) <= 650


def test_the_examples_that_make_a_model(place: Path) -> None:
    readme = commands("README.md", "Train and distil a model")
    assert len(readme) == 4
    examples = [line for page in CHAIN for line in commands(f"docs/{page}.md", "Example")]
    lines = list(dict.fromkeys([*readme, *examples]))
    printed = {" ".join(shlex.split(line)[1:3]): run(line, place, warm=True) for line in lines}
    printed |= {
        name.split()[0]: text for name, text in reversed(printed.items())
    }  # the first of each command
    assert {
        "extract",
        "train",
        "distill",
        "evaluate",
        "export",
        "quantize",
        "forge",
        "benchmark",
        "detect",
    } <= printed.keys()
    rows = read_index(place / "crops")
    assert {row.split for row in rows} == {"train", "val", "test"} and {
        row.label for row in rows
    } == {"REAL", "FAKE"}
    for file in ("model.safetensors", "metrics.jsonl", "curves.png", "config.json"):
        assert (place / "runs" / "teacher" / file).stat().st_size > 0
    assert (
        load_checkpoint(place / "runs" / "student").metadata["recipe"]["teacher"]
        == "cross-efficient-vit"
    )
    assert (
        Scorer.load(place / "runs" / "student" / "model.onnx").sha256
        == json.loads(printed["detect"])["model"]["sha256"]
    )
    assert load_checkpoint(place / "runs" / "small").params <= 300_000
    assert (
        Scorer.load(place / "student-int8.onnx").sha256
        == json.loads(printed["quantize"])["models"][1]["sha256"]
    )
    assert len(json.loads(printed["evaluate"])["models"]) == 2
    assert len(json.loads(printed["evaluate student.onnx"])["models"][0]["robustness"]) == 10
    assert {row.method for row in read_index(place / "forged")} == {"", "self-blend"}
    assert json.loads(printed["benchmark"])["reduction"]["params_pct"] > 99.5
    assert json.loads(printed["detect"])["videos"][0]["tracks"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", document.read_text()):
        assert target.startswith("https://") or (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_documents_name_exist(document: Path) -> None:
    for name in re.findall(
        r"`((?:deepkd|tests|tools|research|benchmarks|recipes|weights|data|docs)/[\w./-]+)`",
        document.read_text(),
    ):
        assert (ROOT / name).exists() or name.startswith("data/CLIP"), name


def quoted_commands(text: str) -> list[str]:
    """Every `deepkd ...` command of a document, in code blocks and within sentences."""
    text = text.replace("\\\n", " ")
    blocks = "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    lines = re.findall(r"^deepkd (.*)$", blocks, re.MULTILINE)
    lines += re.findall(r"^# deepkd (.*)$", text, re.MULTILINE)  # the first line of a TOML file
    return [line.split("  #")[0] for line in [*lines, *re.findall(r"`deepkd ([^`]+)`", text)]]


@pytest.mark.parametrize(
    "document", [*DOCUMENTS, *SHIPPED], ids=lambda path: str(path.relative_to(ROOT))
)
def test_commands_that_documents_name_exist(document: Path) -> None:
    text = document.read_text()
    for line in quoted_commands(text):
        name, *words = line.split()
        known = {option for item in COMMANDS[name].params for option in item.opts}
        known |= {"--help", "--help-all"}
        assert {word.split("=")[0] for word in words if word.startswith("--")} <= known, line
    for script in re.findall(r"python ((?:tools|benchmarks|research|examples)/\S+\.py)", text):
        assert (ROOT / script).exists(), script
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"`make (\w+)", text)) <= set(targets)


@pytest.mark.parametrize("page", ["detect", *CHAIN])
def test_messages_that_pages_explain_are_deepkd_s(page: str) -> None:
    rows = (ROOT / "docs" / f"{page}.md").read_text().split("\n## Errors\n")[1].split("\n## ")[0]
    messages = re.findall(r"^\| `([^`]+)`", rows, re.MULTILINE)
    trees = [ast.parse(path.read_text()) for path in (ROOT / "deepkd").rglob("*.py")]
    known = [
        node.value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    for message in messages:
        assert any(message in text for text in known), message
    assert messages


@pytest.mark.parametrize("recipe", SHIPPED, ids=lambda path: path.stem)
def test_the_settings_of_shipped_models_load(recipe: Path) -> None:
    kind = DistillConfig if "student =" in recipe.read_text() else TrainConfig
    assert load_config(kind, recipe).epochs >= 1
    steps = (ROOT / "recipes" / "shipped" / "README.md").read_text()
    assert f"[`{recipe.stem}`]({recipe.name})" in steps


def test_the_teacher_s_page_tells_what_its_trainings_noted() -> None:
    page = (ROOT / "research" / "teacher.md").read_text()
    steps = re.findall(r"\[`([\w-]+)`\]\(runs/\1\) \| ([\d,]+) \| ([\d.]+) \|", page)
    assert len(steps) == page.count("](runs/") == 5
    for name, views, area in steps:
        run = ROOT / "research" / "runs" / name
        batch = json.loads((run / "config.json").read_text())["batch"]
        lines = read_metrics(run / "metrics.jsonl")
        assert int(views.replace(",", "")) == lines[-1]["step"] * batch
        assert float(area) == round(lines[-1]["val_auc"], 3)
