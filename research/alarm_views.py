"""What `false_alarms.py` judges by: logits of several views of a face, its quality, its features.

Everything is kept in files, so that a run that was stopped goes on, and comparing takes no model.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnx
from documents import say
from onnxruntime import InferenceSession, SessionOptions

from deepkd.data.crops import CropSet
from deepkd.data.index import CropRow
from deepkd.evaluation.figures import group_by_video
from deepkd.images import Image
from deepkd.scoring.evidence import sharpness
from deepkd.scoring.model import Scorer

Array = npt.NDArray[np.float64]
TOGETHER = 32
"""Crops that are scored, and kept, in one step."""


def window(scale: float, right: float = 0.0, down: float = 0.0) -> Callable[[Image], Image]:
    """Cut a square of `scale` times the side; 0 is the middle, -1 and 1 are the edges."""

    def cut(image: Image) -> Image:
        height, width = image.shape[:2]
        rows, columns = round(height * scale), round(width * scale)
        top = round((height - rows) * (1 + down) / 2)
        left = round((width - columns) * (1 + right) / 2)
        return np.ascontiguousarray(image[top : top + rows, left : left + columns])

    return cut


def mirror(image: Image) -> Image:
    return np.ascontiguousarray(image[:, ::-1])


VIEWS: dict[str, Callable[[Image], Image]] = {
    "crop": lambda image: image,
    "mirror": mirror,
    "0.9": window(0.9),
    "0.8": window(0.8),
    "left": window(0.9, -1, -1),
    "right": window(0.9, 1, 1),
}
"""A stored crop holds nothing around it, so all other views lie within it."""


def noise(image: Image) -> float:
    """Standard deviation of the noise, which strong compression takes away (Immerkaer 1996)."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    return float(np.sqrt(np.pi / 2) / 6 * np.abs(cv2.filter2D(gray, -1, kernel)[1:-1, 1:-1]).mean())


def blocking(image: Image) -> float:
    """Steps between columns and rows 8 pixels apart, as a share of all steps: 1 without blocks."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    steps = [np.abs(np.diff(gray, axis=axis)).mean(1 - axis) for axis in (0, 1)]
    shares = [
        max(step[start::8].mean() for start in range(8)) / (step.mean() + 0.1) for step in steps
    ]
    return float(np.mean(shares))


def quality(row: CropRow, image: Image) -> list[float]:
    """Size in the frame, sharpness, noise and blocking, on scales on which differences add."""
    face_px = row.face_px or image.shape[0]
    return [np.log(face_px), sharpness(image), np.log(noise(image) + 0.1), np.log(blocking(image))]


class Featured:
    """A shipped or exported model that also gives what goes into its last layer."""

    def __init__(self, name: str) -> None:
        scorer = Scorer.load(name, threads=1)
        self.name, self.format, self.params = scorer.name, scorer.format, scorer.params
        graph = onnx.load(scorer.path)
        self.outputs = ["logit", *_add_features(graph)]
        options, content = SessionOptions(), io.BytesIO()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        onnx.save(graph, content)
        self.session = InferenceSession(content.getvalue(), options, ["CPUExecutionProvider"])

    def run(self, images: list[Image]) -> tuple[Array, Array]:
        """Logits (N,) and features (N, C); C is 0 for a model without a map of features."""
        found = self.session.run(self.outputs, {"crops": self.format.batch(images)})
        features = found[1] if len(found) > 1 else np.zeros((len(images), 0))
        return np.ravel(found[0]).astype(float), features.astype(float)


def _add_features(graph: onnx.ModelProto) -> list[str]:
    """Give the mean of the last map of features as an output of its own, where there is one."""
    makers = {output: node for node in graph.graph.node for output in node.output}
    node = makers.get("evidence")
    while node is not None and node.op_type != "Conv":
        node = makers.get(node.input[0])
    if node is None:
        return []
    make = onnx.helper.make_node(
        "ReduceMean", [node.input[0]], ["features"], axes=[2, 3], keepdims=0
    )
    graph.graph.node.append(make)
    kind = onnx.helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, None)
    graph.graph.output.append(kind)
    return ["features"]


@dataclass(frozen=True)
class Scores:
    """What one model and the pictures themselves say of N crops."""

    rows: list[CropRow]
    logits: dict[str, Array]
    """View -> (N,)."""
    quality: Array
    """(N, 4), see `quality`."""
    features: Array
    """(N, C)."""


def draw(crops: CropSet, per_source: int, per_clip: int) -> CropSet:
    """At most so many clips of each source and label, and so many crops of each clip, evenly."""
    clips: dict[tuple[str, str], list[list[int]]] = {}
    for clip in group_by_video(crops.rows):
        row = crops.rows[clip[0]]
        clips.setdefault((row.dataset, row.label), []).append(clip)
    random = np.random.default_rng(0)
    kept = []
    for found in clips.values():
        for place in sorted(random.permutation(len(found))[:per_source]):
            timed = sorted(found[place], key=lambda index: crops.rows[index].t_s or 0.0)
            evenly = np.unique(np.linspace(0, len(timed) - 1, per_clip).round().astype(int))
            kept += [timed[index] for index in evenly]
    return crops.subset(kept)


def score(model: Featured, crops: CropSet, views: list[str], file: Path) -> Scores:
    """The scores of the views, of which those in `file` are known."""
    kept = dict(np.load(file)) if file.exists() else {}
    if kept and kept["files"].tolist() != [row.file for row in crops.rows]:
        raise SystemExit(f"{file}: holds scores of other crops; delete it")
    kept.setdefault("files", np.array([row.file for row in crops.rows]))
    kept.setdefault("quality", np.full((len(crops), 4), np.nan))
    for view in views:
        logits = kept.setdefault(view, np.full(len(crops), np.nan))
        missing = np.flatnonzero(np.isnan(logits))
        for start in range(0, len(missing), TOGETHER):
            some = missing[start : start + TOGETHER]
            images = [crops.image(index) for index in some]
            logits[some], features = model.run([VIEWS[view](image) for image in images])
            if view == "crop":
                known = kept.setdefault("features", np.zeros((len(crops), features.shape[1])))
                known[some] = features
                pairs = zip(some, images, strict=True)
                kept["quality"][some] = [quality(crops.rows[at], image) for at, image in pairs]
            np.savez(file, **kept)  # type: ignore[arg-type]
        say(f"{file.stem}: {view}")
    logits = {view: kept[view] for view in views}
    return Scores(crops.rows, logits, kept["quality"], kept["features"])
