"""`benchmarks/headline.py` on tiny models: its table replaces the one of the README, and nothing
else changes."""

import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from crop_factory import write_crops
from media import Media
from scorer_factory import write_scorer

ROOT = Path(__file__).resolve().parents[1]
MARKS = ("<!-- headline -->", "<!-- /headline -->")


def test_the_table_is_written_into_the_readme(
    script: Callable[[str], dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = script("benchmarks/headline.py")["main"]
    readme = tmp_path / "README.md"
    readme.write_text((ROOT / "README.md").read_text())
    monkeypatch.setitem(main.__globals__, "README", readme)
    models = {
        name: str(write_scorer(tmp_path / f"{name}.onnx", name=name))
        for name in ("teacher", "small", "smaller")
    }
    chosen = ["--teacher", models["teacher"], "--student", models["small"], models["smaller"]]
    data, clip = write_crops(tmp_path / "crops", tint=40), Media(tmp_path).clip("short.mp4")
    words = [
        "--runs",
        "3",
        "--threads",
        "1",
        "--data",
        str(data),
        "--split",
        "all",
        "--video",
        str(clip),
        "--write",
    ]
    monkeypatch.setattr(sys, "argv", ["headline.py", *chosen, *words])
    main()
    before, after = (ROOT / "README.md").read_text(), readme.read_text()
    assert before.split(MARKS[0])[0] == after.split(MARKS[0])[0]
    assert before.split(MARKS[1])[1] == after.split(MARKS[1])[1]
    lines = after.split(MARKS[0])[1].split(MARKS[1])[0].strip().splitlines()
    assert lines[0] == "|  | teacher | small | its gain | smaller | its gain |"
    table = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")
    ]
    cells = {name: line for name, *line in table}
    assert cells["parameters"] == ["4", "4", "-0.00 %", "4", "-0.00 %"]
    teacher, small, gain, smaller, its = cells["AUC, crops all"]
    assert teacher == small == smaller and gain == its == "+0.0000"
    (clip,) = (line for name, line in cells.items() if name.startswith("a clip of 1 s, 240 lines"))
    assert clip[2].endswith("x faster") and clip[3:] == ["", ""], "with the first student alone"
    assert "the models take turns in one process" in lines[-1] + lines[-2]


def test_a_shipped_student_brings_the_figures_of_its_card(
    script: Callable[[str], dict[str, Any]],
) -> None:
    said = script("benchmarks/headline.py")["quote_cards"](["deepkd-nano", "deepkd-pico"])
    assert [text.split(":")[0] for text in said] == [
        f"AUC of deepkd-{name}" for name in ("nano", "pico")
    ]


def test_an_untrained_student_is_not_judged(
    script: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    teacher = str(write_scorer(tmp_path / "teacher.onnx", name="teacher"))
    data = write_crops(tmp_path / "crops", tint=40)
    args = Namespace(data=data, split="all", teacher=teacher, student=["pico", teacher])
    ((name, large, *cells),) = script("benchmarks/headline.py")["accuracy"](args)
    assert name == "AUC, crops all" and cells == ["untrained", "", large, "+0.0000"]
