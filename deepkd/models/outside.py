"""Models from elsewhere: torchvision's classifiers, and networks of the user's own."""

import importlib
import sys
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from deepkd.errors import ConfigError, ModelError
from deepkd.models.spec import ModelSpec
from deepkd.models.students import reset_layer
from deepkd.scoring.model import InputFormat

_folders: list[Path] = []
"""Where modules of the user's own may come from: what the user has named, and nothing else."""


def allow_code(folder: Path) -> None:
    """Let models `MODULE:FUNCTION` come from modules of this folder, whose code then runs.

    Raises:
        ConfigError: there is no such folder.
    """
    if not folder.is_dir():
        raise ConfigError(f"model_code={folder}: no such folder; name the one that holds MODULE.py")
    if folder.resolve() not in _folders:
        _folders.append(folder.resolve())


def own_spec(module: str, function: str) -> ModelSpec:
    """A network of the user's own: `FUNCTION(outputs)` gives (N, 3, S, S) -> (N, outputs).

    Its module may set `IMAGE_SIZE`, pixels, and `MEAN` and `STD`, of RGB in 0 to 1.

    Raises:
        ConfigError: no folder of code was named, or the module or the function is not there.
    """
    name = f"{module}:{function}"
    if not _folders:
        raise ConfigError(
            f"{name}: is code of your own, which is run only from a folder that you name; give"
            " --model-code FOLDER"
        )
    loaded = _import(module, name)
    build = getattr(loaded, function, None)
    if not callable(build):
        raise ConfigError(f"{name}: {module} has no function {function}")
    usual = InputFormat()
    mean, std = (
        tuple(getattr(loaded, key, getattr(usual, key.lower()))) for key in ("MEAN", "STD")
    )
    size = getattr(loaded, "IMAGE_SIZE", usual.size)
    return ModelSpec(build, InputFormat(size=size, mean=mean, std=std))


def _import(module: str, name: str) -> Any:
    """The module, from the folders that the user named."""
    before = list(sys.path)
    sys.path[:0] = [str(folder) for folder in _folders]
    try:
        loaded = importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(f"{name}: cannot be imported ({error})") from error
    finally:
        sys.path[:] = before
    file = Path(getattr(loaded, "__file__", None) or "/")
    if not any(file.resolve().is_relative_to(folder) for folder in _folders):
        raise ConfigError(f"{name}: {module} is a module of Python or a library, not of yours")
    return loaded


def torchvision_spec(name: str) -> ModelSpec:
    """A classifier of torchvision, untrained; nothing is downloaded.

    Raises:
        ConfigError: torchvision has no such classifier.
    """
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise ConfigError(
            f"torchvision:{name}: no such classifier; it has {', '.join(known[:8])}, ..."
        )
    return ModelSpec(partial(_build_torchvision, name), InputFormat())


def _build_torchvision(name: str, outputs: int = 1) -> nn.Module:
    from torchvision import models

    options: dict[str, Any] = (
        {"init_weights": True} if "inception" in name or name == "googlenet" else {}
    )
    if options:
        options["aux_logits"] = False
    network: nn.Module = models.get_model(name, weights=None, num_classes=outputs, **options)
    heads = [part for part in network.modules() if getattr(part, "out_features", 0) == outputs]
    heads += [part for part in network.modules() if getattr(part, "out_channels", 0) == outputs]
    if not heads:
        raise ModelError(f"torchvision:{name}: ends in no layer of {outputs} logits")
    reset_layer(heads[-1])
    return network
