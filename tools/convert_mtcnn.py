"""Convert the three MTCNN networks of facenet-pytorch 2.5.3 to ONNX.

    python tools/convert_mtcnn.py [--out weights]

Writes mtcnn-pnet.onnx, mtcnn-rnet.onnx and mtcnn-onet.onnx and their lines in SHA256SUMS. The
graphs are written node by node from the published weights, not traced, so the bytes do not depend
on the version of PyTorch.
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

    def add(
        self, kind: str, name: str, weights: dict[str, np.ndarray], **attributes: object
    ) -> None:
        """One node; its output bears its name."""
        self.weights += [
            numpy_helper.from_array(array, f"{name}.{key}") for key, array in weights.items()
        ]
        inputs = [self.last, *(f"{name}.{key}" for key in weights)]
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        self.last = name

    def layer(self, name: str, layer: nn.Module) -> None:
        """The node of a PyTorch layer."""
        weights = {key: value.detach().numpy() for key, value in layer.named_parameters()}
        match layer:
            case nn.Conv2d():
                self.add("Conv", name, weights, kernel_shape=list(layer.kernel_size))
            case nn.Linear():
                self.add("Gemm", name, weights, transB=1)
            case nn.PReLU():
                trailing = () if self.is_flat else (1, 1)
                self.add("PRelu", name, {"slope": weights["weight"].reshape(-1, *trailing)})
            case nn.MaxPool2d():
                sides = {"kernel_shape": [layer.kernel_size] * 2, "strides": [layer.stride] * 2}
                self.add("MaxPool", name, {}, ceil_mode=1, **sides)
            case nn.Softmax():
                self.add("Softmax", name, {}, axis=1)

    @property
    def is_flat(self) -> bool:
        """Whether the dense layers have begun."""
        return any(node.op_type == "Flatten" for node in self.nodes)

    def flatten(self) -> None:
        """(N, C, H, W) to (N, W * H * C), in the order of the original Caffe networks."""
        self.add("Transpose", "transposed", {}, perm=[0, 3, 2, 1])
        self.add("Flatten", "flat", {})

    def head(self, name: str, shape: list[object]) -> None:
        """The last node becomes an output of the network."""
        self.nodes[-1].output[0] = name
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


def convert(name: str, network: nn.Module, side: int | None) -> onnx.ModelProto:
    """The network as ONNX: `face` (N, ...), `box` (N, 4, ...), and of `onet` `points` (N, 10)."""
    graph = Graph(name, side)
    layers = dict(network.named_children())
    heads = {"box": 4, "face": 2, "points": 10}
    for key, layer in layers.items():
        if "_" in key:
            continue
        if key.startswith("dense") and not graph.is_flat:
            graph.flatten()
        graph.layer(key, layer)
    trunk = graph.last
    rest = [] if side else ["rows", "columns"]
    for key, layer in layers.items():
        if "_" not in key or key.startswith("softmax"):
            continue
        graph.last = trunk
        graph.layer(key, layer)
        wide = layer.out_channels if isinstance(layer, nn.Conv2d) else layer.out_features
        head = next(name for name, size in heads.items() if size == wide)
        if head == "face":
            graph.layer(
                "softmax", layers[key.replace("conv", "softmax").replace("dense", "softmax")]
            )
            graph.add("Gather", "face", {"second": np.array(1)}, axis=1)
        graph.head(head, ["batch", *rest] if head == "face" else ["batch", wide, *rest])
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
