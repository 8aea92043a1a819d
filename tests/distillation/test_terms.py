"""Terms of the objective: how hard each pulls, and what each may compare."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from distill_factory import ROWS, TINY, WITH_HINT, batch
from torch import nn

from deepkd.cli.training import find_dominant
from deepkd.data.crops import load_crops
from deepkd.distillation.distiller import distill
from deepkd.distillation.losses.loss import Loss
from deepkd.distillation.objective import Distillation
from deepkd.distillation.terms import terms_of
from deepkd.errors import ConfigError, TrainingError
from deepkd.models.checkpoints import load_checkpoint
from deepkd.models.registry import TorchModel, build_model
from deepkd.settings.choices import LOSSES
from deepkd.training.engine import Objective
from deepkd.training.supervised import class_labels


def test_the_pull_of_each_term_is_measured_without_a_trace(
    crops: Path, teacher: TorchModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distill([teacher], crops, tmp_path / "measured", WITH_HINT)
    line = json.loads((tmp_path / "measured" / "metrics.jsonl").read_text())
    assert {name for name in line if name.startswith("gradient_")} == {
        "gradient_bce",
        "gradient_kd",
        "gradient_hint",
    }
    monkeypatch.setattr(Distillation, "gradient_norms", Objective.gradient_norms)
    distill([teacher], crops, tmp_path / "not", WITH_HINT)
    one, other = (
        load_checkpoint(tmp_path / name).module.state_dict() for name in ("measured", "not")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_gradient_norms_by_hand(teacher: TorchModel) -> None:
    table = ({"name": "logit_mse", "weight": 3.0},)
    objective = Distillation(
        build_model("pico", image_size=32), [teacher], TINY.replace(losses=table)
    ).eval()
    views, labels = batch()
    norm = objective.gradient_norms(views, labels, ROWS)["logit_mse"]
    objective(views, labels, ROWS)["total"].backward()
    squares = [
        float(p.grad.square().sum()) for p in objective.module.parameters() if p.grad is not None
    ]
    assert norm == pytest.approx(sum(squares) ** 0.5, rel=1e-4)


def test_a_term_that_drowns_the_others_is_named() -> None:
    assert find_dominant({"gradient_kd": 1.0, "gradient_amd.high": 99.0, "train_loss": 5.0}) == {
        "amd.high": 0.99
    }
    assert (
        find_dominant({"gradient_kd": 1.0, "gradient_bce": 2.0})
        == find_dominant({"gradient_kd": 1.0})
        == {}
    )


@dataclasses.dataclass(frozen=True)
class Distances(Loss):
    """Distances between the samples of a batch, as relational distillation compares them."""

    inputs = "embedding"

    spoil: float = 0.0

    def __call__(
        self,
        student: torch.Tensor,
        teacher: torch.Tensor,
        *,
        labels: torch.Tensor | None = None,
        weight: torch.Tensor | None = None,
    ) -> torch.Tensor:
        mine, its = (torch.nn.functional.pdist(one.float()) for one in (student, teacher))
        loss = nn.functional.smooth_l1_loss(mine / mine.mean(), its / its.mean())
        return loss / 0 if self.spoil else loss


def test_a_new_loss_compares_embeddings(
    crops: Path, teacher: TorchModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LOSSES.targets, "distances", f"{__name__}:Distances")
    table = {"name": "distances", "tap": "pooled"}
    config = TINY.replace(losses=(table,), taps={"pooled": ["global_pool:output"] * 2})
    distill([teacher], crops, tmp_path / "run", config)
    line = json.loads((tmp_path / "run" / "metrics.jsonl").read_text())
    assert line["train_distances.pooled"] > 0
    maps = config.replace(taps={"pooled": ["conv_head:output"] * 2})
    with pytest.raises(ConfigError, match=r"distances.pooled: its tap .* must be embeddings"):
        Distillation(build_model("pico", image_size=32), [teacher], maps)
    spoilt = config.replace(losses=({**table, "spoil": 1}, {"name": "bce"}))
    with pytest.raises(TrainingError, match=r"at step 0: distances.pooled is (inf|nan); no step"):
        distill([teacher], crops, tmp_path / "spoilt", spoilt)


def test_a_loss_on_classes_gets_the_column_of_each_sample(crops: Path) -> None:
    names = ("REAL", "FAKE/a", "FAKE/b")
    rows = load_crops(crops, "train").rows
    kinds = [("REAL", ""), ("FAKE", "b"), ("FAKE", "unknown"), ("", "")]
    some = [
        dataclasses.replace(row, label=label, method=method)
        for row, (label, method) in zip(rows, kinds, strict=False)
    ]
    labels = class_labels(dataclasses.replace(load_crops(crops, "train"), rows=some), names)
    assert labels is not None and labels[:2].tolist() == [0, 2] and labels[2:].isnan().all()


def test_a_term_cannot_be_listed_twice() -> None:
    with pytest.raises(ConfigError, match=r"loss .kd. is listed twice"):
        terms_of(TINY.replace(losses=({"name": "kd"}, {"name": "kd", "weight": 2})))


def test_a_temperature_needs_a_loss_that_has_one() -> None:
    with pytest.raises(ConfigError, match=r"temperature=4\.0: loss 'logit_mse' has none"):
        terms_of(TINY.replace(loss="logit_mse", temperature=4.0))
