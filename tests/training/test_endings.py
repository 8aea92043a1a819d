"""A training that is ended by a signal, by the death of a worker or for want of memory says how to
go on, and can."""

import multiprocessing
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from crop_factory import write_crops
from typer.testing import CliRunner

from deepkd.cli.app import app
from deepkd.data.views import Batch
from deepkd.errors import ConfigError, Interrupted, TrainingError
from deepkd.models.registry import TorchModel
from deepkd.settings.training import TrainConfig
from deepkd.training.checkpointing import METRICS_FILE, STATE_FILE
from deepkd.training.progress import Progress
from deepkd.training.supervised import Supervised, train

TINY = TrainConfig(
    model="pico", image_size=32, batch=8, epochs=2, workers=0, augment="light", ema=0.9
)
"""Three steps an epoch, none of which is due for a checkpoint."""


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_crops(tmp_path_factory.mktemp("crops"), families=20, px=48, tint=40)


def at_step(step: int, do: Callable[[], object]) -> Callable[[Progress], None]:
    """A report that does something right after a step, or, at 0, after an epoch's validation."""

    def report(progress: Progress) -> None:
        if progress.validation if step == 0 else progress.step == step and not progress.validation:
            do()

    return report


def signalled(*numbers: signal.Signals) -> Callable[[], None]:
    def send() -> None:
        for number in numbers:
            signal.raise_signal(number)

    return send


@contextmanager
def handled(number: signal.Signals, handler: signal.Handlers) -> Iterator[None]:
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.fixture(scope="module")
def whole(crops: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[TorchModel, str]:
    """What comes of a training that nobody interrupts: the model and its metrics."""
    run = tmp_path_factory.mktemp("whole")
    return train(crops, run, TINY), (run / METRICS_FILE).read_text()


@pytest.mark.parametrize(
    ("step", "number", "code"),
    [(2, signal.SIGINT, 130), (4, signal.SIGTERM, 143), (0, signal.SIGINT, 130)],
    ids=["in the first epoch", "in the second epoch", "after validation"],
)
def test_a_signal_ends_it_after_the_step_and_it_goes_on_as_if_nothing_had_happened(
    crops: Path,
    tmp_path: Path,
    whole: tuple[TorchModel, str],
    step: int,
    number: signal.Signals,
    code: int,
) -> None:
    before = signal.getsignal(number)
    with pytest.raises(
        Interrupted, match=rf"^interrupted after step {step or 3} of 6; --resume goes on there$"
    ) as stopped:
        train(crops, tmp_path, TINY, report=at_step(step, signalled(number)))
    assert stopped.value.exit_code == code and signal.getsignal(number) == before
    assert torch.load(tmp_path / STATE_FILE)["state"]["step"] == (step or 3)
    assert train(crops, tmp_path, TINY, resume=True).sha256 == whole[0].sha256
    assert (tmp_path / METRICS_FILE).read_text() == whole[1]


def test_a_run_goes_on_with_its_own_validation_crops_only(crops: Path, tmp_path: Path) -> None:
    run, other = tmp_path / "run", Path(shutil.copytree(crops, tmp_path / "other")) / "index.csv"
    with pytest.raises(Interrupted):
        train(crops, run, TINY.replace(epochs=1), report=at_step(2, signalled(signal.SIGINT)))
    lines = other.read_text().splitlines()
    other.write_text("\n".join(line for line in lines if not line.startswith("3-")) + "\n")
    with pytest.raises(
        ConfigError, match="was started with other validation crops; use them, or another --out"
    ):
        train(other.parent, run, TINY.replace(epochs=1), resume=True)
    content = torch.load(run / STATE_FILE)
    del content["given"]["validation crops"]  # as in a checkpoint of before
    torch.save(content, run / STATE_FILE)
    assert train(other.parent, run, TINY.replace(epochs=1), resume=True).trained


def test_a_second_signal_ends_it_at_once(crops: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt) as stopped:
        train(
            crops,
            tmp_path / "run",
            TINY,
            report=at_step(2, signalled(signal.SIGINT, signal.SIGINT)),
        )
    assert (
        not isinstance(stopped.value, Interrupted) and not (tmp_path / "run" / STATE_FILE).exists()
    )


def test_a_signal_that_is_ignored_stays_ignored(crops: Path, tmp_path: Path) -> None:
    with handled(signal.SIGINT, signal.SIG_IGN):
        model = train(crops, tmp_path / "run", TINY, report=at_step(2, signalled(signal.SIGINT)))
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert model.trained


def test_the_command_says_how_to_go_on(
    crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def following(*_: object) -> Iterator[Callable[[Progress], None]]:
        yield at_step(2, signalled(signal.SIGTERM))

    monkeypatch.setattr("deepkd.cli.training.follow_run", following)
    words = [
        "train",
        "--data",
        str(crops),
        "--out",
        str(tmp_path / "run"),
        "--model",
        "pico",
        "--image-size",
        "32",
    ]
    result = CliRunner().invoke(app, [*words, "--batch", "8", "--epochs", "2", "--workers", "0"])
    assert (result.exit_code, result.stderr) == (
        143,
        "interrupted after step 2 of 6; --resume goes on there\n",
    )


def kill_workers() -> None:
    for worker in multiprocessing.active_children():
        worker.kill()


def test_the_death_of_a_worker_is_told_with_a_way_on(
    crops: Path, tmp_path: Path, whole: tuple[TorchModel, str]
) -> None:
    config = TINY.replace(workers=1, checkpoint_every=1)
    with pytest.raises(
        TrainingError, match=r"reads crops has died \(.+\); go on with --resume and --work"
    ):
        train(crops, tmp_path, config.replace(epochs=2), report=at_step(2, kill_workers))
    assert train(crops, tmp_path, config.replace(workers=0), resume=True).sha256 == whole[0].sha256


@pytest.mark.parametrize(
    ("raised", "said"),
    [(ConnectionResetError(104, "reset by peer"), "reset by peer"), (EOFError(), "EOFError")],
)
def test_so_is_a_death_that_is_seen_by_the_broken_line_alone(
    crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception, said: str
) -> None:
    def broken(*_: object, **__: object) -> Iterator[Batch]:
        raise raised
        yield

    monkeypatch.setattr("deepkd.training.loading.DataLoader", broken)
    with pytest.raises(
        TrainingError, match=rf"reads crops has died \(.*{said}\); go on with --resume and --work"
    ):
        train(crops, tmp_path, TINY)


@pytest.mark.parametrize(
    ("raised", "expected", "said"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried.\nMore."),
            TrainingError,
            r"\(CUDA out of memory. Tried\); --res",
        ),
        (
            RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. "),
            TrainingError,
            "and --workers 0",
        ),
        (
            RuntimeError("Caught RuntimeError in DataLoader worker process 0."),
            RuntimeError,
            "^Caught",
        ),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), RuntimeError, "^mat1"),
    ],
)
def test_only_failures_that_have_a_remedy_are_explained(
    crops: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    raised: Exception,
    expected: type[Exception],
    said: str,
) -> None:
    def fail(*_: object) -> None:
        raise raised

    monkeypatch.setattr(Supervised, "forward", fail)
    with pytest.raises(expected, match=said):
        train(crops, tmp_path, TINY)
