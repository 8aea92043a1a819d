"""`deepkd prune` cuts in steps, fine-tunes between them and resumes where it was stopped."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from crop_factory import write_crops
from model_factory import milliseconds, random_model
from torch import nn
from typer.testing import CliRunner

from deepkd import machine
from deepkd.cli.app import app
from deepkd.cli.training import follow_run
from deepkd.compression import gradual, latency
from deepkd.data.crops import load_crops
from deepkd.errors import ConfigError, DataError
from deepkd.evaluation.metrics import auc, log_loss
from deepkd.models.checkpoints import load_checkpoint, save_model
from deepkd.models.registry import TorchModel, build_model
from deepkd.models.subclasses import names_of
from deepkd.settings.compression import PruneConfig
from deepkd.settings.training import TrainConfig
from deepkd.training.supervised import train
from deepkd.training.validation import crop_logits


@pytest.mark.parametrize(
    ("load", "flag", "warned"),
    [(9.0, "--latency-ms", 1), (0.1, "--latency-ms", 0), (9.0, "--params", 0)],
)
def test_a_busy_machine_is_named_before_it_is_measured_on(
    load: float, flag: str, warned: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = replace(machine.machine(4), load=load, cores=4)
    monkeypatch.setattr(machine, "machine", lambda threads: busy)
    source = save_model(random_model("pico"), tmp_path / "source.safetensors")
    words = [
        "prune",
        str(source),
        "--data",
        str(tmp_path),
        "--out",
        str(tmp_path / "out"),
        flag,
        "9",
    ]
    result = CliRunner().invoke(app, words)
    said = " ".join(result.stderr.split())
    assert (
        result.exit_code == 1
        and said.count("warning: The machine was busy (load 9.0 on 4 cores)") == warned
    )
    assert said.count("prune again when it is idle") == warned


IN_STEPS = ["--steps", "2", "--epochs", "1", "--batch", "4", "--workers", "0"]


def prune_words(source: Path, data: Path, out: Path, *more: str) -> list[str]:
    """The command that prunes a model with few crops."""
    files = [str(source), "--data", str(data), "--out", str(out)]
    return ["prune", *files, "--samples", "8", *more]


def test_the_command_prunes_to_a_latency_in_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []

    def clock(model: TorchModel) -> float:
        measured.append(milliseconds(model))
        return measured[-1]

    for module in (latency, gradual):
        monkeypatch.setattr(module, "latency_ms", clock)
    monkeypatch.setattr(latency, "ROUNDS", 3)
    data = write_crops(tmp_path / "crops", tint=40)
    source = save_model(random_model("pico"), tmp_path / "source.safetensors")
    limit = 0.5 * milliseconds(load_checkpoint(source))
    words = prune_words(source, data, tmp_path / "out", "--latency-ms", str(limit), *IN_STEPS)
    other = random_model("pico")
    other.name = "other"
    second = save_model(other, tmp_path / "other.safetensors")
    words += ["--teacher", str(source), "--teacher", str(second)]
    words += ["--augment", "light", "--teacher-view", "clean"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    first, last = (load_checkpoint(tmp_path / "out" / name) for name in ("step-1", "."))
    assert measured[0] > milliseconds(first) > limit >= milliseconds(last)
    assert last.metadata["pruned"]["measured_ms"] == pytest.approx(milliseconds(last), abs=1e-4)
    assert first.metadata["pruned"]["from"] == "pico"
    recipe = last.metadata["recipe"]
    assert (recipe["teacher"], recipe["augment"], recipe["teacher_view"]) == (
        "pico, other",
        "light",
        "clean",
    )


def test_teachers_need_epochs_to_teach_in(tmp_path: Path) -> None:
    model = random_model()
    with pytest.raises(ConfigError, match="epochs=0 leaves a teacher nothing to teach"):
        gradual.prune_in_steps(
            model,
            tmp_path,
            tmp_path / "out",
            PruneConfig(params=9),
            follow=follow_run,
            teachers=[model],
        )


def test_the_command_prunes_in_steps_and_keeps_its_place_in_the_pipeline(tmp_path: Path) -> None:
    data = write_crops(tmp_path / "crops", tint=40)
    source = save_model(random_model("pico"), tmp_path / "source.safetensors")
    run = CliRunner().invoke
    small = ["--params", "120000"]
    plain = run(app, prune_words(source, data, tmp_path / "plain", *small))
    assert plain.exit_code == 0, plain.output
    pruned = load_checkpoint(tmp_path / "plain")
    assert pruned.params <= 120_000
    assert pruned.metadata["pruned"]["criterion"] == "taylor"
    assert "calibration" in pruned.metadata
    steps = run(app, prune_words(source, data, tmp_path / "steps", *small, *IN_STEPS))
    assert steps.exit_code == 0, steps.output
    first, second = (load_checkpoint(tmp_path / "steps" / f"step-{number}") for number in (1, 2))
    assert load_checkpoint(source).params > first.params > second.params
    assert second.params == load_checkpoint(tmp_path / "steps").params <= 120_000
    assert second.metadata["recipe"]["teacher"] == "pico", "the unpruned network"
    for flags in ([], ["--resume"]):
        again = run(app, prune_words(source, data, tmp_path / "plain", *small, *flags))
        assert again.exit_code == 1
        assert "holds a model already" in again.stderr
    assert load_checkpoint(tmp_path / "plain").sha256 == pruned.sha256


def test_a_model_with_subclasses_is_pruned_and_taught_by_its_forgery_logit(tmp_path: Path) -> None:
    data = write_crops(tmp_path / "crops", tint=40, methods=("swap", "lips"))
    names = ("REAL", "FAKE/lips", "FAKE/swap")
    torch.manual_seed(0)
    model = build_model("pico", image_size=32, subclasses=names)
    nn.init.normal_(model.module.network.classifier.weight)  # type: ignore[union-attr, arg-type]
    model.trained = True
    quick: dict[str, Any] = {"epochs": 1, "batch": 4, "workers": 0, "augment": "none"}
    config = PruneConfig(params=round(0.9 * model.params), samples=8, **quick)
    pruned = gradual.prune_in_steps(model, data, tmp_path / "out", config, follow=follow_run)
    again = load_checkpoint(tmp_path / "out")
    assert again.params == pruned.params <= 0.9 * model.params
    assert names_of(again.module) == names and again.metadata["subclasses"] == list(names)
    further = TrainConfig(model="pico", init=tmp_path / "out", **quick)
    assert names_of(train(data, tmp_path / "further", further).module) == names
    assert "train_subclass" not in (tmp_path / "further" / "metrics.jsonl").read_text()


def test_what_was_stopped_goes_on_and_cuts_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_crops(tmp_path / "crops", tint=40)
    source = save_model(random_model("pico"), tmp_path / "source.safetensors")
    run, out = CliRunner().invoke, tmp_path / "out"
    words = prune_words(source, data, out, "--params", "120000", *IN_STEPS)
    tune, cut = gradual.distill, gradual.prune
    calls: list[str] = []

    def counted(*args: object, **named: object) -> TorchModel:
        calls.append("cut")
        return cut(*args, **named)  # type: ignore[arg-type]

    def stopped(
        teachers: object, data: Path, run: Path, *args: object, **named: object
    ) -> TorchModel:
        calls.append(run.name)
        if calls == ["cut", "step-1", "cut", "step-2"]:
            raise KeyboardInterrupt
        return tune(teachers, data, run, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(gradual, "distill", stopped)
    monkeypatch.setattr(gradual, "prune", counted)
    assert run(app, words).exit_code == 130
    assert not (out / "model.safetensors").exists()
    kept = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    untuned = [*words[: words.index("--steps")], "--resume"]
    for command in (words, [*words, "--params", "100000"], untuned):
        anew = run(app, command)
        assert anew.exit_code == 1 and "holds steps of a pruning; go on with --resume" in " ".join(
            anew.stderr.split()
        )
    sibling = random_model("pico")
    sibling.module.get_classifier().bias.data += 1  # type: ignore[operator]
    save_model(sibling, tmp_path / "sibling.safetensors")
    other = run(app, ["prune", str(tmp_path / "sibling.safetensors"), *words[2:], "--resume"])
    assert other.exit_code == 2 and "was cut from another model" in " ".join(other.stderr.split())
    other = run(app, [*words, "--resume", "--criterion", "magnitude"])
    assert other.exit_code == 2 and "was cut with criterion=taylor" in " ".join(
        other.stderr.split()
    )
    other = run(app, [*words, "--resume", "--epochs", "2"])
    assert other.exit_code == 2 and "epochs was 1, now 2" in " ".join(other.stderr.split())
    assert kept == {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    again = run(app, [*words, "--resume"])
    assert again.exit_code == 0, again.output
    assert calls == ["cut", "step-1", "cut", "step-2", "step-1", "step-2"]
    assert load_checkpoint(out).params <= 120_000


@pytest.mark.parametrize(
    ("label", "message"),
    [("", "split 'val'"), ("FAKE", "the validation crops need both labels")],
)
@pytest.mark.parametrize("epochs", [0, 1])
def test_held_out_crops_are_missed_before_anything_is_cut(
    label: str, message: str, epochs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object, **__: object) -> TorchModel:
        pytest.fail("was cut")

    monkeypatch.setattr(gradual, "prune", cut)
    index = write_crops(tmp_path / "crops") / "index.csv"
    lines = index.read_text().splitlines()
    index.write_text(
        "\n".join(line for line in lines if not (",val," in line and label in line)) + "\n"
    )
    config = PruneConfig(params=120_000, samples=4, epochs=epochs)
    with pytest.raises(DataError, match=message):
        gradual.prune_in_steps(
            random_model("pico"), index.parent, tmp_path / "out", config, follow=follow_run
        )
    assert not list((tmp_path / "out").iterdir())


def test_crops_of_one_class_cannot_show_what_channels_are_worth(tmp_path: Path) -> None:
    index = write_crops(tmp_path / "crops") / "index.csv"
    lines = index.read_text().splitlines()
    index.write_text(
        "\n".join(line for line in lines if not (",train," in line and "FAKE" in line)) + "\n"
    )
    config = PruneConfig(params=120_000, samples=4)
    message = (
        "crops: split 'train' needs REAL and FAKE rows to show what channels are worth; give"
        " another --data or"
    )
    with pytest.raises(DataError, match=message):
        gradual.prune_in_steps(
            random_model("pico"), index.parent, tmp_path / "out", config, follow=follow_run
        )
    config = PruneConfig(params=120_000, criterion="magnitude")
    gradual.prune_in_steps(
        random_model("pico"), index.parent, tmp_path / "out", config, follow=follow_run
    )


@pytest.mark.parametrize("epochs", [0, 1])
@pytest.mark.parametrize(
    "wanted", [{"params": 9_000_000}, {"macs_m": 999.0}, {"latency_ms": 999.0}]
)
def test_a_target_that_is_met_already_is_named_and_nothing_written(
    wanted: dict[str, Any], epochs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (latency, gradual):
        monkeypatch.setattr(module, "latency_ms", milliseconds)
    data = write_crops(tmp_path / "crops")
    config = PruneConfig(
        **wanted, samples=4, criterion="magnitude", epochs=epochs, steps=1 + epochs
    )
    with pytest.raises(ConfigError, match="nothing to prune: pico is within the target already"):
        gradual.prune_in_steps(
            random_model("pico"), data, tmp_path / "out", config, follow=follow_run
        )
    assert not list((tmp_path / "out").iterdir())


def test_the_pruned_network_carries_its_own_figures_not_those_of_the_whole_one(
    tmp_path: Path,
) -> None:
    model = random_model("pico")
    model.metadata |= {"validation": {"val_auc": 0.9}, "recipe": {"epochs": 3}}
    data, config = (
        write_crops(tmp_path / "crops"),
        PruneConfig(params=120_000, samples=4, criterion="magnitude"),
    )
    pruned = gradual.prune_in_steps(model, data, tmp_path / "out", config, follow=follow_run)
    kept = load_checkpoint(tmp_path / "out").metadata
    assert kept == pruned.metadata and kept["recipe"] == {"epochs": 3}
    val = load_crops(data, "val")
    logits = crop_logits(pruned, val)
    assert kept["validation"] == {
        "val_auc": auc(val.labels, logits),
        "val_log_loss": log_loss(val.labels, logits),
    }
    assert model.metadata["validation"] == {"val_auc": 0.9}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "nothing to reach; give --params"),
        (["--params", "9", "--steps", "2"], "steps=2 without fine-tuning"),
        (
            ["--params", "9", "--lr", "1e-3", "--teacher-view", "clean"],
            "lr=0.001, teacher_view=clean: for fine-tuning",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    flags: list[str], message: str, tmp_path: Path
) -> None:
    base = [
        "prune",
        str(tmp_path / "m.safetensors"),
        "--data",
        str(tmp_path),
        "--out",
        str(tmp_path / "out"),
    ]
    result = CliRunner().invoke(app, [*base, *flags])
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
