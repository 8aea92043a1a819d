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
