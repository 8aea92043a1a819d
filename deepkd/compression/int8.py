"""Static int8 for ONNX Runtime: unsigned activations, signed weights, ranges from real crops.

What serves one network harms another, so there are several methods; the one whose logits stay
closest to float32's on the calibration crops is taken. No label and no crop of the split that
judges has a part in that choice.
"""

import contextlib
import io
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from deepkd.compression.graphs import disturb_layer, finish, weighted_layers
from deepkd.images import Image
from deepkd.outputs import scratch
from deepkd.scoring.model import Scorer, raw_logits
from deepkd.scoring.seal import set_seal
from deepkd.settings.choices import INT8_METHODS

FEED = 16
"""Crops per call while ranges are found."""
SENSING = 32
"""Crops that show how much a layer suffers."""


@dataclass(frozen=True)
class Int8Method:
    """One way from float32 to int8; always per channel of the weights."""

    ranges: str = "MinMax"
    """How onnxruntime finds the range of an activation: MinMax, Percentile (99.99) or Entropy."""
    reduce_range: bool = False
    """Weights in 7 bits, so that processors without 8-bit dot products (VNNI) never saturate."""
    float_ends: bool = False
    """Leave the first layer and what gives logit and evidence in float32."""
    float_sensitive: int = 0
    """How many layers stay in float32: those whose rounded weights move the logits most."""


PLAIN = Int8Method()
REDUCED_RANGE = Int8Method(reduce_range=True)
PERCENTILE = Int8Method(ranges="Percentile")
ENTROPY = Int8Method(ranges="Entropy")
FLOAT_ENDS = Int8Method(float_ends=True)
FLOAT_SENSITIVE = Int8Method(float_ends=True, float_sensitive=6)


def to_int8(
    source: Path,
    out: Path,
    crops: Sequence[Image],
    names: Sequence[str],
    *,
    threads: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, float]:
    """Write the closest of the methods' files; method -> distance of the logits (RMS).

    Args:
        source: an exported float32 file.
        out: where to write.
        crops: for the ranges and for the choice, none of them from a test split.
        names: of `INT8_METHODS`, at least one.
        threads: of the runtime; None takes all cores.
        say: told what happens next.
    """
    scorer = Scorer.load(source, threads=threads)
    expected = raw_logits(scorer, crops)
    batches = [
        scorer.format.batch(crops[start : start + FEED]) for start in range(0, len(crops), FEED)
    ]
    with scratch() as folder:
        prepared = prepare(source, folder)
        distances: dict[str, float] = {}
        files: dict[str, Path] = {}
        for name in names:
            say(f"int8, {name}")
            files[name] = folder / f"{name}.onnx"
            kept = float_layers(prepared, INT8_METHODS.load(name), crops, threads=threads)
            _quantise(prepared, files[name], batches, INT8_METHODS.load(name), kept)
            finish(files[name], source, "int8", recipe=name, crops=len(crops))
            made = Scorer.load(files[name], threads=threads)
            distances[name] = _distance(raw_logits(made, crops), expected)
        best = min(distances, key=lambda name: np.nan_to_num(distances[name], nan=np.inf))
        shutil.copyfile(files[best], out)
    return distances


def prepare(source: Path, folder: Path) -> Path:
    """The graph with its shapes known and its constants folded, as quantisation wants it."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with _quiet():
        quant_pre_process(source, folder / "prepared.onnx", skip_symbolic_shape=True)
    prepared = folder / "prepared.onnx"
    prepared.write_bytes(set_seal(prepared.read_bytes()))
    return prepared


def _quantise(
    prepared: Path, out: Path, batches: Sequence[Image], method: Int8Method, kept: list[str]
) -> None:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    with _quiet():
        quantize_static(
            prepared,
            out,
            _reader(batches),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=method.reduce_range,
            calibrate_method=CalibrationMethod[method.ranges],
            nodes_to_exclude=kept,
            extra_options={"CalibPercentile": 99.99} if method.ranges == "Percentile" else {},
        )


def _reader(batches: Sequence[Image]) -> object:
    """What onnxruntime asks for the next input, and for None after the last."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(batches)

        def get_next(self) -> dict[str, Image] | None:
            batch = next(self.left, None)
            return None if batch is None else {"crops": batch}

    return Reader()


def float_layers(
    prepared: Path, method: Int8Method, crops: Sequence[Image], *, threads: int | None = None
) -> list[str]:
    """The names of the layers that a method leaves in float32."""
    layers = [node.name for node, _ in weighted_layers(onnx.load(prepared))]
    kept: set[str] = {*layers[:1], *_last_layers(prepared)} if method.float_ends else set()
    if method.float_sensitive:
        others = [name for name in layers if name not in kept]
        change = sensitivity(prepared, others, crops[:SENSING], threads=threads)
        kept |= set(sorted(change, key=lambda name: -change[name])[: method.float_sensitive])
    return sorted(kept)


def _last_layers(prepared: Path) -> set[str]:
    """The layers with weights that reach an output without passing another one."""
    graph = onnx.load(prepared)
    layers = {node.name for node, _ in weighted_layers(graph)}
    makers = {output: node for node in graph.graph.node for output in node.output}
    waiting = [output.name for output in graph.graph.output]
    found: set[str] = set()
    while waiting:
        node = makers.get(waiting.pop())
        if node is not None and node.name in layers:
            found.add(node.name)
        elif node is not None:
            waiting.extend(node.input)
    return found


def sensitivity(
    source: Path, layers: Sequence[str], crops: Sequence[Image], *, threads: int | None = None
) -> dict[str, float]:
    """Layer -> how far the logits move (RMS) when its weights alone are rounded to int8."""
    expected = raw_logits(Scorer.load(source, threads=threads), crops)
    return {
        layer: _distance(
            raw_logits(Scorer(source, disturb_layer(source, layer), threads=threads), crops),
            expected,
        )
        for layer in layers
    }


def _distance(logits: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean((logits.astype(float) - expected) ** 2)))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what onnxruntime's tools print and log away from the result on standard output."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)  # with a traceback, of what is raised or does without
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
