"""A training learns, keeps its best weights, and goes on after a kill as if nothing had
happened."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from crop_factory import write_crops
from training_factory import TINY, Killed, kill_after, weights

from deepkd.data.crops import load_crops
from deepkd.data.sampling import keep_labelled
from deepkd.errors import ConfigError, DataError, ModelError, TrainingError
from deepkd.evaluation.metrics import auc
from deepkd.models.checkpoints import WEIGHTS_FILE, load_checkpoint, save_model
from deepkd.models.registry import TorchModel, build_model
from deepkd.training import validation
from deepkd.training.checkpointing import METRICS_FILE
from deepkd.training.engine import Progress
from deepkd.training.supervised import smooth, train
from deepkd.training.validation import crop_logits


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_crops(tmp_path_factory.mktemp("crops"), families=20, px=48, tint=40)


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


def test_label_smoothing_by_hand() -> None:
    assert smooth(torch.tensor([0.0, 1.0]), 0.1).tolist() == pytest.approx([0.05, 0.95])
