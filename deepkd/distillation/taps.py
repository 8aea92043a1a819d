"""Taps: the input or the output of a named module, read while a network runs."""

from dataclasses import dataclass

from torch import Tensor, nn

from deepkd.errors import ConfigError
from deepkd.models.names import no_such_module


@dataclass(frozen=True)
class Tap:
    """The input or the output of a module by its dotted name, such as `blocks.4:output`."""

    module: str
    side: str

    @classmethod
    def parse(cls, text: str) -> "Tap":
        """From `name:input` or `name:output`.

        Raises:
            ConfigError: neither side is named.
        """
        module, _, side = text.rpartition(":")
        if not module or side not in {"input", "output"}:
            raise ConfigError(
                f"tap '{text}': takes a module's name and :input or :output, e.g. conv_head:output"
            )
        return cls(module, side)


class TapReader:
    """Keeps what the last forward pass showed at one tap of a network."""

    def __init__(self, network: nn.Module, tap: Tap) -> None:
        modules = dict(network.named_modules())
        if tap.module not in modules:
            raise no_such_module(network, tap.module, f"tap '{tap.module}'")
        self.tap = tap
        self.value: Tensor | None = None
        modules[tap.module].register_forward_hook(self._keep)

    def _keep(self, _: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.value = inputs[0] if self.tap.side == "input" else output

    def take(self) -> Tensor:
        """Take the value of the last forward pass; a second call finds none."""
        value, self.value = self.value, None
        if value is None:
            raise ConfigError(
                f"tap '{self.tap.module}': the forward pass never reached it; choose another module"
            )
        return value
