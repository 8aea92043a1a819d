"""Grow EfficientNet-B0 from a smaller trained network, and the teacher from that.

    python research/teacher_start.py grow runs/helper --data CROPS --out b0.safetensors
    python research/teacher_start.py embed runs/b0 --data CROPS --out start.safetensors

`runs/b0` is trained from b0.safetensors, the teacher from start.safetensors (`--init`).

MobileNetV2 and EfficientNet-Lite0 have the stages of EfficientNet-B0 with the same strides, and
nowhere more channels. So each layer of EfficientNet-B0 starts with the weights of its namesake, in
the spirit of Net2Net (Chen et al. 2016, arXiv:1511.05641): kernels of 3 sit in the middle of those
of 5, further channels are read by nobody yet, further blocks add nothing, squeeze-and-excitation
lets everything pass, and swish is made to look like ReLU by a gain in front of it. What remains
different (no clipping at 6; of MobileNetV2, two blocks less) is left to the fine-tuning.

The embeddings of Cross Efficient ViT start as the global average pooling that EfficientNet-B0 was
trained with, and a random projection of it: weights drawn for each place alone would drown what the
network has found.
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from deepkd.data.crops import CropSet, load_crops
from deepkd.data.families import inherited
from deepkd.errors import DeepKDError, UsageError
from deepkd.models.checkpoints import load_checkpoint, save_model
from deepkd.models.cross_efficient_vit import ImageEmbedder
from deepkd.models.registry import MODELS, TorchModel, build_model, views_of

B0, TEACHER = "tf_efficientnet_b0", "cross-efficient-vit"
TAKES = {"mobilenetv2_100": {"blocks.3.2.": "blocks.3.3."}, "tf_efficientnet_lite0": {}}
"""What can be grown: architecture -> block of EfficientNet-B0 -> the one it starts as, where their
names differ."""
GAIN = 4.0
"""Swish of GAIN times x, divided by GAIN, comes closer to ReLU the larger GAIN is; the next norm
divides by it."""
OPEN = 4.0
"""The bias of a gate of squeeze-and-excitation that lets 98% pass."""


def grow(source: TorchModel, crops: CropSet, count: int, *, gain: float = GAIN) -> TorchModel:
    """An EfficientNet-B0 that computes about what a smaller network does.

    Args:
        source: of an architecture in TAKES, neither pruned nor with subclasses.
        crops: whose statistics the batch norms take.
        count: how many of them.
        gain: in front of each swish.
    """
    model = build_model(B0, format=source.format)
    network, known = model.module, _renamed(source.module.state_dict(), TAKES[source.architecture])
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name in known:
                tensor.copy_(_enlarged(known[name], tensor))
        for gate in (
            module.conv_expand for module in network.modules() if isinstance(module, SqueezeExcite)
        ):
            gate.weight.zero_()
            gate.bias.fill_(OPEN)
        for name, norm in (
            (name, one) for name, one in network.named_modules() if isinstance(one, nn.BatchNorm2d)
        ):
            if (
                name.endswith("bn3") and f"{name}.weight" not in known
            ):  # the end of a further block: it adds nothing
                norm.weight.zero_()
            if isinstance(norm.act, nn.SiLU):
                norm.weight.mul_(gain)
                norm.bias.mul_(gain)
        network.classifier.weight.div_(gain)
    _take_statistics(model, crops, count)
    model.metadata["recipe"] = inherited(source)
    return model


def _renamed(known: Mapping[str, Tensor], takes: Mapping[str, str]) -> dict[str, Tensor]:
    """The tensors of the smaller network under their names in EfficientNet-B0."""
    found = {name: tensor for name, tensor in known.items() if tensor.ndim}
    for its, source in takes.items():
        moved = {name: found.pop(name) for name in list(found) if name.startswith(source)}
        found |= {its + name.removeprefix(source): tensor for name, tensor in moved.items()}
    return found


def _enlarged(small: Tensor, large: Tensor) -> Tensor:
    """The small tensor in the corner of the large one; kernels go into the middle."""
    result = large.clone()
    old = result[: len(small)]
    if large.ndim == 4:
        edge = (large.shape[-1] - small.shape[-1]) // 2
        inner = slice(edge, edge + small.shape[-1])
        old.zero_()  # what is new among the inputs does not reach what is old among the outputs
        old = old[:, : small.shape[1], inner, inner]
    old.copy_(small)
    return result


def _views(model: TorchModel, crops: CropSet, count: int) -> Iterator[Tensor]:
    """Batches of views (N, 3, size, size) of `count` crops, drawn the same way each time."""
    rows = torch.randperm(len(crops), generator=torch.Generator().manual_seed(0))[:count].tolist()
    for start in range(0, len(rows), 32):
        batch = model.format.batch([crops.image(row) for row in rows[start : start + 32]])
        yield views_of(torch.from_numpy(batch), model.format)


def _take_statistics(model: TorchModel, crops: CropSet, count: int) -> None:
    """Set the running statistics of every batch norm to the mean over batches of crops."""
    update_bn(_views(model, crops, count), model.module)


def embed(source: TorchModel, crops: CropSet, count: int) -> TorchModel:
    """An untrained Cross Efficient ViT around a trained EfficientNet-B0.

    timm and efficientnet-pytorch list the same tensors in the same order under different names.

    Args:
        source: a trained EfficientNet-B0.
        crops: over which the tokens get zero mean and unit variance.
        count: how many of them.
    """
    model = build_model(TEACHER, format=source.format, image_size=MODELS[TEACHER].format.size)
    tensors = [
        tensor
        for name, tensor in source.module.state_dict().items()
        if not name.startswith("classifier.")
    ]
    with torch.no_grad():
        for embedder in (model.module.sm_image_embedder, model.module.lg_image_embedder):
            inner = [
                one
                for name, one in embedder.efficient_net.state_dict().items()
                if not name.startswith("_fc.")
            ]
            for mine, its in zip(inner, tensors, strict=True):
                mine.copy_(its)
            _pool(embedder, _views(model, crops, count))
    model.metadata["recipe"] = inherited(source)
    return model


def _pool(embedder: ImageEmbedder, views: Iterator[Tensor]) -> None:
    """Start the token of a map as a random projection of its mean over places."""
    layer = embedder.to_patch_embedding[1]
    means = torch.cat([embedder.features(view).mean((2, 3)) for view in views])
    centre, length = means.mean(0), means.var(0, correction=0).sum().sqrt()
    projection = torch.randn(layer.out_features, len(centre)) / length
    places = layer.in_features // len(centre)
    layer.weight.copy_((projection / places).repeat(1, places))
    layer.bias.copy_(-projection @ centre)


def main() -> None:
    """Read the command line and write a checkpoint to start from."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    steps = parser.add_subparsers(dest="step", required=True)
    growing = steps.add_parser("grow", help="MobileNetV2 or EfficientNet-Lite0 to EfficientNet-B0")
    embedding = steps.add_parser("embed", help="EfficientNet-B0 to Cross Efficient ViT")
    for step, needed in ((growing, tuple(TAKES)), (embedding, (B0,))):
        step.set_defaults(needed=needed)
        step.add_argument(
            "run", type=Path, help=f"run folder or checkpoint of a trained {' or '.join(needed)}"
        )
        step.add_argument(
            "--data", type=Path, required=True, help="crops whose training split gives statistics"
        )
        step.add_argument("--crops", type=int, default=512, help="crops for the statistics")
        step.add_argument("--out", type=Path, required=True, help="checkpoint to write")
    args = parser.parse_args()
    try:
        source = load_checkpoint(args.run, allow_untrained=True)
        if source.architecture not in args.needed:
            raise UsageError(
                f"{args.run}: holds a {source.architecture}, not a {' or '.join(args.needed)}"
            )
        model = (grow if args.step == "grow" else embed)(
            source, load_crops(args.data, "train"), args.crops
        )
    except DeepKDError as error:
        raise SystemExit(f"error: {error}") from error
    print(f"wrote {save_model(model, args.out)}")


if __name__ == "__main__":
    main()
