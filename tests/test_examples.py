"""The examples run, and print what they promise."""

import sys
from collections.abc import Callable
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
