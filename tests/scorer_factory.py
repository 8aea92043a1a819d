"""A tiny ONNX scorer for tests: it calls green faces forged, so that a verdict hangs on the pixels
alone.

path = write_scorer(tmp_path / "green.onnx")        logit = 100 * (G - (R + B) / 2) / 255 - 1.5 of
the mean colour clip = tinted_clip(tmp_path / "clip.mp4", green=lambda t_s: 1.0 <= t_s < 2.0)
"""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from media import scene, write_video
from onnx import TensorProto, helper, numpy_helper

from deepkd.scoring.model import METADATA_KEY, METADATA_SCHEMA, InputFormat

SIDE = 64


def metadata(**changes: Any) -> dict[str, Any]:
    """What the file says about itself, changed where asked."""
    plain = {
        "schema": METADATA_SCHEMA,
        "name": "green",
        "params": 4,
        "macs": SIDE * SIDE * 3,
        "trained": True,
        "input": InputFormat(size=SIDE).to_dict(),
        "calibration": {"temperature": 1.0, "bias": 0.0},
        "thresholds": {"real": 0.5, "fake": 0.5},
    }
    return plain | changes


def write_scorer(
    path: Path,
    *,
    weights: Sequence[float] = (-50.0, 100.0, -50.0),
    bias: float = -1.5,
    evidence: bool = False,
    **changes: Any,
) -> Path:
    """An ONNX model of the contract: `crops` uint8 (N, S, S, 3) -> `logit` (N,), linear in the
    mean colour.

    With `evidence` it also gives the logit of each pixel, (N, S, S).
    """
    nodes = [
        helper.make_node("Cast", ["crops"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["color"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["color", "weights"], ["sum"]),
        helper.make_node("Add", ["sum", "bias"], ["logit"]),
    ]
    outputs = [helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["n"])]
    if evidence:
        nodes.append(helper.make_node("MatMul", ["pixels", "weights"], ["sums"]))
        nodes.append(helper.make_node("Add", ["sums", "bias"], ["evidence"]))
        outputs.append(
            helper.make_tensor_value_info("evidence", TensorProto.FLOAT, ["n", SIDE, SIDE])
        )
    values = {
        "weights": np.asarray(weights, np.float32) / 255,
        "bias": np.asarray(bias, np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "green",
        [helper.make_tensor_value_info("crops", TensorProto.UINT8, ["n", SIDE, SIDE, 3])],
        outputs,
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {METADATA_KEY: json.dumps(metadata(**changes))})
    onnx.save(model, path)
    return path


def green_tint(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The picture with less red and blue: what the scorer calls forged."""
    return (image * np.array([0.7, 1.0, 0.8])).astype(np.uint8)


def tinted_clip(
    path: Path,
    *,
    faces: Sequence[str] = ("astronaut",),
    green: Callable[[float], bool] = lambda t_s: True,
    right_only: bool = False,
    seconds: float = 1.6,
    fps: float = 10,
    size: tuple[int, int] = (320, 240),
    **options: Any,
) -> Path:
    """A clip of the people; whoever is in it is green while `green(t_s)`, with `right_only` just
    the right half."""

    def picture(t_s: float) -> npt.NDArray[np.uint8]:
        image = scene(faces, size=size, phase=math.pi * t_s, **options)
        left = size[0] // 2 if right_only else 0
        if green(t_s):
            image = image.copy()
            image[:, left:] = green_tint(image[:, left:])
        return image

    return write_video(
        path, (picture(index / fps) for index in range(round(seconds * fps))), fps=fps
    )
