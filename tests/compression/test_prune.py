"""Pruning takes what is worth least, reaches its target, and the result loads anywhere."""

import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from crop_factory import write_crops
from model_factory import random_model
from torch import Tensor, nn

from deepkd.cli.training import follow_run
from deepkd.compression import gradual
from deepkd.compression.importance import Importance, draw_samples, taylor
from deepkd.compression.prune import BLOCK, Target, prune
from deepkd.data.crops import load_crops
from deepkd.errors import ConfigError, ModelError
from deepkd.models.checkpoints import load_checkpoint, save_model
from deepkd.models.export import export_onnx
from deepkd.models.registry import TorchModel, build_model, evaluating
from deepkd.models.widths import resize, widths_of
from deepkd.scoring.model import InputFormat, Scorer
from deepkd.settings.choices import CRITERIA
from deepkd.settings.compression import PruneConfig

CROPS = list(np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8))
LABELS = torch.tensor([0.0, 1.0, 1.0, 0.0])


def samples(model: TorchModel) -> "list[tuple[Tensor, Tensor]]":
    return [(torch.from_numpy(model.format.batch(CROPS)), LABELS)]


@pytest.fixture(scope="module")
def model() -> TorchModel:
    return random_model()


@pytest.mark.parametrize("criterion", CRITERIA)
def test_every_criterion_reaches_the_target_in_blocks_and_loads_again(
    model: TorchModel, criterion: str, tmp_path: Path
) -> None:
    importance = CRITERIA.load(criterion)(model, iter(samples(model)))
    target = Target(params=model.params // 2, macs=round(0.7 * model.macs))
    pruned = prune(model, importance, target)
    assert 0.85 < target.excess(pruned.params, pruned.macs) <= 1
    shrunk = {
        name: width
        for name, width in widths_of(pruned.module).items()
        if width != widths_of(model.module)[name]
    }
    assert shrunk
    assert all(width[0] % BLOCK == 0 or width[0] == 1 for width in shrunk.values())
    again = load_checkpoint(save_model(pruned, tmp_path / "pruned.safetensors"))
    np.testing.assert_array_equal(again.logits(CROPS), pruned.logits(CROPS))
    onnx = Scorer.load(export_onnx(again, tmp_path / "pruned.onnx"))
    np.testing.assert_allclose(onnx.logits(CROPS), pruned.logits(CROPS), atol=1e-4)
    assert onnx.params == pruned.params
    assert np.abs(model.logits(CROPS) - pruned.logits(CROPS)).max() > 0


def test_what_does_nothing_goes_first_and_is_not_missed() -> None:
    model = random_model()
    silent = []
    for name, layer in model.module.named_modules():
        if (
            isinstance(layer, nn.BatchNorm2d)
            and name.endswith("bn2")
            and layer.num_features >= 4 * BLOCK
        ):
            layer.weight.data[3 : 3 + BLOCK] = 0
            layer.bias.data[3 : 3 + BLOCK] = 0
            silent.append(name)
    before = model.logits(CROPS)
    importance = taylor(model, iter(samples(model)))
    pruned = prune(model, importance, Target(params=model.params - 300))
    assert len(silent) > 3
    assert pruned.params < model.params
    np.testing.assert_allclose(pruned.logits(CROPS), before, atol=1e-4)


def test_taylor_is_the_papers_formula() -> None:
    class Tiny(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)
            self.head = nn.Linear(4, 1)

        def forward(self, views: Tensor) -> Tensor:
            return self.head(self.norm(self.conv(views)).relu().mean((2, 3)))  # type: ignore[no-any-return]

    torch.manual_seed(1)
    tiny = TorchModel(
        "tiny", "tiny", Tiny().eval(), InputFormat(size=8, mean=(0.0,) * 3, std=(1.0,) * 3)
    )
    crops = torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8)
    labels = torch.tensor([0.0, 1.0])
    found = taylor(tiny, iter([(crops, labels)]))["norm"]
    expected = np.zeros(4)
    network = tiny.module
    for crop, label in zip(crops, labels, strict=True):
        with evaluating(network):
            maps = network.norm(network.conv(crop.permute(2, 0, 1)[None].float() / 255))  # type: ignore[operator]
        logit = network.head(maps.relu().mean((2, 3)))  # type: ignore[operator]
        error = float(logit.detach().sigmoid() - label)
        slope = error * network.head.weight[0].detach() / 36  # type: ignore[union-attr, index]
        gated = slope[:, None, None] * (maps[0] > 0) * maps[0]
        expected += gated.mean((1, 2)).abs().detach().numpy()
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


def test_feature_maps_do_not_outlive_their_batch() -> None:
    model = random_model()
    shown: list[weakref.ref[Tensor]] = []
    norm = next(layer for layer in model.module.modules() if isinstance(layer, nn.BatchNorm2d))
    norm.register_forward_hook(lambda _, __, maps: shown.append(weakref.ref(maps)))
    taylor(model, iter([*samples(model), *samples(model)]))
    assert len(shown) > 1 and not any(maps() is not None for maps in shown)


@pytest.mark.parametrize(("seeds", "alike"), [((3, 3), True), ((3, 4), False)])
def test_the_seed_alone_says_what_goes_at_random(
    seeds: tuple[int, int], alike: bool, tmp_path: Path
) -> None:
    data, model = write_crops(tmp_path / "crops"), random_model("pico")
    hashes = set()
    for turn, seed in enumerate(seeds):
        torch.manual_seed(turn)  # says nothing
        config = PruneConfig(params=120_000, samples=4, criterion="random", seed=seed)
        hashes.add(
            gradual.prune_in_steps(
                model, data, tmp_path / str(turn), config, follow=follow_run
            ).sha256
        )
    assert (len(hashes) == 1) == alike


def test_the_penalty_takes_what_is_dear_first(model: TorchModel) -> None:
    importance = taylor(model, iter(samples(model)))
    target = Target(params=round(0.8 * model.params))
    plain, thrifty = (
        prune(model, importance, target),
        prune(model, importance, target, penalty=10.0),
    )
    assert thrifty.macs < plain.macs


def test_a_channel_costs_what_the_layers_on_its_side_lose_with_it() -> None:
    class Bottleneck(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.one = nn.Conv2d(3, 16, 1), nn.BatchNorm2d(16)
            self.wide, self.two = nn.Conv2d(16, 64, 1), nn.BatchNorm2d(64)
            self.deep, self.three = nn.Conv2d(64, 64, 3, padding=1, groups=64), nn.BatchNorm2d(64)
            self.narrow, self.four = nn.Conv2d(64, 16, 1), nn.BatchNorm2d(16)
            self.head = nn.Linear(16, 1)

        def forward(self, views: Tensor) -> Tensor:
            maps = self.two(self.wide(self.one(self.stem(views)).relu())).relu()
            maps = self.four(self.narrow(self.three(self.deep(maps)).relu())).relu()
            return self.head(maps.mean((2, 3)))  # type: ignore[no-any-return]

    model = TorchModel("bottleneck", "bottleneck", Bottleneck().eval(), InputFormat(size=16))
    importance = CRITERIA.load("bn-scale")(
        model, iter(())
    )  # all the same, so that the penalty alone decides
    lost = {
        "one": 3 + 64,
        "two": 16 + 9 + 16,
        "four": 64,
    }  # multiply-accumulates of a channel, at each place
    pruned, taken = model, []
    for _ in range(3):
        before = {name: pruned.module.get_submodule(name).num_features for name in lost}
        pruned = prune(model, importance, Target(macs=pruned.macs - 1), penalty=1e6)
        taken += [
            name for name in lost if pruned.module.get_submodule(name).num_features < before[name]
        ]
    assert taken == ["one", "four", "two"] == sorted(lost, key=lambda name: -lost[name])


def test_what_cannot_be_reached_is_said(model: TorchModel) -> None:
    importance = CRITERIA.load("bn-scale")(model, iter(()))
    with pytest.raises(
        ConfigError, match=r"cannot be reached by pruning: at the least, nano has [\d,]+ parameters"
    ):
        prune(model, importance, Target(params=100))
    nothing: Importance = {}
    with pytest.raises(ModelError, match="no channels that can be pruned"):
        prune(model, nothing, Target(params=100))


def test_widths_of_another_network_are_refused() -> None:
    network = build_model("pico", image_size=64).module
    with pytest.raises(
        ModelError, match="widths of a layer 'nowhere', which this architecture lacks"
    ):
        resize(network, {"nowhere": (8, 8)})


def test_samples_are_balanced(tmp_path: Path) -> None:
    crops = load_crops(write_crops(tmp_path / "crops"), "train")
    labels = torch.cat([part for _, part in draw_samples(crops, InputFormat(size=64), 8)])
    assert sorted(labels.tolist()) == [0, 0, 0, 0, 1, 1, 1, 1]


def test_multiply_accumulates_of_no_layer_count() -> None:
    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.head = (
                nn.Conv2d(3, 16, 3, bias=False),
                nn.BatchNorm2d(16),
                nn.Linear(16, 1),
            )

        def forward(self, views: Tensor) -> Tensor:
            pixels = views.flatten(2)
            attended = (pixels @ pixels.transpose(1, 2)).mean((1, 2))
            return self.head(self.norm(self.conv(views)).mean((2, 3))) + attended[:, None]  # type: ignore[no-any-return]

    attending = TorchModel("attending", "attending", Attending().eval(), InputFormat(size=16))
    pruned = prune(
        attending, CRITERIA.load("bn-scale")(attending, iter(())), Target(macs=attending.macs - 1)
    )
    assert pruned.macs < attending.macs


def test_what_could_not_be_loaded_again_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model("pico")
    monkeypatch.setattr("deepkd.compression.prune.widths_of", lambda _: {})
    with pytest.raises(
        ModelError,
        match=r"pico: what is left cannot be built again: .*; prune another architecture",
    ):
        prune(model, CRITERIA.load("bn-scale")(model, iter(())), Target(params=model.params - 1))
