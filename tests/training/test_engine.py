"""A training learns, keeps its best weights, and goes on after a kill as if nothing had
happened."""

import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from crop_factory import write_crops

from deepkd.data.crops import load_crops
from deepkd.data.sampling import keep_labelled
from deepkd.errors import ConfigError, DataError, ModelError, OutputError, TrainingError
from deepkd.evaluation.decisions import operating_point
from deepkd.evaluation.metrics import auc
from deepkd.models.checkpoints import WEIGHTS_FILE, load_checkpoint, save_model
from deepkd.models.registry import TorchModel, build_model
from deepkd.settings.training import TrainConfig
from deepkd.training import engine, validation
from deepkd.training.checkpointing import CONFIG_FILE, METRICS_FILE, STATE_FILE
from deepkd.training.engine import Progress
from deepkd.training.processes import DistributedContext
from deepkd.training.supervised import smooth, train
from deepkd.training.validation import crop_logits

TINY = TrainConfig(
    model="pico",
    image_size=32,
    batch=8,
    epochs=2,
    workers=0,
    checkpoint_every=1,
    augment="light",
    ema=0.9,
    lr=2e-3,
)


DROPPING = TINY.replace(model="meso4", image_size=None, epochs=1)
"""Of a network with dropout."""


class Killed(Exception):
    """Stands for a kill: it leaves the run wherever it is."""


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_crops(tmp_path_factory.mktemp("crops"), families=20, px=48, tint=40)


def kill_after(step: int) -> Callable[[Progress], None]:
    """A report that kills the training before the state of this step is saved."""

    def kill(progress: Progress) -> None:
        if progress.step == step and progress.validation is None:
            raise Killed

    return kill


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(run).module.state_dict()


def test_it_learns_and_keeps_the_best(crops: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    model = train(crops, tmp_path / "run", TINY.replace(epochs=12, lr=2e-2), report=seen.append)
    lines = [
        json.loads(line) for line in (tmp_path / "run" / METRICS_FILE).read_text().splitlines()
    ]
    assert [line["epoch"] for line in lines] == list(range(1, 13))
    assert lines[-1]["train_loss"] < 0.8 * lines[0]["train_loss"]
    best = max(line["val_auc"] for line in lines)
    val = load_crops(crops, "val")
    assert auc(val.labels, crop_logits(model, val)) == pytest.approx(best)
    assert model.metadata["validation"]["val_auc"] == best
    assert model.metadata["recipe"]["index_sha256"] == load_crops(crops, "train").index_sha256()
    assert model.calibration.temperature > 0 and model.thresholds.real <= model.thresholds.fake
    assert seen[-1].step == seen[-1].steps and seen[-1].validation == lines[-1]


@pytest.mark.parametrize(
    ("stop_at", "config"),
    [
        (1, TINY),
        (3, TINY),
        (4, TINY),
        (1, DROPPING),
        (1, DROPPING.replace(accumulate=2, workers=1)),
    ],
    ids=["first epoch", "at its end", "second epoch", "dropout", "dropout in parts"],
)
def test_a_killed_run_resumes_to_the_same_weights(
    crops: Path, tmp_path: Path, stop_at: int, config: TrainConfig
) -> None:
    train(crops, tmp_path / "whole", config)
    with pytest.raises(Killed):
        train(crops, tmp_path / "killed", config, report=kill_after(stop_at + 1))
    train(crops, tmp_path / "killed", config, resume=True)
    whole, resumed = (tmp_path / name / METRICS_FILE for name in ("whole", "killed"))
    assert resumed.read_text() == whole.read_text()
    expected = weights(tmp_path / "whole")
    for name, tensor in weights(tmp_path / "killed").items():
        assert torch.equal(tensor, expected[name]), name


def test_it_keeps_the_best_epoch_or_the_last(
    crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kept(name: str, keep: str, *areas: float, **options: Any) -> TorchModel:
        left = list(areas)
        monkeypatch.setattr(validation, "auc", lambda *_: left.pop(0))
        return train(crops, tmp_path / name, TINY.replace(keep=keep), **options)

    first, second = kept("falling", "best", 0.9, 0.6), kept("rising", "best", 0.6, 0.9)
    last = kept("last", "last", 0.9, 0.6)
    assert (first.metadata["validation"]["epoch"], first.metadata["validation"]["val_auc"]) == (
        1,
        0.9,
    )
    assert (last.metadata["validation"]["epoch"], last.metadata["validation"]["val_auc"]) == (
        2,
        0.6,
    )
    assert first.sha256 != last.sha256 == second.sha256
    assert last.calibration == second.calibration != first.calibration
    with pytest.raises(Killed):
        kept("killed", "last", 0.9, report=kill_after(5))
    again = kept("killed", "last", 0.6, resume=True)
    assert (again.sha256, again.metadata) == (last.sha256, last.metadata)


def test_what_a_killed_run_has_kept_is_calibrated(crops: Path, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(crops, tmp_path, TINY.replace(lr=2e-2), report=kill_after(4))
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


def test_a_run_that_has_lost_its_state_is_not_written_over(crops: Path, tmp_path: Path) -> None:
    train(crops, tmp_path / "run", TINY.replace(epochs=2))
    (tmp_path / "run" / "last.pt").unlink()
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(OutputError, match=r"holds a run without its last\.pt"):
        train(crops, tmp_path / "run", TINY.replace(epochs=3), resume=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_a_run_from_before_a_setting_was_known_goes_on(crops: Path, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(crops, tmp_path / "run", TINY, report=kill_after(2))
    config = tmp_path / "run" / CONFIG_FILE
    config.write_text(
        json.dumps(
            {key: value for key, value in json.loads(config.read_text()).items() if key != "freeze"}
        )
    )
    with pytest.raises(ConfigError, match=r"freeze was '', now 'conv_stem'"):
        train(crops, tmp_path / "run", TINY.replace(freeze="conv_stem"), resume=True)
    assert train(crops, tmp_path / "run", TINY, resume=True).trained


def test_what_is_frozen_stays_and_the_rest_learns(crops: Path, tmp_path: Path) -> None:
    start = save_model(build_model("pico", image_size=32), tmp_path / "start.safetensors")
    before = load_checkpoint(start, allow_untrained=True).module.state_dict()
    train(
        crops,
        tmp_path / "run",
        TINY.replace(init=start, freeze="conv_stem, bn1, blocks.[01]*", lr=2e-2),
    )
    changed = {
        name
        for name, tensor in weights(tmp_path / "run").items()
        if not torch.equal(tensor, before[name])
    }
    frozen = {
        name for name in before if name.startswith(("conv_stem", "bn1", "blocks.0", "blocks.1"))
    }
    assert frozen and changed == before.keys() - frozen


@pytest.mark.parametrize(
    ("freeze", "said"),
    [("block.0", "no such module; it has .*blocks.0"), ("*", "leaves nothing to train")],
)
def test_freezing_what_is_not_there_or_everything_is_refused(
    crops: Path, tmp_path: Path, freeze: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=f"freeze={re.escape(freeze)}: {said}"):
        train(crops, tmp_path / "run", TINY.replace(freeze=freeze))
    assert not (tmp_path / "run").exists()


def test_workers_and_accumulation_do_not_change_the_samples(crops: Path, tmp_path: Path) -> None:
    train(crops, tmp_path / "alone", TINY.replace(epochs=1))
    train(crops, tmp_path / "helped", TINY.replace(epochs=1, workers=2))
    alone, helped = weights(tmp_path / "alone"), weights(tmp_path / "helped")
    assert all(torch.equal(alone[name], helped[name]) for name in alone)
    train(crops, tmp_path / "parts", TINY.replace(epochs=1, accumulate=2))
    steps = [
        json.loads((tmp_path / name / METRICS_FILE).read_text())["step"]
        for name in ("alone", "parts")
    ]
    assert steps[0] == steps[1]


def test_a_compiled_model_trains_and_loads_as_any_other(
    crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[torch.nn.Module] = []
    real = torch.nn.Module.compile

    def quickly(module: torch.nn.Module) -> None:
        compiled.append(module)
        real(module, backend="eager")  # without the C++ compiler, whose start takes a minute

    monkeypatch.setattr(torch.nn.Module, "compile", quickly)
    train(crops, tmp_path / "plain", TINY)
    assert not compiled
    train(crops, tmp_path / "compiled", TINY.replace(epochs=1, compile=True))
    assert len(compiled) == 1
    plain, mine = weights(tmp_path / "plain"), weights(tmp_path / "compiled")
    assert plain.keys() == mine.keys()
    train(crops, tmp_path / "compiled", TINY.replace(epochs=1), resume=True)
    changed = tmp_path / "again"
    train(crops, changed, TINY.replace(compile=True))
    mine = weights(changed)
    assert all(torch.allclose(plain[name].float(), mine[name].float(), atol=1e-4) for name in plain)


def test_it_stops_early(crops: Path, tmp_path: Path) -> None:
    train(crops, tmp_path, TINY.replace(epochs=30, patience=2, lr=0.0))
    assert len((tmp_path / METRICS_FILE).read_text().splitlines()) == 3
    train(crops, tmp_path, TINY.replace(epochs=30, patience=2, lr=0.0), resume=True)
    assert len((tmp_path / METRICS_FILE).read_text().splitlines()) == 3, (
        "a run that has stopped stays stopped"
    )


def test_a_run_is_not_overwritten_or_mixed(crops: Path, tmp_path: Path) -> None:
    train(crops, tmp_path, TINY.replace(epochs=1))
    with pytest.raises(OutputError, match="holds a run already; give --resume"):
        train(crops, tmp_path, TINY)
    with pytest.raises(ConfigError, match=r"batch was 8, now 4"):
        train(crops, tmp_path, TINY.replace(epochs=1, batch=4), resume=True)
    before, state = weights(tmp_path), tmp_path / STATE_FILE
    assert state.stat().st_size < (tmp_path / "model.safetensors").stat().st_size / 10, (
        "nothing left to go on with"
    )
    train(crops, tmp_path, TINY.replace(epochs=1, workers=1), resume=True)
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(tmp_path).items())


def test_a_run_is_made_longer_where_it_was_stopped(crops: Path, tmp_path: Path) -> None:
    longer, seen = TINY.replace(epochs=4), list[Progress]()
    train(crops, tmp_path / "whole", longer)
    with pytest.raises(Killed):
        train(crops, tmp_path / "run", TINY, report=kill_after(3))
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
def test_a_finished_run_is_made_longer(ending: str, crops: Path, tmp_path: Path) -> None:
    def kill(progress: Progress) -> None:
        if progress.note:
            raise Killed

    usual = TINY.replace(patience=1, lr=0.0, epochs=9) if ending == "patience" else TINY
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


def test_a_run_is_not_made_shorter(crops: Path, tmp_path: Path) -> None:
    train(crops, tmp_path, TINY)
    with pytest.raises(ConfigError, match=r"epochs was 2, now 1\); .*--epochs may only grow"):
        train(crops, tmp_path, TINY.replace(epochs=1), resume=True)


def test_it_starts_from_a_checkpoint_of_the_same_model_only(crops: Path, tmp_path: Path) -> None:
    train(crops, tmp_path / "first", TINY.replace(epochs=1))
    start = tmp_path / "first" / WEIGHTS_FILE
    train(
        crops,
        tmp_path / "second",
        TINY.replace(epochs=1, lr=0.0, ema=0.0, init=start, sampling="shuffled"),
    )
    first, second = weights(tmp_path / "first"), weights(tmp_path / "second")
    assert torch.equal(first["conv_stem.weight"], second["conv_stem.weight"])
    with pytest.raises(ModelError, match="holds a pico, not a nano"):
        train(crops, tmp_path / "third", TINY.replace(model="nano", init=start))


def test_what_cannot_be_trained_is_refused(crops: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="lower --lr"):
        train(crops, tmp_path / "a", TINY.replace(lr=1e30, warmup=0.0, epochs=3))
    one_class = load_crops(crops, "val").rows
    index = (crops / "index.csv").read_text().splitlines()
    copy = write_crops(tmp_path / "copy", families=20, px=48, tint=40)
    kept = [line for line in index if not ("FAKE" in line and ",val," in line)]
    (copy / "index.csv").write_text("\n".join(kept) + "\n")
    assert len(kept) == len(index) - len(one_class) // 2
    with pytest.raises(DataError, match="need both labels"):
        train(copy, tmp_path / "b", TINY)
    with pytest.raises(ConfigError, match="batch=6: takes a multiple of"):
        TINY.replace(batch=6, accumulate=2)


def test_crops_without_a_label_are_left_out(tmp_path: Path) -> None:
    data = write_crops(tmp_path / "crops", families=20, px=48, tint=40, unlabelled=6)
    model = train(data, tmp_path / "run", TINY.replace(sampling="shuffled", epochs=1))
    known = keep_labelled(load_crops(data, "train"))
    assert {row.label for row in known.rows} == {"REAL", "FAKE"}
    assert model.metadata["recipe"]["index_sha256"] == known.index_sha256()
    assert (
        json.loads((tmp_path / "run" / METRICS_FILE).read_text())["step"]
        == len(known) // TINY.batch
    )
    index = (data / "index.csv").read_text()
    (data / "index.csv").write_text(
        "\n".join(
            line.replace("FAKE", "") if ",train," in line else line for line in index.splitlines()
        )
    )
    with pytest.raises(DataError, match="both labels, and these crops are all REAL"):
        train(data, tmp_path / "one label", TINY.replace(sampling="shuffled"))


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


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("content", [b"\xff\xd8 not a jpeg", b""], ids=["damaged", "empty"])
def test_a_crop_that_is_no_image_is_named_in_one_line(
    tmp_path: Path, content: bytes, workers: int
) -> None:
    data = write_crops(tmp_path / "crops", families=5, px=48)
    (data / "0-real.jpg").write_bytes(content)
    with pytest.raises(DataError) as raised:
        train(data, tmp_path / "run", TINY.replace(workers=workers))
    assert (
        str(raised.value)
        == f"{data / '0-real.jpg'}: not an image; extract it again or drop its row"
    )


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


def test_label_smoothing_by_hand() -> None:
    assert smooth(torch.tensor([0.0, 1.0]), 0.1).tolist() == pytest.approx([0.05, 0.95])


def test_a_full_disk_is_named_and_keeps_the_checkpoint_before(
    crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
        train(crops, tmp_path / "run", TINY)
    train(crops, tmp_path / "run", TINY, resume=True)
    monkeypatch.undo()
    train(crops, tmp_path / "whole", TINY)
    assert (tmp_path / "run" / METRICS_FILE).read_text() == (
        tmp_path / "whole" / METRICS_FILE
    ).read_text()
    assert not [path for path in (tmp_path / "run").iterdir() if "part" in path.name]
