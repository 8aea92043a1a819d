"""Graphs: an exported ONNX file in other arithmetic, with the metadata of the original."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from deepkd.models.export import save_described
from deepkd.scoring.model import METADATA_KEY
from deepkd.scoring.seal import set_seal

LAYERS = ("Conv", "Gemm", "MatMul")
"""Operators whose second input may be weights."""
CHANNELS_LAST = "MatMul"
"""The one among them whose output channels are the last axis of its weights."""
SMALLEST_STORED = 64
"""Fewer values than this stay float32 in `store_half`: they take no room."""
Floats = npt.NDArray[np.float32]


def weighted_layers(graph: onnx.ModelProto) -> Iterator[tuple[onnx.NodeProto, onnx.TensorProto]]:
    """Every layer with weights of its own, and these, in the order of the graph."""
    known = {tensor.name: tensor for tensor in graph.graph.initializer}
    for node in graph.graph.node:
        if node.op_type in LAYERS and node.input[1] in known:
            yield node, known[node.input[1]]


def is_depthwise(weights: onnx.TensorProto) -> bool:
    """Whether these are a convolution's with one input channel per filter."""
    return len(weights.dims) == 4 and weights.dims[1] == 1


def round_weights(node: onnx.NodeProto, weights: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """Weights as int8, symmetric, and the scale of each output channel, shaped to broadcast."""
    axis = weights.ndim - 1 if node.op_type == CHANNELS_LAST else 0
    others = tuple(index for index in range(weights.ndim) if index != axis)
    scale = np.abs(weights).max(others, keepdims=True) / 127
    scale[scale == 0] = 1
    return np.round(weights / scale).astype(np.int8), scale.astype(np.float32)


def weights_only(source: Path, out: Path) -> None:
    """The weights as int8 with a scale per channel; the runtime multiplies them back.

    Arithmetic stays float32. Depthwise convolutions stay as they are: they hold few weights and
    suffer most.
    """
    graph = onnx.load(source)
    done: dict[str, str] = {}
    for node, tensor in list(weighted_layers(graph)):
        if is_depthwise(tensor):
            continue
        if tensor.name not in done:
            done[tensor.name] = _store_as_int8(graph, node, tensor)
        node.input[1] = done[tensor.name]
    used = {name for node in graph.graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.graph.initializer if tensor.name not in used]:
        graph.graph.initializer.remove(tensor)
    _save(graph, source, out, "weights")


def _store_as_int8(graph: onnx.ModelProto, node: onnx.NodeProto, tensor: onnx.TensorProto) -> str:
    """Put int8 weights, their scales and their product into the graph; the name of the product."""
    whole, scale = round_weights(node, numpy_helper.to_array(tensor))
    names = {part: f"{tensor.name}_{part}" for part in ("int8", "scale", "cast", "float")}
    steps = [
        helper.make_node("Cast", [names["int8"]], [names["cast"]], to=TensorProto.FLOAT),
        helper.make_node("Mul", [names["cast"], names["scale"]], [names["float"]]),
    ]
    for step in reversed(steps):
        graph.graph.node.insert(0, step)
    values = {"int8": whole, "scale": scale}
    graph.graph.initializer.extend(
        numpy_helper.from_array(value, names[part]) for part, value in values.items()
    )
    return names["float"]


def store_half(source: Path, out: Path) -> None:
    """Store float32 weights as float16, at half the size, and compute in float32 as before.

    The runtime widens them once, when it loads the file; logits move by rounding alone. Name and
    metadata stay.
    """
    graph = onnx.load(source)
    for tensor in list(graph.graph.initializer):
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < SMALLEST_STORED:
            continue
        stored = f"{tensor.name}_float16"
        cast = helper.make_node("Cast", [stored], [tensor.name], to=TensorProto.FLOAT)
        graph.graph.node.insert(0, cast)
        graph.graph.initializer.remove(tensor)
        graph.graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), stored))
    save_described(graph, metadata_of(source), out)


def half(source: Path, out: Path) -> None:
    """Weights and arithmetic in float16; crops go in and logits come out as before."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    graph = convert_float_to_float16(onnx.load(source), keep_io_types=True)
    _save(graph, source, out, "fp16")


def disturb_layer(source: Path, layer: str) -> bytes:
    """The same graph with the weights of one layer rounded to int8 and back."""
    graph = onnx.load(source)
    node, tensor = next(pair for pair in weighted_layers(graph) if pair[0].name == layer)
    whole, scale = round_weights(node, numpy_helper.to_array(tensor))
    tensor.CopyFrom(numpy_helper.from_array(whole * scale, tensor.name))
    return set_seal(graph.SerializeToString())


def finish(path: Path, source: Path, variant: str, **about: object) -> None:
    """Give a converted file, in place, its source's metadata and what was done to it."""
    _save(onnx.load(path), source, path, variant, **about)


def _save(graph: onnx.ModelProto, source: Path, out: Path, variant: str, **about: object) -> None:
    metadata = metadata_of(source)
    metadata["name"] = f"{metadata['name']}-{variant}"
    metadata["quantized"] = {"variant": variant, **about}
    save_described(graph, metadata, out)


def metadata_of(path: Path) -> dict[str, Any]:
    """What an exported file says of itself."""
    entries = onnx.load(path, load_external_data=False).metadata_props
    return dict(json.loads(next(entry.value for entry in entries if entry.key == METADATA_KEY)))
