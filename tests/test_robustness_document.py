"""`benchmarks/robustness.py` on tiny crops: every part is written between its marks, and the clause is checked."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crop_factory import write_crops
from scorer_factory import write_scorer

from deepkd.evaluation.metrics import measure

ROOT = Path(__file__).resolve().parents[1]


def test_clips_are_all_counted_and_those_with_a_score_are_told(
    script: Callable[[str], dict[str, Any]],
) -> None:
    show_clips = script("benchmarks/robustness.py")["show_clips"]
    labels, answers = [0, 0, 1, 1], [0, np.nan, 1, np.nan]
    clean = measure(labels, [-1, np.nan, 1, 1], answers=answers, resamples=0).to_dict()
    dark = measure(labels, [-1, np.nan, 1, np.nan], answers=answers, resamples=0).to_dict()
    damaged = {"perturbation": "contrast", "level": 0.35, "videos": dark}
    model = {"videos": clean, "unjudged": {"NO_FACE": 1, "ERROR": 2}, "robustness": [damaged]}
    text = show_clips({"data": "set", "split": "test", "frames": 4, "models": [model] * 3})
    assert (
        "4 clips of `set` (2 real, 2 forged)" in text
        and "2 more could not be read and are left out" in text
    )
    assert "| none | teacher | 1.0000 | 0.0% | 50.0% | 50.0% | 3 of 4 |" in text
    assert "| `contrast:0.35` | teacher | 1.0000 | 0.0% | 50.0% | 50.0% | 2 of 4 |" in text


def test_every_part_is_measured_and_written(
    script: Callable[[str], dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_crops(tmp_path / "crops", families=10, tint=40)
    steep, flat, other = (-50.0, 100.0, -50.0), (-5.0, 10.0, -5.0), (-100.0, 50.0, 50.0)
    models = {
        role: write_scorer(tmp_path / f"{role}.onnx", weights=weights, name=role)
        for role, weights in (
            ("teacher", steep),
            ("before", other),
            ("after", flat),
            ("peer", other),
        )
    }
    document = tmp_path / "robustness.md"
    document.write_text((ROOT / "docs" / "robustness.md").read_text())
    words = [word for role, path in models.items() for word in (f"--{role}", str(path))]
    small = [
        "--resamples",
        "20",
        "--runs",
        "3",
        "--threads",
        "1",
        "--perturb",
        "h264:40,downscale",
        "--split",
        "all",
    ]
    places = [
        "--out",
        tmp_path / "out",
        "--document",
        document,
        "--picture",
        tmp_path / "heat.png",
        "--data",
        data,
    ]
    monkeypatch.setattr(sys, "argv", ["robustness.py", *map(str, (*words, *small, *places))])
    script("benchmarks/robustness.py")["main"]()
    text = document.read_text()
    parts = {name: text.split(f"<!-- {name} -->")[1].split(f"<!-- /{name} -->")[0] for name in
             ("trained", "crops", "clips", "peers")}  # fmt: skip
    assert (
        "20 crops of 10 originals" in parts["crops"]
        and "| Downscale to 1/2, 1/4 | 0.25 |" in parts["crops"]
    )
    assert "Not measured: no clips" in parts["clips"]
    assert "|  | teacher | student before | student after | peer |" in parts["peers"]
    assert parts["trained"].count("says nothing of its training") == 4
    assert (tmp_path / "heat.png").stat().st_size > 0
    clauses = json.loads((tmp_path / "out" / "crops.json").read_text())["clauses"]
    for clause in clauses:
        teacher, before, after = clause["losses"]
        assert clause["after"]["value"] == after - teacher == 0, (
            "the same order of the crops, the same AUC"
        )
        assert clause["before"]["value"] == before - teacher
    assert parts["crops"].count("| yes |") == len(clauses) == 3
