"""The examples run, and print what they promise."""

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def test_digits() -> None:
    command = [sys.executable, "-W", "error", str(EXAMPLES / "digits.py"), "--seeds", "1", "--steps", "60"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    rows = {line.split("|")[1].strip(): float(line.split("|")[2]) for line in result.stdout.splitlines()[2:]}
    assert rows["teacher"] > 80
    assert rows.keys() >= {"alone", "kd", "kd, softmax over the batch", "kd + unlabelled", "kd + amd"}
    assert all(40 < accuracy <= 100 for accuracy in rows.values())


def test_cifar() -> None:
    command = [sys.executable, "-W", "error", str(EXAMPLES / "cifar.py"), "--synthetic", "--epochs", "1"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    table = [[cell.strip() for cell in line.split("|")] for line in result.stdout.splitlines() if line.startswith("| ")]
    rows = {row[1]: (row[2], float(row[3])) for row in table[1:]}
    # published as 1.5 M and 0.18 M
    assert {name: params for name, (params, _) in rows.items()} == {
        "teacher": "1,549,530", "alone": "175,066", "kd": "175,066", "amd": "175,066"
    }  # fmt: skip
    assert all(0 <= accuracy <= 100 for _, accuracy in rows.values())


def test_cifar_says_what_is_missing(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "cifar.py"), "--data", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 1 and "no cifar-10-batches-py here" in result.stderr
