"""The contract of the command line: help, data on standard output, exit codes."""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from deepkd import __version__
from deepkd.cli.app import COMMANDS, app
from deepkd.config import Config
from deepkd.settings.compression import PruneConfig, QuantizeConfig
from deepkd.settings.data import ExtractConfig, ForgeConfig
from deepkd.settings.detect import DetectConfig
from deepkd.settings.distillation import DistillConfig
from deepkd.settings.evaluation import BenchmarkConfig, EvaluateConfig
from deepkd.settings.serve import ServeConfig
from deepkd.settings.training import TrainConfig

ROOT = Path(__file__).parents[1]
CONTRACT = {
    "extract": "--out --dataset --frames --face-px --margin --detector --device --workers --resume",
    "forge": "--out --kind --method --count --frames --seed --overwrite",
    "train": "--data --out --model --epochs --config --resume",
    "distill": "--data --teacher --out --student --loss --temperature --alpha --config --resume",
    "prune": "--data --out --params --macs-m --latency-ms --criterion --steps --epochs --config",
    "quantize": "--data --out --keep --max-drop --int8 --format --overwrite --config",
    "export": "--out --format",
    "evaluate": "--data --split --scores --perturb --out --allow-training-data",
    "detect": "--model --runtime --format --report --save-video --frames --fail-on-fake"
    " --out --resume --shard",
    "serve": "--host --port --store --token --workers --keep-days --max-store-gb --model",
    "collect": "--report --overwrite",
    "benchmark": "--teacher --student --runtime --data --video --pareto --format --out",
    "doctor": "--format",
}
"""Command -> the options that others rely on."""
CONFIGS = (
    BenchmarkConfig,
    DetectConfig,
    DistillConfig,
    EvaluateConfig,
    ExtractConfig,
    ForgeConfig,
    PruneConfig,
    QuantizeConfig,
    ServeConfig,
    TrainConfig,
)
GROUP = typer.main.get_command(app)
CLI = CliRunner()


def test_the_contract_covers_every_command() -> None:
    assert CONTRACT.keys() == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_help(name: str) -> None:
    command = GROUP.commands[name]
    assert command.help and len(command.help.split()) > 3
    options = {flag: parameter for parameter in command.params for flag in parameter.opts}
    assert set(CONTRACT[name].split()) <= options.keys()
    for parameter in command.params:
        assert parameter.help, f"deepkd {name} {parameter.opts}"
        assert "[" not in parameter.help.replace("\\[", ""), (
            f"{parameter.opts}: rich takes it for markup, not for text"
        )
    shown = CLI.invoke(app, [name, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0 and all(option in shown.stdout for option in CONTRACT[name].split())


def rows_of(name: str, flag: str) -> dict[str, str]:
    """Flag -> its row in the help of a command."""
    result = CLI.invoke(app, [name, flag], env={"COLUMNS": "500"})
    assert result.exit_code == 0 and not result.stderr
    return dict(re.findall(r"^│\W+?(--[\w-]+) (.*)│$", result.stdout, re.MULTILINE))


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_the_common_options_and_help_all_every_one(name: str) -> None:
    options = [item for item in GROUP.commands[name].params if item.param_type_name == "option"]
    shown = rows_of(name, "--help")
    assert len(shown.keys() - {"--help"}) <= 16
    whole = rows_of(name, "--help-all")
    assert whole.keys() == {item.opts[0] for item in options} | {"--help", "--help-all"}
    assert shown.keys() == whole.keys() - {"--help-all"} - {
        item.opts[0] for item in options if item.hidden
    }
    for item in options:
        assert item.help.replace("\\[", "[") in whole[item.opts[0]]


@pytest.mark.parametrize("kind", CONFIGS, ids=lambda kind: kind.command)
def test_help_all_shows_every_setting(kind: type[Config]) -> None:
    settings = [item for item in fields(kind) if not item.metadata["table"]]
    flags = {f"--{item.name.removesuffix('_s').replace('_', '-')}" for item in settings}
    assert rows_of(kind.command, "--help-all").keys() >= flags
    hidden = {item.name for item in GROUP.commands[kind.command].params if item.hidden}
    assert {item.name for item in settings if item.metadata["rare"]} <= hidden


def test_help_ends_with_the_number_of_further_options() -> None:
    last = CLI.invoke(app, ["detect", "--help"]).stdout.strip().splitlines()[-1]
    rare = [item for item in GROUP.commands["detect"].params if item.hidden]
    assert rare and last.strip() == f"{len(rare)} more options: deepkd detect --help-all"
    assert "--help-all" not in CLI.invoke(app, ["export", "--help"]).stdout


def test_a_rare_option_works_and_help_all_comes_before_errors() -> None:
    result = CLI.invoke(app, ["detect", "x.mp4", "--min-frames", "0"])
    assert result.exit_code == 2 and "min_frames=0: takes at least 1" in result.stderr
    asked = CLI.invoke(app, ["detect", "--min-frames", "0", "--help-all"])
    assert asked.exit_code == 0 and "--min-frames" in asked.stdout
    assert "--min-frames" not in CLI.invoke(app, ["detect", "--help"]).stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["detct"], "detct"),
        (["detect"], "SOURCE"),
        (["train", "--data", "x"], "--out"),
        (
            ["distill", "--data", "x", "--teacher", "t", "--out", "o", "--loss", "kdd"],
            "choose from bce, ce, kd, logit_mse",
        ),
        (["train", "--data", "x", "--out", "y", "--epochs", "0"], "epochs=0: takes at least 1"),
        (["train", "--data", "x", "--out", "y", "--config", "none.toml"], "cannot be read"),
    ],
)
def test_usage_errors_exit_with_2(words: list[str], message: str) -> None:
    result = CLI.invoke(app, words, env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert message in result.stderr and not result.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--data", "nowhere", "--out", "y"], "nowhere"),
        (["distill", "--data", "x", "--teacher", "nowhere", "--out", "o"], "no such model"),
        (["export", "nowhere", "--out", "o.onnx"], "no such model"),
        (["quantize", "nowhere.onnx", "--data", "x", "--out", "o.onnx"], "no such model"),
        (["evaluate", "nowhere.onnx", "--data", "x"], "no such"),
    ],
)
def test_what_cannot_be_done_exits_with_1(words: list[str], message: str, tmp_path: Path) -> None:
    result = CLI.invoke(app, words, env={"COLUMNS": "200"})
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error:") and message in result.stderr


def test_version_and_help_come_without_heavy_imports() -> None:
    code = "import sys; sys.argv = ['deepkd', '--help']\nfrom deepkd.cli.app import main\n"
    code += "try: main()\nexcept SystemExit: pass\n"
    heavy = (
        "print(sorted({'numpy', 'cv2', 'av', 'onnxruntime', 'torch'} & sys.modules.keys()),"
        " file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code + heavy], capture_output=True, text=True, cwd=ROOT
    )
    assert result.stderr.strip() == "[]" and "detect" in result.stdout
    assert CLI.invoke(app, ["--version"]).stdout.strip() == f"deepkd {__version__}"


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("det", ["detect"]),
        ("detect --fail", ["--fail-on-fake"]),
        ("detect --format js", ["json", "jsonl"]),
    ],
)
def test_the_shell_completes(typed: str, offered: list[str]) -> None:
    words = f"deepkd {typed}"
    asked = {
        "_DEEPKD_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    assert CLI.invoke(app, [], env=asked, prog_name="deepkd").stdout.split() == offered


def test_a_missing_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; sys.argv = ['deepkd', 'train', '--data', 'x',"
        " '--out', 'y']\nfrom deepkd.cli.app import main; main()"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 1 and "needs torch, which is not installed" in result.stderr
    assert "pip install 'deepkd[train]'" in result.stderr and "Traceback" not in result.stderr


BROKEN = {
    "av": ("ImportError('DLL load failed')", ["detect", "clip.mp4"]),
    "onnxruntime": ("ImportError('DLL load failed')", ["detect", "clip.mp4"]),
    "torch": ("OSError('libcudnn.so.9: no such file')", ["train", "--data", "x", "--out", "y"]),
}


@pytest.mark.parametrize("library", BROKEN)
def test_a_library_that_does_not_load_is_to_blame(library: str, tmp_path: Path) -> None:
    trouble, words = BROKEN[library]
    (tmp_path / f"{library}.py").write_text(f"raise {trouble}")
    (tmp_path / "clip.mp4").write_bytes(b"no clip")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", "deepkd", *words]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    said = trouble.split("'")[1]
    assert result.stderr.startswith(f"error: a library cannot be loaded or fails ({said})")


def test_what_the_system_refuses_is_not_blamed_on_standard_output() -> None:
    code = (
        "import sys; sys.argv = ['deepkd', 'doctor']; import deepkd.doctor\n"
        "def refuse(): raise OSError(24, 'Too many open files')\n"
        "deepkd.doctor.examine = refuse\n"
        "from deepkd.cli.app import main; main()"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 1
    assert result.stderr == "error: the system refused what this needs (Too many open files)\n"


def test_help_shows_defaults_of_zero_and_none_that_are_empty() -> None:
    help = CLI.invoke(app, ["train", "--help-all"], env={"COLUMNS": "500"}).stdout
    assert re.search(r"Seed of the random numbers\. \[default: 0\]", help)
    assert re.search(r"self-blended images\)\. \[default: 0\.0\]", help)
    assert "[default: ]" not in help


@pytest.mark.parametrize(
    "name", ["x\nerror: fine.html", "a:warning:b.html", "[red]c.html", "d\x1b[2J.html"]
)
def test_an_error_is_one_line_whatever_the_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    result = CLI.invoke(app, ["detect", "x.mp4", "--report", str(tmp_path / name)])
    shown = name.replace("\n", "\\n").replace("\x1b", "\\x1b")
    expected = (
        f"error: {tmp_path / shown}: exists already; choose another name or add --overwrite\n"
    )
    assert (result.exit_code, result.stderr) == (1, expected)


def test_doctor_prints_one_json_document() -> None:
    result = CLI.invoke(app, ["doctor", "--format", "json"])
    assert json.loads(result.stdout)


def test_interrupting_ends_with_130() -> None:
    code = (
        "import signal, time; from deepkd.cli.app import app\n@app.command('wait')\ndef wait() ->"
        " None:\n    'x'\n"
    )
    code += (
        "    print('up', flush=True)\n    time.sleep(60)\nimport sys; sys.argv = ['deepkd',"
        " 'wait']; app()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout and process.stdout.readline() == "up\n"
    time.sleep(0.1)
    process.send_signal(2)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130 and "interrupted" in errors
