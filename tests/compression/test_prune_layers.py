"""Which layers of a network lose channels: flattened, in groups, joined and added ones."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deepkd.compression.prune import BLOCK, Target, prune
from deepkd.errors import ConfigError, ModelError
from deepkd.models.registry import TorchModel
from deepkd.models.widths import resize, widths_of
from deepkd.scoring.model import InputFormat
from deepkd.settings.choices import CRITERIA

CROPS = list(np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8))


@pytest.mark.parametrize(
    "order", [(0, 1, 2, 3), (0, 2, 3, 1)], ids=["channels first", "patches first"]
)
def test_flattened_channels_are_pruned_only_where_the_graph_finds_them(
    order: tuple[int, ...],
) -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.one = nn.Conv2d(3, 24, 3, stride=4), nn.BatchNorm2d(24)
            self.deep, self.two = nn.Conv2d(24, 24, 1), nn.BatchNorm2d(24)
            self.head = nn.Linear(24 * 16, 1)

        def forward(self, views: Tensor) -> Tensor:
            maps = self.two(self.deep(self.one(self.stem(views)).relu())).relu()
            return self.head(maps.permute(order).flatten(1))  # type: ignore[no-any-return]

    torch.manual_seed(1)
    flat = Flat().eval()
    for norm in (flat.one, flat.two):
        norm.weight.data[:BLOCK] = norm.bias.data[:BLOCK] = 0
    model = TorchModel("flat", "flat", flat, InputFormat(size=16))
    crops = [crop[:16, :16] for crop in CROPS]
    importance = CRITERIA.load("bn-scale")(model, iter(()))
    pruned = prune(model, importance, Target(params=model.params - (700 if order[1] == 1 else 400)))
    np.testing.assert_allclose(pruned.logits(crops), model.logits(crops), atol=1e-4)
    followed = order[1] == 1
    assert (pruned.module.two.num_features, pruned.module.one.num_features) == (
        16 if followed else 24,
        16,
    )


class Grouped(nn.Module):
    """Convolutions: plain, in groups, and with two filters per channel; then a linear layer."""

    def __init__(self, *, groups: int, multiple: int = 1) -> None:
        super().__init__()
        self.stem, self.one = nn.Conv2d(3, 24, 3), nn.BatchNorm2d(24)
        self.deep, self.two = nn.Conv2d(24, 24, 1), nn.BatchNorm2d(24)
        self.grouped, self.three = (
            nn.Conv2d(24, 24 * multiple, 3, groups=groups),
            nn.BatchNorm2d(24 * multiple),
        )
        self.head = nn.Linear(24 * multiple, 1)

    def forward(self, views: Tensor) -> Tensor:
        maps = self.two(self.deep(self.one(self.stem(views)).relu())).relu()
        return self.head(self.three(self.grouped(maps)).mean((2, 3)))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("groups", "multiple", "left"),
    [(3, 1, (8, 24, 24)), (24, 2, (8, 24, 48)), (24, 1, (8, 8, 8)), (1, 1, (8, 8, 8))],
    ids=["groups", "several filters a channel", "depthwise", "plain"],
)
def test_convolutions_in_groups_keep_their_widths(
    groups: int, multiple: int, left: tuple[int, ...]
) -> None:
    torch.manual_seed(1)
    network = Grouped(groups=groups, multiple=multiple).eval()
    for norm in (network.one, network.two, network.three):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
    model = TorchModel("grouped", "grouped", network, InputFormat(size=16))
    importance = CRITERIA.load("bn-scale")(model, iter(()))
    with pytest.raises(ConfigError, match=r"at the least, grouped has [0-9,]+ parameters") as found:
        prune(model, importance, Target(params=1))
    least = int(str(found.value).split(" parameters")[0].split()[-1].replace(",", ""))
    pruned = prune(model, importance, Target(params=least))
    assert (
        tuple(pruned.module.get_submodule(name).num_features for name in ("one", "two", "three"))
        == left
    )
    again = Grouped(groups=groups, multiple=multiple).eval()
    resize(again, widths_of(pruned.module))
    again.load_state_dict(pruned.module.state_dict())
    crops = [crop[:16, :16] for crop in CROPS]
    rebuilt = TorchModel("grouped", "grouped", again, model.format)
    np.testing.assert_array_equal(rebuilt.logits(crops), pruned.logits(crops))
    if groups == 3:
        with pytest.raises(
            ModelError,
            match=r"no channels that can be pruned; it needs .* not in groups of channels",
        ):
            prune(model, {"two": importance["two"], "three": importance["three"]}, Target(params=1))


class Joined(nn.Module):
    """Maps that are joined with what is made of them, and then added to others or not."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.stem, self.one = nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32)
        self.deep, self.two = nn.Conv2d(32, 16, 1), nn.BatchNorm2d(16)
        self.cheap, self.three = nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.BatchNorm2d(16)
        self.last, self.four = nn.Conv2d(32, 24, 1), nn.BatchNorm2d(24)
        self.head = nn.Linear(24, 1)

    def forward(self, views: Tensor) -> Tensor:
        wide = self.one(self.stem(views)).relu()
        maps = self.two(self.deep(wide)).relu()
        joined = torch.cat([maps, self.three(self.cheap(maps)).relu()], 1)
        joined = joined + wide if self.form == "added" else joined
        return self.head(self.four(self.last(joined)).mean((2, 3)))  # type: ignore[no-any-return]


@pytest.mark.parametrize(("form", "left"), [("joined", (8, 8)), ("added", (32, 16))])
def test_joined_channels_are_pruned_only_where_the_graph_follows_them(
    form: str, left: tuple[int, int]
) -> None:
    torch.manual_seed(1)
    model = TorchModel(form, form, Joined(form).eval(), InputFormat(size=16))
    importance = CRITERIA.load("random")(model, iter(()), seed=3)
    with pytest.raises(ConfigError, match="at the least") as found:
        prune(model, importance, Target(params=1))
    least = int(str(found.value).split(" parameters")[0].split()[-1].replace(",", ""))
    pruned = prune(model, importance, Target(params=least))
    assert tuple(pruned.module.get_submodule(name).num_features for name in ("one", "two")) == left
    again = Joined(form).eval()
    resize(again, widths_of(pruned.module))
    again.load_state_dict(pruned.module.state_dict())
