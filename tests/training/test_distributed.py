"""Two processes train one model."""

import json
import os
import subprocess
import sys
import textwrap
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from crop_factory import write_crops
from training_factory import TINY

from deepkd.errors import ConfigError
from deepkd.models.checkpoints import load_checkpoint
from deepkd.training import engine
from deepkd.training.checkpointing import METRICS_FILE, STATE_FILE
from deepkd.training.processes import DistributedContext
from deepkd.training.supervised import train


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_crops(tmp_path_factory.mktemp("crops"), families=20, px=48, tint=40)


@pytest.mark.parametrize(
    ("world", "settings", "said"),
    [
        (1, {"sampling": "shuffled", "batch": 2, "accumulate": 4}, r"has 2 samples .* \(1 x 4\)"),
        (3, {"batch": 4}, r"has 2 samples .* \(3 x 1\)"),
        (1, {"batch": 64, "accumulate": 16}, r"has 12 samples .* \(1 x 16\); lower --accumulate"),
    ],
)
def test_a_batch_that_leaves_a_process_nothing_is_refused(
    crops: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    world: int,
    settings: dict[str, Any],
    said: str,
) -> None:
    monkeypatch.setattr(
        engine,
        "distributed",
        lambda *_: nullcontext(DistributedContext(torch.device("cpu"), world=world)),
    )
    with pytest.raises(ConfigError, match=said):
        train(crops, tmp_path / "run", TINY.replace(**settings))
    assert not (tmp_path / "run").exists()


def in_two_processes(script: str, *arguments: Path) -> None:
    """Run a script under `torchrun`; it finds `train`, `TrainConfig` and its arguments as
    `paths`."""
    start = (
        "import os, sys; from pathlib import Path; import torch;from deepkd.settings.training"
        " import TrainConfig; from deepkd.training.supervised import train;paths = list(map(Path,"
        " sys.argv[1:]))\n"
    )
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        "--standalone",
        "--no-python",
    ]
    command = [*launch, sys.executable, "-c", start + textwrap.dedent(script), *map(str, arguments)]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    result = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment)
    assert result.returncode == 0, result.stderr[-2000:]


@pytest.mark.alone
def test_two_processes_train_one_model(crops: Path, tmp_path: Path) -> None:
    script = """
        config = TrainConfig(
            model="pico", image_size=32, batch=8,
            epochs=1, workers=0, augment="light", ema=0.9)
        train(*paths, config)
    """
    in_two_processes(script, crops, tmp_path / "two")
    line = json.loads((tmp_path / "two" / METRICS_FILE).read_text())
    train(crops, tmp_path / "one", TINY.replace(epochs=1, lr=5e-4))
    assert line["step"] == json.loads((tmp_path / "one" / METRICS_FILE).read_text())["step"]
    assert np.isfinite(line["val_log_loss"]) and (tmp_path / "two" / STATE_FILE).is_file()


@pytest.mark.alone
def test_two_processes_drop_out_by_chance_of_their_own_and_go_on_as_they_were(
    crops: Path, tmp_path: Path
) -> None:
    script = """
        class Killed(Exception):
            pass

        def kill(progress):
            if progress.step == 2:
                raise Killed

        data, out = paths
        config = TrainConfig(
            model="meso4", batch=8, epochs=1,
            workers=0, checkpoint_every=1, augment="none", ema=0.0)
        train(data, out / "whole", config)
        (out / f"chance of {os.environ['RANK']}").write_text(str(torch.initial_seed()))
        try:
            train(data, out / "killed", config, report=kill)
        except Killed:
            train(data, out / "killed", config, resume=True)
    """
    in_two_processes(script, crops, tmp_path)
    assert load_checkpoint(tmp_path / "killed").sha256 == load_checkpoint(tmp_path / "whole").sha256
    first, second = ((tmp_path / f"chance of {rank}").read_text() for rank in range(2))
    assert first != second


@pytest.mark.alone
def test_a_signal_to_one_of_two_processes_ends_both_after_the_same_step(
    crops: Path, tmp_path: Path
) -> None:
    script = """
        import signal
        from deepkd.errors import Interrupted

        def end(progress):
            if progress.step == 2 and os.environ["RANK"] == "1":
                os.killpg(0, signal.SIGTERM)  # as torchrun does, those that read crops among them

        data, out = paths
        config = TrainConfig(
            model="pico", image_size=32, batch=8,
            epochs=1, workers=1, augment="none", ema=0.0)
        train(data, out / "whole", config)
        try:
            train(data, out / "stopped", config, report=end)
        except Interrupted as stopped:
            (out / f"stopped {os.environ['RANK']}").write_text(f"{stopped}, {stopped.exit_code}")
        train(data, out / "stopped", config, resume=True)
    """
    in_two_processes(script, crops, tmp_path)
    said = {(tmp_path / f"stopped {rank}").read_text() for rank in range(2)}
    assert said == {"interrupted after step 2 of 3; --resume goes on there, 143"}
    assert (
        load_checkpoint(tmp_path / "stopped").sha256 == load_checkpoint(tmp_path / "whole").sha256
    )
