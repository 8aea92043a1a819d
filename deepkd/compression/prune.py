"""Pruning: take away the channels that a network misses least, until it is small enough.

Channels that can only go together (through additions and depthwise convolutions) form a group;
Torch-Pruning's dependency graph (Fang et al. 2023, arXiv:2301.12900) finds the groups. Per layer,
importances are divided by their L2 norm, so that layers can be compared (Molchanov et al. 2017,
arXiv:1611.06440, eq. 11). Groups shrink in blocks of 8 channels: CPUs compute widths in between no
faster.
"""

import copy
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn

from deepkd.compression.importance import Importance
from deepkd.errors import ConfigError, ModelError
from deepkd.models.registry import TorchModel, evaluating
from deepkd.models.widths import Widths, as_lists, can_shrink, resize, widths_of

JOINTS = tuple(
    getattr(torch_pruning.ops, name) for name in ("_ConcatOp", "_SplitOp", "_SliceOp", "_UnbindOp")
)
"""Where channels are joined with others or split: even a part that begins at 0 is not the whole."""

BLOCK = 8
"""Channels taken at once; widths end as multiples of it."""


@dataclass(frozen=True)
class Target:
    """What the pruned network must not exceed; None where it does not matter."""

    params: int | None = None
    macs: int | None = None

    def excess(self, params: int, macs: int) -> float:
        """How many times too large a network is; at most 1 when it fits."""
        ratios = [have / want for have, want in ((params, self.params), (macs, self.macs)) if want]
        return max(ratios, default=0.0)


@dataclass
class _Group:
    """Channels that go together: the convolution that names them, and their worth."""

    root: nn.Conv2d
    worth: Tensor
    """Of each channel that is left, (C,)."""
    _block: tuple[float, list[int]] | None = None

    def block(self) -> tuple[float, list[int]]:
        """Mean worth and numbers of the channels to take next, which leave a multiple of 8."""
        if self._block is None:  # every group is asked before each cut, and one of them changes
            count = len(self.worth) % BLOCK or BLOCK
            chosen = self.worth.argsort()[:count]
            self._block = float(self.worth[chosen].mean()), chosen.tolist()
        return self._block

    def take(self, channels: list[int]) -> None:
        kept = torch.ones(len(self.worth), dtype=torch.bool)
        kept[channels] = False
        self.worth, self._block = self.worth[kept], None


def prune(
    model: TorchModel,
    importance: Importance,
    target: Target,
    *,
    penalty: float = 0.0,
) -> TorchModel:
    """A copy of `model` without its least important channels, within `target`.

    It needs fine-tuning afterwards.

    Args:
        model: a network of convolutions and batch norms. Layers that the graph cannot follow stay
            as they are.
        importance: of the channels, from `CRITERIA`.
        target: what must be reached.
        penalty: lambda of Molchanov et al. (sect. 2.2): a channel's worth less `penalty` times the
            million multiply-accumulates that it costs.

    Raises:
        ModelError: nothing in the network can be pruned.
        ConfigError: the target cannot be reached; the message says how small the network can get.
    """
    module = copy.deepcopy(model.module).cpu().eval()
    example = torch.zeros(1, 3, model.format.size, model.format.size)
    places = _places(module, example)
    graph = _graph(module, example)
    groups = _groups(graph, module, importance, places, penalty, example)
    _check_groups(groups, model.name)
    layers = [layer for layer in module.modules() if [*layer.parameters(recurse=False)]]
    size = _size(layers, places)
    products = model.macs - size[1]  # those of no layer, such as attention's, stay
    size = (size[0], model.macs)
    while target.excess(*size) > 1:
        open_groups = [group for group in groups if len(group.worth) > BLOCK]
        if not open_groups:
            at_least = f"{size[0]:,} parameters and {size[1] / 1e6:.1f} M multiply-accumulates"
            raise ConfigError(
                f"the target cannot be reached by pruning: at the least, {model.name} has"
                f" {at_least}"
            )
        group = min(open_groups, key=lambda group: group.block()[0])
        channels = group.block()[1]
        graph.get_pruning_group(group.root, torch_pruning.prune_conv_out_channels, channels).prune()
        group.take(channels)
        params, macs = _size(layers, places)
        size = (params, macs + products)
    widths = widths_of(module)
    _check_rebuilt(model, module, widths)
    return replace(model, module=module, shape={**(model.shape or {}), "widths": as_lists(widths)})


def _check_groups(groups: list[_Group], name: str) -> None:
    if not groups:
        needs = (
            "it needs convolutions with batch norms, plain or depthwise, not in groups of channels"
        )
        raise ModelError(f"{name}: no channels that can be pruned; {needs}")


def _check_rebuilt(model: TorchModel, pruned: nn.Module, widths: Widths) -> None:
    """Refuse what could not be loaded again: built with these widths, it must be the same."""
    again = copy.deepcopy(model.module).cpu().eval()
    crop = torch.rand(
        1, 3, model.format.size, model.format.size, generator=torch.Generator().manual_seed(0)
    )
    try:
        resize(again, widths)
        again.load_state_dict(pruned.state_dict())
        with torch.no_grad():
            same = torch.allclose(again(crop), pruned(crop), equal_nan=True)
    except (RuntimeError, ZeroDivisionError):  # shapes that do not fit one another
        same = False
    if not same:
        advice = (
            "its channels are joined or split in a way that pruning cannot follow; prune another"
            " architecture"
        )
        raise ModelError(f"{model.name}: what is left cannot be built again: {advice}")


def _graph(module: nn.Module, example: Tensor) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch_pruning.DependencyGraph().build_dependency(module, example_inputs=example)


def _groups(
    graph: Any,
    module: nn.Module,
    importance: Importance,
    places: dict[nn.Module, int],
    penalty: float,
    example: Tensor,
) -> list[_Group]:
    """Every group that can shrink, is no output, and whose channels have a known worth."""
    names = {layer: name for name, layer in module.named_modules()}
    heads = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    joints = {node.module for node in graph.module2node.values() if isinstance(node.module, JOINTS)}
    trial = _Trial(module, example)
    found = []
    for group in graph.get_all_groups(ignored_layers=heads, root_module_types=[nn.Conv2d]):
        root = group[0].dep.target.module
        layers = {item.dep.target.module for item in group}
        norms = [names[layer] for layer in layers if names.get(layer) in importance]
        known = [importance[name] for name in norms if len(importance[name]) == root.out_channels]
        if not all(can_shrink(layer) for layer in layers if isinstance(layer, nn.Conv2d)):
            continue
        plain = (
            all(item.idxs == list(range(root.out_channels)) for item in group)
            and not layers & joints
        )
        if known and (plain or (root.out_channels > BLOCK and trial.follows(names[root]))):
            worth = torch.stack([values / values.norm().clamp_min(1e-12) for values in known]).sum(
                0
            )
            sides = {
                (item.dep.target.module, graph.is_out_channel_pruning_fn(item.dep.handler))
                for item in group
            }
            found.append(_Group(root, worth - penalty * _channel_macs(sides, places) / 1e6))
    return found


class _Trial:
    """Whether the graph follows a convolution's channels where they are flattened, joined or split.

    Tried on a copy, where taking channels away must leave what zeroing them leaves. It does not
    where patches are cut in an order of their own, as before a transformer, or maps are split into
    parts of a fixed size. In float64, against what zeroing changes: in an untrained network that is
    little.
    """

    def __init__(self, module: nn.Module, example: Tensor) -> None:
        self.module = module
        self.crop = torch.rand(example.shape, generator=torch.Generator().manual_seed(0)).double()
        self.copied: tuple[nn.Module, Any] | None = None

    def follows(self, name: str) -> bool:
        """Of the convolution of that name; a copy serves until channels are lost in it."""
        if self.copied is None:
            copied = copy.deepcopy(self.module).double()
            self.copied = copied, _graph(copied, self.crop)
        try:
            with torch.no_grad():
                followed = self._is_zeroing(*self.copied, name)
        except (RuntimeError, IndexError):  # shapes that do not fit one another
            followed = False
        if not followed:
            self.copied = None
        return followed

    def _is_zeroing(self, trial: nn.Module, graph: Any, name: str) -> bool:
        root = trial.get_submodule(name)
        channels = list(range(BLOCK))
        group = graph.get_pruning_group(root, torch_pruning.prune_conv_out_channels, channels)
        if group[0].idxs != channels:  # others go with them
            return False
        whole = trial(self.crop)
        for item in group:
            layer = item.dep.target.module
            if isinstance(layer, nn.BatchNorm2d):
                layer.weight[item.idxs] = 0
                layer.bias[item.idxs] = 0
        zeroed = trial(self.crop)
        group.prune()
        noise = 1e-12 * float(zeroed.abs().max())
        return (
            float((trial(self.crop) - zeroed).abs().max())
            <= 1e-3 * float((whole - zeroed).abs().max()) + noise
        )


def _channel_macs(sides: set[tuple[nn.Module, bool]], places: dict[nn.Module, int]) -> float:
    """Multiply-accumulates of one channel in all convolutions.

    Args:
        sides: layers, and whether the channel comes out of them (or goes into them).
        places: see `_places`.
    """
    return sum(
        _convolution_macs(layer, places) / (layer.out_channels if comes_out else layer.in_channels)
        for layer, comes_out in sides
        if isinstance(layer, nn.Conv2d)
    )


def _convolution_macs(layer: nn.Conv2d, places: dict[nn.Module, int]) -> int:
    return layer.weight.numel() * places.get(layer, 0)


def _size(layers: Iterable[nn.Module], places: dict[nn.Module, int]) -> tuple[int, int]:
    """Parameters, and multiply-accumulates of the convolutions and linear layers."""
    parameters: dict[int, int] = {}  # by identity, since layers may share some
    macs = 0
    for layer in layers:
        parameters |= {id(one): one.numel() for one in layer.parameters(recurse=False)}
        if isinstance(layer, nn.Conv2d):
            macs += _convolution_macs(layer, places)
        elif isinstance(layer, nn.Linear):
            macs += layer.weight.numel() * places.get(layer, 0)
    return sum(parameters.values()), macs


def _places(module: nn.Module, example: Tensor) -> dict[nn.Module, int]:
    """At how many places each convolution and linear layer is computed, for one crop."""
    found: dict[nn.Module, int] = {}

    def note(layer: nn.Module, _: object, output: Tensor) -> None:
        area = (
            output.shape[2] * output.shape[3]
            if isinstance(layer, nn.Conv2d)
            else output[0, ..., 0].numel()
        )
        found[layer] = found.get(layer, 0) + area

    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    with evaluating(module), torch.no_grad():
        module(example)
    for hook in hooks:
        hook.remove()
    return found
