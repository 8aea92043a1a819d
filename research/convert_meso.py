"""Turn a published Meso-4 (Keras, .h5) into a checkpoint, to compare with.

    pip install h5py
    python research/convert_meso.py Meso4_F2F.h5 --out meso4-f2f.safetensors

The published networks (Afchar et al. 2018, DariusAf/MesoNet, Apache-2.0) call a face real
by an output near 1; the logit here is negated, so that it rises with forgery.
"""

import argparse
from pathlib import Path

import h5py
import numpy as np
import torch

from deepkd.models.checkpoints import save_model
from deepkd.models.registry import TorchModel, build_model


def read_layers(path: Path) -> dict[str, list[np.ndarray]]:
    """The arrays of each layer that has any, in the order of the file's layers."""
    with h5py.File(path) as file:
        root = file.get("model_weights", file)
        layers = {}
        for name in root.attrs["layer_names"]:
            group = root[name]
            names = group.attrs["weight_names"]
            if len(names):
                layers[bytes(name).decode()] = [np.array(group[one]) for one in names]
    return layers


def convert(path: Path) -> TorchModel:
    """The same network; convolutions and norms come in order, then the two dense layers."""
    model = build_model("meso4")
    state = model.module.state_dict()
    arrays = list(read_layers(path).values())
    dense = [a for a in arrays if a[0].ndim == 2]
    convolutions = [a for a in arrays if a[0].ndim == 4]
    norms = [a for a in arrays if len(a) == 4]
    for stage, (kernel, norm) in enumerate(zip(convolutions, norms, strict=True)):
        place = f"features.{4 * stage}"
        state[f"{place}.weight"] = torch.tensor(kernel[0].transpose(3, 2, 0, 1))
        state[f"{place}.bias"] = torch.tensor(kernel[1])
        names = ("weight", "bias", "running_mean", "running_var")
        for name, array in zip(names, norm, strict=True):
            state[f"features.{4 * stage + 2}.{name}"] = torch.tensor(array)
    hidden, last = dense
    side, channels = 8, convolutions[-1][0].shape[-1]
    by_place = hidden[0].reshape(side, side, channels, -1).transpose(3, 2, 0, 1)
    state["hidden.weight"] = torch.tensor(by_place.reshape(by_place.shape[0], -1))
    state["hidden.bias"] = torch.tensor(hidden[1])
    state["classifier.weight"] = -torch.tensor(last[0].T)
    state["classifier.bias"] = -torch.tensor(last[1])
    model.module.load_state_dict({name: tensor.contiguous() for name, tensor in state.items()})
    model.trained = True
    return model


def main() -> None:
    """Read the command line and write the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    model = convert(args.weights)
    model.name = args.weights.stem.lower()
    print(f"wrote {save_model(model, args.out)}")


if __name__ == "__main__":
    main()
