"""The examples run, and print what they promise."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., str]


@pytest.fixture
def run(
    script: Callable[[str], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """What an example prints, run with some words."""

    def printed(name: str, *words: str) -> str:
        monkeypatch.setattr(sys, "argv", [name, *words])
        script(f"examples/{name}")["main"]()
        return capsys.readouterr().out

    return printed


def test_digits(run: Run) -> None:
    lines = run("digits.py", "--seeds", "1", "--steps", "60").splitlines()
    rows = {line.split("|")[1].strip(): float(line.split("|")[2]) for line in lines[2:]}
    assert rows["teacher"] > 80
    assert rows.keys() >= {
        "alone",
        "kd",
        "kd, softmax over the batch",
        "kd + unlabelled",
        "kd + amd",
    }
    assert all(40 < accuracy <= 100 for accuracy in rows.values())


def test_cifar(run: Run) -> None:
    lines = run("cifar.py", "--synthetic", "--epochs", "1").splitlines()
    table = [[cell.strip() for cell in line.split("|")] for line in lines if line.startswith("| ")]
    rows = {row[1]: (row[2], float(row[3])) for row in table[1:]}
    # published as 1.5 M and 0.18 M
    assert {name: params for name, (params, _) in rows.items()} == {
        "teacher": "1,549,530", "alone": "175,066", "kd": "175,066", "amd": "175,066"
    }  # fmt: skip
    assert all(0 <= accuracy <= 100 for _, accuracy in rows.values())


def test_cifar_says_what_is_missing(run: Run, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"no cifar-10-batches-py here"):
        run("cifar.py", "--data", str(tmp_path))
