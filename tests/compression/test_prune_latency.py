"""Pruning to a limit of milliseconds: the search for it, and its clock."""

import pytest
from model_factory import milliseconds, random_model

from deepkd.benchmark import latency as latencies
from deepkd.compression import latency
from deepkd.compression.importance import Importance
from deepkd.compression.latency import prune_to_latency
from deepkd.compression.prune import Target, prune
from deepkd.errors import ConfigError
from deepkd.models.registry import TorchModel
from deepkd.settings.choices import CRITERIA


@pytest.fixture(scope="module")
def model() -> TorchModel:
    return random_model()


@pytest.fixture
def pruned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches of one network for a latency prune it once to each target."""
    known: dict[Target, TorchModel] = {}

    def remembering(
        model: TorchModel, importance: Importance, target: Target, **more: float
    ) -> TorchModel:
        if target not in known:
            known[target] = prune(model, importance, target, **more)
        return known[target]

    monkeypatch.setattr(latency, "prune", remembering)


@pytest.mark.usefixtures("pruned_once")
def test_a_latency_is_reached_and_not_by_more_than_needed() -> None:
    model = random_model("pico")
    importance = CRITERIA.load("bn-scale")(model, iter(()))
    limit = 0.6 * milliseconds(model)
    pruned, taken = prune_to_latency(model, importance, Target(), limit, measure=milliseconds)
    assert taken == milliseconds(pruned) and 0.9 * limit < taken <= limit
    small = Target(params=model.params // 3)
    both, _ = prune_to_latency(model, importance, small, limit, measure=milliseconds)
    assert both.params <= model.params // 3
    same, taken = prune_to_latency(
        model, importance, Target(), 2 * milliseconds(model), measure=milliseconds
    )
    assert (same.params, taken) == (model.params, milliseconds(model))
    with pytest.raises(
        ConfigError,
        match=r"latency_ms=0.001: cannot be reached by pruning pico; the fastest took \d",
    ):
        prune_to_latency(model, importance, Target(), 0.001, measure=milliseconds)


class Clock:
    """Times candidates as `milliseconds` does at first; later some of them by half more."""

    def __init__(self, *unlucky: int) -> None:
        self.unlucky = unlucky
        self.seen: list[int] = []
        self.again: list[int] = []

    def __call__(self, model: TorchModel) -> float:
        if model.macs not in self.seen:
            self.seen.append(model.macs)
            return milliseconds(model)
        self.again.append(model.macs)
        return milliseconds(model) * (1.5 if len(self.again) - 1 in self.unlucky else 1)


@pytest.mark.usefixtures("pruned_once")
def test_what_was_fast_by_luck_gives_way_to_the_next_smaller() -> None:
    model = random_model("pico")
    importance = CRITERIA.load("bn-scale")(model, iter(()))
    limit = 0.6 * milliseconds(model)
    sizes = []
    for unlucky in ((), (0,), (0, 1)):
        clock = Clock(*unlucky)
        pruned, taken = prune_to_latency(model, importance, Target(), limit, measure=clock)
        assert taken == milliseconds(pruned) <= limit
        assert (
            clock.again == sorted(clock.again, reverse=True)
            and len(clock.again) == len(unlucky) + 1
        )
        sizes.append(pruned.macs)
    assert sizes[0] > sizes[1] > sizes[2]
    with pytest.raises(
        ConfigError, match=r"the fastest took [\d.]+ ms, but longer when timed again"
    ):
        prune_to_latency(model, importance, Target(), limit, measure=Clock(*range(9)))
    whole = Clock(0)
    pruned, _ = prune_to_latency(
        model, importance, Target(), 1.2 * milliseconds(model), measure=whole
    )
    assert pruned.macs < model.macs and whole.again[0] == model.macs


def test_a_search_times_a_network_once_and_again_before_it_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = random_model("pico")
    small = prune(model, CRITERIA.load("bn-scale")(model, iter(())), Target(macs=model.macs // 2))

    def coarse(
        model: TorchModel, importance: Importance, target: Target, **more: float
    ) -> TorchModel:
        return small if target.macs is not None and target.macs < 0.75 * model.macs else model

    timed: list[int] = []

    def measure(model: TorchModel) -> float:
        timed.append(model.macs)
        return milliseconds(model)

    monkeypatch.setattr(latency, "prune", coarse)
    limit = (milliseconds(small) + milliseconds(model)) / 2
    assert prune_to_latency(model, {}, Target(), limit, measure=measure) == (
        small,
        milliseconds(small),
    )
    assert timed == [model.macs, small.macs, small.macs]


def test_the_clock_is_that_of_the_exported_network() -> None:
    assert 0 < latencies.latency_ms(random_model("pico")) < 10_000
