"""Convert the three MTCNN networks of facenet-pytorch 2.5.3 to ONNX.

    python tools/convert_mtcnn.py [--out weights]

Writes mtcnn-pnet.onnx, mtcnn-rnet.onnx and mtcnn-onet.onnx and their lines in SHA256SUMS. The
graphs are written node by node from the published weights, not traced, so the bytes do not depend
on the version of PyTorch.

They compute what the networks compute, in an order that ONNX Runtime is quicker at:

- It has no fast PReLU for images, and leaves its blocked layout for each. With the slope s,
  PReLU(x) = s x + relu((1 - s) x), which stays in the layout.
- The first pooling comes before the PReLU, on a quarter of the values. See `Graph.first_layers`.
- The softmax of two logits is the sigmoid of their difference, and the difference is in the
  weights. All heads are one layer.
- The transposition before the first dense layer is in its weights.
"""

import argparse
import hashlib
from pathlib import Path

import numpy as np
import onnx
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet
from onnx import TensorProto, helper, numpy_helper
from torch import nn

OPSET, IR_VERSION = 17, 8
BLOCK = 16
"""ONNX Runtime's blocked layout holds so many channels together, and pools in it only multiples."""
HEADS = {
    "face": "the probability of a face",
    "box": "corrections of x1, y1, x2, y2",
    "points": "five x, then five y",
}


class Graph:
    """An ONNX graph that grows node by node; each node takes the output of the one before."""

    def __init__(self, name: str, side: int | None) -> None:
        shape = ["batch", 3, side or "height", side or "width"]
        self.name = name
        self.last = "image"
        self.inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)]
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.factors = np.ones(3, np.float32)
        """What each channel is to be multiplied by; the next layer has it in its weights."""
        self.is_flat = False
        """Whether the dense layers have begun."""

    def add(
        self,
        kind: str,
        name: str,
        weights: dict[str, np.ndarray] | None = None,
        *,
        first: str = "",
        second: str = "",
        **attributes: object,
    ) -> str:
        """One node of the last output or `first`, and `second`; its output bears its name."""
        arrays = {f"{name}.{key}": array for key, array in (weights or {}).items()}
        self.weights += [numpy_helper.from_array(array, key) for key, array in arrays.items()]
        inputs = [first or self.last, *([second] if second else []), *arrays]
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        self.last = name
        return name

    def conv(self, name: str, weight: np.ndarray, bias: np.ndarray, *, first: str = "") -> str:
        """A convolution by weights (out, in, height, width)."""
        weights = {"weight": weight.astype(np.float32), "bias": bias.astype(np.float32)}
        return self.add("Conv", name, weights, first=first, kernel_shape=list(weight.shape[2:]))

    def first_layers(self, conv: nn.Conv2d, slopes: np.ndarray, pool: nn.MaxPool2d) -> None:
        """Convolution, PReLU and pooling of an image, with the pooling before the PReLU.

        With m the largest x of a window and n the largest -x, the largest PReLU(x) is

            s m + relu((1 - s) m)       for 0 <= s <= 1, where PReLU keeps the order,
            -s n + relu(m + s n)        for s < 0: the larger of m and -s n,
            m - relu((1 - s) m)         for s > 1, where it keeps the order, too.

        Each line is a sum of m and n, and relu of another; both are convolutions by one pixel. So
        the first convolution also gives -x of the channels with s < 0. Where s > 1, the channel
        comes out negative, which the next layer has in its weights.
        """
        weight, bias = parameters(conv)
        count, falling = len(slopes), np.flatnonzero(slopes < 0)
        spare = -(count + len(falling)) % BLOCK
        straight, bent = np.zeros((2, count, count + len(falling) + spare, 1, 1))
        rising, steep = np.flatnonzero((slopes >= 0) & (slopes <= 1)), np.flatnonzero(slopes > 1)
        straight[rising, rising, 0, 0] = slopes[rising]
        bent[rising, rising, 0, 0] = 1 - slopes[rising]
        straight[steep, steep, 0, 0] = -1
        bent[steep, steep, 0, 0] = 1 - slopes[steep]
        bent[falling, falling] = 1
        straight[falling, count + np.arange(len(falling)), 0, 0] = -slopes[falling]
        bent[falling, count + np.arange(len(falling)), 0, 0] = slopes[falling]
        both = [
            np.concatenate([values, -values[falling], np.zeros((spare, *values.shape[1:]))])
            for values in (weight, bias)
        ]
        self.conv("conv1", *both)
        pooled = self.pool("pool1", pool)
        self.conv("prelu1.bent", bent, np.zeros(count))
        relu = self.add("Relu", "prelu1.relu")
        line = self.conv("prelu1.straight", straight, np.zeros(count), first=pooled)
        self.add("Add", "prelu1", first=line, second=relu)
        self.factors = np.where(slopes > 1, -1, 1).astype(np.float32)

    def pool(self, name: str, layer: nn.MaxPool2d) -> str:
        """The largest value of each window."""
        sides = {"kernel_shape": [layer.kernel_size] * 2, "strides": [layer.stride] * 2}
        return self.add("MaxPool", name, ceil_mode=1, **sides)

    def prelu(self, name: str, slopes: np.ndarray) -> None:
        """PReLU of an image by slopes s < 1 is (1 - s) (s / (1 - s) x + relu(x)).

        The next layer has the factor in its weights; it is positive, so pooling may come before.
        """
        assert (slopes < 1).all()
        self.factors = 1 - slopes
        slope = (slopes / self.factors).reshape(-1, 1, 1)
        before = self.last
        relu = self.add("Relu", f"{name}.relu")
        line = self.add("Mul", f"{name}.line", {"slope": slope}, first=before)
        self.add("Add", name, first=line, second=relu)

    def dense(self, name: str, weight: np.ndarray, bias: np.ndarray) -> None:
        """A dense layer by weights (out, in); the first takes an image apart.

        The original Caffe networks take its values in the order width, height, channel.
        """
        if not self.is_flat:
            channels = len(self.factors)
            side = round((weight.shape[1] / channels) ** 0.5)
            by_place = weight.reshape(-1, side, side, channels) * self.factors
            weight = by_place.transpose(0, 3, 2, 1).reshape(weight.shape)
            self.add("Flatten", "flat")
            self.is_flat = True
        self.add("Gemm", name, {"weight": np.ascontiguousarray(weight), "bias": bias}, transB=1)

    def layer(self, name: str, layer: nn.Module) -> None:
        """The nodes of a PyTorch layer."""
        match layer:
            case nn.Conv2d():
                weight, bias = parameters(layer)
                self.conv(name, weight * self.factors[:, None, None], bias)
            case nn.Linear():
                self.dense(name, *parameters(layer))
            case nn.PReLU() if self.is_flat:
                self.add("PRelu", name, {"slope": parameters(layer)[0]})
            case nn.PReLU():
                self.prelu(name, parameters(layer)[0])
            case nn.MaxPool2d():
                self.pool(name, layer)

    def heads(self, layers: dict[str, nn.Module], rest: list[str]) -> None:
        """The last layers, of the name of an output each, as one, and the outputs."""
        parts = {name: parameters(layer) for name, layer in layers.items()}
        parts["face"] = [values[1:] - values[:1] for values in parts["face"]]
        weight, bias = (np.concatenate(values) for values in zip(*parts.values(), strict=True))
        if self.is_flat:
            self.dense("heads", weight, bias)
        else:
            self.conv("heads", weight * self.factors[:, None, None], bias)
        sizes = [len(values[1]) for values in parts.values()]
        self.weights.append(numpy_helper.from_array(np.array(sizes), "sizes"))
        names = ["logit", *list(parts)[1:]]
        self.nodes.append(helper.make_node("Split", ["heads", "sizes"], names, "split", axis=1))
        self.add("Sigmoid", "sigmoid", first="logit")
        self.add("Squeeze", "face", {"axes": np.array([1])})
        for name, size in zip(parts, sizes, strict=True):
            shape = ["batch", *rest] if name == "face" else ["batch", size, *rest]
            self.outputs.append(
                helper.make_tensor_value_info(name, TensorProto.FLOAT, shape, HEADS[name])
            )

    def model(self) -> onnx.ModelProto:
        """The whole, checked."""
        graph = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, self.weights)
        source = "MTCNN of facenet-pytorch 2.5.3 (MIT); image: RGB, (value - 127.5) / 128"
        options = {"opset_imports": [helper.make_opsetid("", OPSET)], "ir_version": IR_VERSION}
        model = helper.make_model(graph, producer_name="deepkd", doc_string=source, **options)
        onnx.checker.check_model(model, full_check=True)
        return model


def parameters(layer: nn.Module) -> list[np.ndarray]:
    """The weights of a PyTorch layer, and its bias if it has one."""
    return [value.detach().numpy() for value in layer.parameters()]


def convert(name: str, network: nn.Module, side: int | None) -> onnx.ModelProto:
    """The network as ONNX: `face` (N, ...), `box` (N, 4, ...), and of `onet` `points` (N, 10)."""
    graph = Graph(name, side)
    layers = dict(network.named_children())
    slopes, pool = parameters(layers["prelu1"])[0], layers["pool1"]
    graph.first_layers(layers["conv1"], slopes, pool)
    for key, layer in layers.items():
        if "_" not in key and key not in ("conv1", "prelu1", "pool1"):
            graph.layer(key, layer)
    by_size = {
        len(parameters(layer)[1]): layer
        for key, layer in layers.items()
        if "_" in key and not key.startswith("softmax")
    }
    sizes = {"face": 2, "box": 4, "points": 10}
    heads = {head: by_size[size] for head, size in sizes.items() if size in by_size}
    graph.heads(heads, [] if side else ["rows", "columns"])
    return graph.model()


def checksum_lines(sums: Path, name: str, content: bytes) -> str:
    """The content of SHA256SUMS with the file's line in it; the lines are sorted by file name."""
    lines = sums.read_text(encoding="utf-8").splitlines() if sums.exists() else []
    kept = [line for line in lines if line.strip() and line.split()[1] != name]
    kept.append(f"{hashlib.sha256(content).hexdigest()}  {name}")
    return "\n".join(sorted(kept, key=lambda line: line.split()[1])) + "\n"


def main() -> None:
    """Convert all three."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).parent.parent / "weights",
        help="folder to write to",
    )
    out = parser.parse_args().out
    for name, network, side in (("pnet", PNet(), None), ("rnet", RNet(), 24), ("onet", ONet(), 48)):
        content = convert(name, network.eval(), side).SerializeToString(deterministic=True)
        (out / f"mtcnn-{name}.onnx").write_bytes(content)
        sums = out / "SHA256SUMS"
        sums.write_text(checksum_lines(sums, f"mtcnn-{name}.onnx", content))
        print(f"{out / f'mtcnn-{name}.onnx'}: {len(content)} bytes")


if __name__ == "__main__":
    main()
