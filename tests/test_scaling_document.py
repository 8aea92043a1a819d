"""`benchmarks/scaling.py` on tiny crops: shares are trained once, every part is written, the picture is drawn."""

import json
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from crop_factory import write_crops
from typer.testing import CliRunner

from deepkd.cli.app import app
from deepkd.models.checkpoints import save_model
from deepkd.models.registry import build_model
from deepkd.tables.plots import read_metrics
from deepkd.training.engine import CONFIG_FILE, METRICS_FILE
from deepkd.video.crops import read_index

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def scaling(script: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    return script("benchmarks/scaling.py")


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that were started; those of deepkd run in this process."""
    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, CliRunner().invoke(app, command[1:]).exit_code)

    monkeypatch.setattr(subprocess, "run", run)
    return commands


@pytest.fixture
def grid(tmp_path: Path) -> list[object]:
    """Options of the smallest grid, but for its teacher."""
    lite0 = build_model("tf_efficientnet_lite0", image_size=32)
    lite0.trained = True
    source = save_model(lite0, tmp_path / "lite0.safetensors")
    shapes = ["--grid-depths", 0.5, "--grid-params", 1_000_000, "--grid-sizes", 32, 64]
    return ["--grid-source", source, "--grid-limit", 16, *shapes]


def test_every_part_is_measured_and_written(
    scaling: dict[str, Any],
    launched: list[list[str]],
    grid: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = write_crops(tmp_path / "crops", families=20, tint=40)
    document, out = tmp_path / "scaling.md", tmp_path / "out"
    document.write_text((ROOT / "docs" / "scaling.md").read_text())
    small = [
        "--model",
        "pico",
        "--image-size",
        "32",
        "--batch",
        "4",
        "--views",
        "24",
        "--shares",
        "1",
        "0.5",
    ]
    whole, half = out / "share-1", out / "share-0.5"
    places = [
        "--data",
        data,
        "--out",
        out,
        "--document",
        document,
        "--size",
        whole,
        half,
        "--grid-teacher",
        half,
    ]
    unseen = [
        "--unseen",
        half,
        "--cross",
        data,
        "--cross-split",
        "test",
        "--cross-name",
        "Others",
        "--resamples",
        20,
    ]
    words = ["scaling.py", *places, "--processes", "1", *small, *grid, *unseen]
    monkeypatch.setattr(sys, "argv", [str(word) for word in words])
    scaling["main"]()
    found = {
        name: json.loads((out / f"{name}.json").read_text())
        for name in ("data", "views", "size", "grid", "unseen")
    }
    assert [(row["originals"], row["epochs"], row["views"]) for row in found["data"]["rows"]] == [
        (6, 2, 24),
        (12, 1, 24),
    ]
    published = ROOT / "docs" / "training"
    chains = scaling["CHAINS"].values()
    epochs = [
        sum(len(read_metrics(published / run / METRICS_FILE)) for run in runs) for runs in chains
    ]
    assert [len(chain["points"]) for chain in found["views"]["chains"]] == [*epochs, 1, 2]
    assert {row["name"] for row in found["size"]["rows"]} == {"share-1", "share-0.5"}
    text = document.read_text()
    assert (
        "| 12 | 24 | 1 | 24 |" in text
        and "| share-1 |" in text
        and "A doubling of the originals brings" in text
    )
    assert [(row["depth"], row["params"], row["size"]) for row in found["grid"]["rows"]] == [
        (0.5, 1_000_000, 32),
        (0.5, 1_000_000, 64),
    ]
    assert all(
        row["ms"] > 0 and row["macs"] > 0 and 0 <= row["val_auc"] <= 1
        for row in found["grid"]["rows"]
    )
    assert "| depth | parameters | 32 px | 64 px |" in text and "| 0.5 | 1,000,000 | " in text
    (asked,) = found["unseen"]["rows"]
    made = read_index(out / "unseen")
    kinds = {
        method: [row.original for row in made if row.method == method]
        for method in ("", "self-blend", "face-swap")
    }
    assert asked["name"] == "share-0.5" and list(asked["made"]) == ["face-swap", "self-blend"]
    assert len(kinds[""]) > 1 and kinds[""] == kinds["self-blend"] == kinds["face-swap"]
    assert len({(out / "unseen" / row.file).read_bytes() for row in made}) == len(made)
    assert "| self-blend of val | Others |" in text and "| share-0.5 | 0% | " in text
    assert (tmp_path / "scaling.png").stat().st_size > 0
    assert len(launched) == 5
    scaling["main"]()
    assert len(launched) == 5, "what is trained is not trained again"


def test_the_outlook_is_the_line_through_the_points(scaling: dict[str, Any]) -> None:
    rows = [
        {"originals": count, "val_auc": area}
        for count, area in ((1000, 0.88), (2000, 0.90), (4000, 0.92))
    ]
    text = scaling["outlook"](rows)
    assert "brings +0.0200 of AUC" in text and "about 11,314 originals" in text, (
        "0.03 more is 1.5 doublings"
    )
    falling = [{"originals": row["originals"], "val_auc": 1 - row["val_auc"]} for row in rows]
    assert "originals." not in scaling["outlook"](falling), "no forecast from a line that falls"
    peaked = scaling["outlook"]([*rows, {"originals": 8000, "val_auc": 0.91, "views": 31_000}])
    assert "31,000 views are too few" in peaked and "about" not in peaked, (
        "nor from one that bends down"
    )


def test_rows_of_runs_that_are_gone_stay(scaling: dict[str, Any], tmp_path: Path) -> None:
    def row(name: str, area: float) -> dict[str, Any]:
        return {"name": name, "val_auc": area}

    beside_earlier, args = scaling["beside_earlier"], Namespace(out=tmp_path)
    assert beside_earlier(args, "size", [row("first", 0.5)]) == [row("first", 0.5)]
    (tmp_path / "size.json").write_text(json.dumps({"rows": [row("gone", 0.7), row("again", 0.8)]}))
    assert beside_earlier(args, "size", [row("again", 0.9)]) == [
        row("gone", 0.7),
        row("again", 0.9),
    ]


def test_what_is_part_of_a_chain_is_no_line_of_its_own(scaling: dict[str, Any]) -> None:
    found = scaling["measure_views"](Namespace(size=["runs/pico", "runs/pico-long"]))
    assert [chain["name"] for chain in found["chains"]] == list(scaling["CHAINS"])


def test_a_chain_goes_on_where_the_run_before_ended(
    scaling: dict[str, Any], tmp_path: Path
) -> None:
    for name, batch in (("first", 8), ("second", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"batch": batch}))
        lines = [json.dumps({"step": step, "val_auc": 0.5}) for step in (10, 20)]
        (tmp_path / name / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    found = scaling["points"]([tmp_path / "first", tmp_path / "second"])
    assert [point["views"] for point in found] == [80, 160, 180, 200]


def test_the_front_of_the_grid_is_what_nothing_beats(scaling: dict[str, Any]) -> None:
    cells = {(0.90, 1.0): False, (0.92, 1.0): True, (0.91, 2.0): False, (0.93, 3.0): True}
    rows = [
        {"val_auc": area, "ms": taken, "depth": 1, "params": 1, "size": 32 * n}
        for n, (area, taken) in enumerate(cells)
    ]
    shown = scaling["GRID"].show({"rows": rows})
    assert [f"**{area:.3f} in {taken:.2f}**" in shown for area, taken in cells] == list(
        cells.values()
    )


@pytest.mark.parametrize(("keep", "area"), [("best", 0.9), ("last", 0.8)])
def test_a_run_counts_by_the_weights_that_it_kept(
    keep: str, area: float, scaling: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / CONFIG_FILE).write_text(json.dumps({"keep": keep}))
    lines = [{"step": step, "val_auc": value} for step, value in ((1, 0.9), (2, 0.8))]
    (tmp_path / METRICS_FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert scaling["kept_area"](tmp_path) == area
