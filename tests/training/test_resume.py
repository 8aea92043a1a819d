"""A training goes on after a kill as if nothing had happened, and can be made longer."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from crop_factory import write_crops
from training_factory import DROPPING, SAVED, Killed, kill_after, weights

from deepkd.data.crops import load_crops
from deepkd.errors import ConfigError, OutputError
from deepkd.evaluation.decisions import operating_point
from deepkd.models.checkpoints import load_checkpoint
from deepkd.settings.training import TrainConfig
from deepkd.training.checkpointing import CONFIG_FILE, METRICS_FILE, STATE_FILE
from deepkd.training.progress import Progress
from deepkd.training.supervised import train
from deepkd.training.validation import crop_logits


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_crops(tmp_path_factory.mktemp("crops"), families=20, px=48, tint=40)


@pytest.fixture(scope="module")
def finished(crops: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run with the settings SAVED; what changes it copies it."""
    run = tmp_path_factory.mktemp("finished") / "run"
    train(crops, run, SAVED)
    return run


@pytest.mark.parametrize(
    ("stop_at", "config"),
    [
        (1, SAVED),
        (3, SAVED),
        (4, SAVED),
        (1, DROPPING),
        (1, DROPPING.replace(accumulate=2, workers=1)),
    ],
    ids=["first epoch", "at its end", "second epoch", "dropout", "dropout in parts"],
)
def test_a_killed_run_resumes_to_the_same_weights(
    crops: Path, finished: Path, tmp_path: Path, stop_at: int, config: TrainConfig
) -> None:
    whole = finished if config == SAVED else tmp_path / "whole"
    if config != SAVED:
        train(crops, whole, config)
    with pytest.raises(Killed):
        train(crops, tmp_path / "killed", config, report=kill_after(stop_at + 1))
    train(crops, tmp_path / "killed", config, resume=True)
    resumed = tmp_path / "killed" / METRICS_FILE
    assert resumed.read_text() == (whole / METRICS_FILE).read_text()
    expected = weights(whole)
    for name, tensor in weights(tmp_path / "killed").items():
        assert torch.equal(tensor, expected[name]), name


def test_what_a_killed_run_has_kept_is_calibrated(crops: Path, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(crops, tmp_path, SAVED.replace(lr=2e-2), report=kill_after(4))
    kept, val = load_checkpoint(tmp_path), load_crops(crops, "val")
    assert kept.metadata["validation"]["epoch"] == 1
    for noted, asked in zip(
        (kept.calibration, kept.thresholds),
        operating_point(crop_logits(kept, val), val.labels),
        strict=True,
    ):
        assert (
            noted.to_dict() == pytest.approx(asked.to_dict(), rel=1e-4) != type(asked)().to_dict()
        )


def test_a_run_that_has_lost_its_state_is_not_written_over(
    crops: Path, finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "last.pt").unlink()
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(OutputError, match=r"holds a run without its last\.pt"):
        train(crops, tmp_path / "run", SAVED.replace(epochs=3), resume=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_a_run_from_before_a_setting_was_known_goes_on(crops: Path, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(crops, tmp_path / "run", SAVED, report=kill_after(2))
    config = tmp_path / "run" / CONFIG_FILE
    config.write_text(
        json.dumps(
            {key: value for key, value in json.loads(config.read_text()).items() if key != "freeze"}
        )
    )
    with pytest.raises(ConfigError, match=r"freeze was '', now 'conv_stem'"):
        train(crops, tmp_path / "run", SAVED.replace(freeze="conv_stem"), resume=True)
    assert train(crops, tmp_path / "run", SAVED, resume=True).trained


def test_a_run_is_not_overwritten_or_mixed(crops: Path, tmp_path: Path) -> None:
    train(crops, tmp_path, SAVED.replace(epochs=1))
    with pytest.raises(OutputError, match="holds a run already; give --resume"):
        train(crops, tmp_path, SAVED)
    with pytest.raises(ConfigError, match=r"batch was 8, now 4"):
        train(crops, tmp_path, SAVED.replace(epochs=1, batch=4), resume=True)
    before, state = weights(tmp_path), tmp_path / STATE_FILE
    assert state.stat().st_size < (tmp_path / "model.safetensors").stat().st_size / 10, (
        "nothing left to go on with"
    )
    train(crops, tmp_path, SAVED.replace(epochs=1, workers=1), resume=True)
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(tmp_path).items())


def test_a_run_is_made_longer_where_it_was_stopped(crops: Path, tmp_path: Path) -> None:
    longer, seen = SAVED.replace(epochs=4), list[Progress]()
    train(crops, tmp_path / "whole", longer)
    with pytest.raises(Killed):
        train(crops, tmp_path / "run", SAVED, report=kill_after(3))
    train(crops, tmp_path / "run", longer, resume=True, report=seen.append)
    assert seen[0].note == (
        "2 more epochs: goes on after epoch 0 where it was; the learning rate's schedule is"
        " stretched over all 4 epochs"
    )
    lines, whole = (
        [json.loads(line) for line in (tmp_path / name / METRICS_FILE).read_text().splitlines()]
        for name in ("run", "whole")
    )
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert [line["lr"] for line in lines] == [line["lr"] for line in whole]
    assert json.loads((tmp_path / "run" / CONFIG_FILE).read_text())["epochs"] == 4
    train(crops, tmp_path / "run", longer, resume=True)


@pytest.mark.parametrize("ending", ["its last epoch", "patience", "a kill while it grows"])
def test_a_finished_run_is_made_longer(
    ending: str, crops: Path, finished: Path, tmp_path: Path
) -> None:
    def kill(progress: Progress) -> None:
        if progress.note:
            raise Killed

    usual = SAVED.replace(patience=1, lr=0.0, epochs=9) if ending == "patience" else SAVED
    if usual == SAVED:
        shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    else:
        train(crops, tmp_path, usual)
    done = len((tmp_path / METRICS_FILE).read_text().splitlines())
    longer, seen = usual.replace(epochs=usual.epochs + 1), list[Progress]()
    if ending == "a kill while it grows":
        with pytest.raises(Killed):
            train(crops, tmp_path, longer, resume=True, report=kill)
    before = weights(tmp_path)
    train(crops, tmp_path, longer, resume=True, report=seen.append)
    lines = [json.loads(line) for line in (tmp_path / METRICS_FILE).read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, len(lines) + 1))
    assert len(lines) > done
    if ending == "its last epoch":
        assert seen[0].note.startswith(
            "1 more epochs: goes on after epoch 2 from the weights that were kept, with a fresh"
            " optimiser; "
        )
    assert before.keys() == weights(tmp_path).keys()


def test_a_run_is_not_made_shorter(crops: Path, finished: Path) -> None:
    with pytest.raises(ConfigError, match=r"epochs was 2, now 1\); .*--epochs may only grow"):
        train(crops, finished, SAVED.replace(epochs=1), resume=True)


def test_a_full_disk_is_named_and_keeps_the_checkpoint_before(
    crops: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saves = iter(range(10))
    save = torch.save

    def full(content: object, path: Path) -> None:
        if next(saves) == 2:
            path.write_bytes(b"half")
            raise RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed")
        save(content, path)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match=r"make room and --resume"):
        train(crops, tmp_path / "run", SAVED)
    train(crops, tmp_path / "run", SAVED, resume=True)
    assert (tmp_path / "run" / METRICS_FILE).read_text() == (finished / METRICS_FILE).read_text()
    assert not [path for path in (tmp_path / "run").iterdir() if "part" in path.name]
