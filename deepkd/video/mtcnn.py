"""MTCNN on ONNX Runtime: facenet-pytorch's three networks and its arithmetic, without PyTorch.

Zhang et al., Joint Face Detection and Alignment using Multi-task Cascaded Convolutional Networks,
2016. A small network searches a pyramid of shrunk images for candidates; two larger ones judge each
candidate and correct its box.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from deepkd.errors import ConfigError
from deepkd.images import Image
from deepkd.machine import cores
from deepkd.shipped import shipped_file
from deepkd.video.faces import Face, enlarge, search

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Sums = npt.NDArray[Any]
"""(height + 1, width + 1, 3): sums of all pixels above and left of each corner."""

THRESHOLDS = (0.6, 0.7, 0.7)
"""Least probability of a face to pass each of the three networks."""
FACTOR = 0.709
"""Each level of the pyramid is this much smaller than the one before."""
CELL_PX, STRIDE_PX = 12, 2
"""What one output of the first network sees, and the step between two outputs."""
SMALL = 2
"""Beside larger faces, those are sought that are up to so many times as large as the smallest."""
MAX_BATCH = 512
"""Candidates judged in one call, which bounds the memory on images full of false candidates."""
MAX_THREADS = 4
"""More do not help networks as small as these."""


def load(*, device: str, min_face_px: int, max_side_px: int, threads: int | None) -> "Mtcnn":
    """The detector with the shipped networks.

    Raises:
        ConfigError: the device is `cuda`.
        ModelError: a network is missing or damaged.
    """
    if device == "cuda":
        raise ConfigError(
            "detector 'mtcnn' runs on the CPU; choose detector 'mtcnn-torch' for device 'cuda'"
        )
    return Mtcnn(min_face_px=min_face_px, max_side_px=max_side_px, threads=threads)


class Mtcnn:
    """A `FaceDetector` on the CPU."""

    def __init__(self, *, min_face_px: int, max_side_px: int, threads: int | None = None) -> None:
        self.min_face_px, self.max_side_px = min_face_px, max_side_px
        self._proposals, self._refinement, self._output = (
            _session(f"mtcnn-{name}.onnx", threads) for name in ("pnet", "rnet", "onet")
        )

    def detect(self, image: Image, *, thorough: bool = False) -> list[Face]:
        """The faces of an RGB uint8 image (H, W, 3), the largest first, as `FaceDetector` says."""
        return search(
            image,
            self.max_side_px,
            lambda small, only_small: self._faces(small, image, only_small=only_small),
            thorough=thorough,
        )

    def _faces(self, small: Image, image: Image, *, only_small: bool = False) -> list[Face]:
        """The faces that one look at the image shows."""
        sums = _integral(small)
        largest_px = SMALL * self.min_face_px if only_small else None
        candidates = self._propose(sums, largest_px)
        boxes, scores, points = self._finish(sums, self._refine(sums, candidates))
        return enlarge(boxes, scores, points, small=small, image=image)

    def _propose(self, sums: Sums, largest_px: float | None = None) -> Floats:
        """Square candidates (N, 4) as x1, y1, x2, y2, from every level of the pyramid.

        From those levels only whose cell is at most `largest_px` wide, if that is given.
        """
        height, width = sums.shape[0] - 1, sums.shape[1] - 1
        found = [np.zeros((0, 9), np.float32)]
        for scale in _scales(min(height, width), self.min_face_px):
            if largest_px and largest_px * scale < CELL_PX:
                break
            level = _resample(sums, int(height * scale + 1), int(width * scale + 1))
            face, box = _run(self._proposals, ["face", "box"], level)
            found.append(_candidates(face[0], box[0], scale))
        rows = np.concatenate(found)
        rows = rows[_distinct(rows[:, :4], rows[:, 4], 0.7)]
        size = np.tile(rows[:, 2:4] - rows[:, :2], 2)
        return _squares(rows[:, :4] + rows[:, 5:] * size)

    def _refine(self, sums: Sums, boxes: Floats) -> Floats:
        """The square candidates that the second network keeps, corrected: (N, 4)."""
        boxes, crops = _crops(sums, boxes, 24)
        scores, correction = _run(self._refinement, ["face", "box"], crops)
        passed = scores > THRESHOLDS[1]
        boxes, scores, correction = boxes[passed], scores[passed], correction[passed]
        kept = _distinct(boxes, scores, 0.7)
        return _squares(_correct(boxes[kept], correction[kept]))

    def _finish(self, sums: Sums, boxes: Floats) -> tuple[Floats, Floats, Floats]:
        """Boxes (N, 4), probabilities (N,), landmarks (N, 5, 2) that the third network keeps."""
        boxes, crops = _crops(sums, boxes, 48)
        scores, correction, points = _run(self._output, ["face", "box", "points"], crops)
        passed = scores > THRESHOLDS[2]
        boxes, scores, correction = boxes[passed], scores[passed], correction[passed]
        spots = points[passed].reshape(-1, 2, 5).transpose(0, 2, 1)
        size = boxes[:, None, 2:] - boxes[:, None, :2] + 1
        landmarks = size * spots + boxes[:, None, :2] - 1
        boxes = _correct(boxes, correction)
        kept = _not_contained(boxes, scores, 0.7)
        return boxes[kept], scores[kept], landmarks[kept]


def _session(name: str, threads: int | None) -> ort.InferenceSession:
    path = shipped_file(name)
    options = ort.SessionOptions()
    # Half of the cores: the others decode meanwhile.
    options.intra_op_num_threads = threads or max(1, min(MAX_THREADS, cores() // 2))
    options.inter_op_num_threads = 1
    # Waiting threads would spin: four times the processor time, and slow as soon as anything else
    # runs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _run(session: ort.InferenceSession, names: list[str], images: Floats) -> list[Floats]:
    """The named outputs of a network for images (N, 3, H, W), in batches of at most `MAX_BATCH`."""
    batches = [images[i : i + MAX_BATCH] for i in range(0, max(1, len(images)), MAX_BATCH)]
    outputs = [session.run(names, {"image": batch}) for batch in batches]
    return [np.concatenate(parts) for parts in zip(*outputs, strict=True)]


def _scales(shorter_px: int, min_face_px: int) -> Iterator[float]:
    """The scales of the pyramid, the largest first; at the first the smallest face fills a cell."""
    scale = CELL_PX / min_face_px
    side = shorter_px * scale
    while side >= CELL_PX:
        yield scale
        scale, side = scale * FACTOR, side * FACTOR


def _candidates(face: Floats, box: Floats, scale: float) -> Floats:
    """The cells of one level that pass, (N, 9): x1, y1, x2, y2, probability, corrections."""
    passed = np.flatnonzero(face >= THRESHOLDS[0])
    if not len(passed):
        return np.zeros((0, 9), np.float32)
    y, x = np.divmod(passed, face.shape[1])
    corner = np.stack([x, y], 1).astype(np.float32) * STRIDE_PX
    start, end = (np.floor((corner + offset) / np.float32(scale)) for offset in (1, CELL_PX))
    rows = np.concatenate([start, end, face[y, x, None], box[:, y, x].T], 1)
    return rows[_distinct(rows[:, :4], rows[:, 4], 0.5)]


def _distinct(boxes: Floats, scores: Floats, overlap: float) -> Ints:
    """The indices, best first, of boxes (N, 4) that overlap no better one (IoU)."""
    if not len(boxes):
        return np.zeros(0, np.int64)
    # As x, y, width, height in double precision, which is what OpenCV computes with.
    rectangles: Any = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).astype(
        np.float64
    )
    probabilities: Any = scores
    kept = cv2.dnn.NMSBoxes(rectangles, probabilities, 0.0, overlap)
    return np.asarray(kept, np.int64).reshape(-1)


def _not_contained(boxes: Floats, scores: Floats, overlap: float) -> Ints:
    """Likewise, with the overlap as a share of the smaller box: a box inside another goes."""
    order = np.argsort(scores)[::-1]
    area = np.prod(boxes[:, 2:] - boxes[:, :2] + 1, 1)
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        start, end = (
            np.maximum(boxes[best, :2], boxes[order, :2]),
            np.minimum(boxes[best, 2:], boxes[order, 2:]),
        )
        shared = np.prod(np.maximum(0, end - start + 1), 1)
        order = order[shared / np.minimum(area[best], area[order]) <= overlap]
    return np.array(kept, np.int64)


def _correct(boxes: Floats, correction: Floats) -> Floats:
    """Each corner moved by its correction, a share of the box's size."""
    return boxes + correction * np.tile(boxes[:, 2:] - boxes[:, :2] + 1, 2)


def _squares(boxes: Floats) -> Floats:
    """The squares with the same centres and the longer sides: (N, 4)."""
    size = boxes[:, 2:] - boxes[:, :2]
    side = size.max(1, keepdims=True)
    start = boxes[:, :2] + size * np.float32(0.5) - side * np.float32(0.5)
    return np.concatenate([start, start + side], 1)


def _integral(image: Image) -> Sums:
    fits = image.size < 2**31 // 255
    return np.asarray(cv2.integral(image, sdepth=cv2.CV_32S if fits else cv2.CV_64F))


def _resample(sums: Sums, height: int, width: int) -> Floats:
    """The image at another size, by adaptive average pooling: (1, 3, height, width)."""
    grid = _grid(sums.shape[0] - 1, sums.shape[1] - 1, height, width)
    strips = sums.take(grid.bottom, 0)
    strips -= sums.take(grid.top, 0)
    flat = strips.reshape(height, -1)
    totals = flat.take(grid.right, 1)
    totals -= flat.take(grid.left, 1)
    images = totals.reshape(height, width, 3).transpose(2, 0, 1).astype(np.float32, order="C")
    images *= grid.weights
    images -= np.float32(127.5 / 128)
    return images[None]


class _Grid(NamedTuple):
    """The cells over which an image is pooled."""

    top: Ints
    bottom: Ints
    left: Ints
    """(3 * columns,): where each color of a pixel is in a row of sums."""
    right: Ints
    weights: Floats
    """(rows, columns): what scales the sum of a cell to the network's input."""


@lru_cache(maxsize=32)
def _grid(height: int, width: int, rows: int, columns: int) -> _Grid:
    """The cells of an image of one size at another; those of a clip's frames are the same."""
    zero, colors = np.array([0]), np.arange(3)
    top, bottom = _cuts(zero, np.array([height]), rows)[:, 0]
    left, right = _cuts(zero, np.array([width]), columns)[:, 0]
    weights = (1 / 128 / ((bottom - top)[:, None] * (right - left))).astype(np.float32)
    left, right = ((3 * cuts[:, None] + colors).ravel() for cuts in (left, right))
    return _Grid(top, bottom, left, right, weights)


def _crops(sums: Sums, boxes: Floats, side: int) -> tuple[Floats, Floats]:
    """The boxes that lie in the image, and what is in them: (N, 4) and (N, 3, side, side).

    As in the original, corners are truncated to whole pixels counted from 1, and clipped to the
    image.
    """
    height, width = sums.shape[0] - 1, sums.shape[1] - 1
    whole = np.trunc(boxes).astype(np.int64)
    start = np.maximum(whole[:, :2], 1) - 1
    end = np.minimum(whole[:, 2:], (width, height))
    inside = (end > start).all(1)
    boxes, start, size = boxes[inside], start[inside], (end - start)[inside]
    left, right = _cuts(start[:, 0], size[:, 0], side)
    top, bottom = _cuts(start[:, 1], size[:, 1], side)
    corners = sums.reshape(-1, 3)

    def above_left(y: Ints, x: Ints) -> Any:
        return corners.take((y * (width + 1))[:, :, None] + x[:, None, :], 0)

    totals = (
        above_left(bottom, right)
        - above_left(top, right)
        - above_left(bottom, left)
        + above_left(top, left)
    )
    return boxes, _normalise(totals, (bottom - top)[:, :, None] * (right - left)[:, None, :])


def _cuts(start: Ints, length: Ints, pieces: int) -> Ints:
    """First and past-the-last pixel of each of `pieces` pieces, rounded out: (2, N, pieces)."""
    i = np.arange(pieces)
    first = i * length[:, None] // pieces
    past = -(-(i + 1) * length[:, None] // pieces)
    return start[:, None] + np.stack([first, past])


def _normalise(totals: Any, areas: Ints) -> Floats:
    """Sums (N, h, w, 3) over areas (N, h, w) as network inputs: (N, 3, h, w), -1 to 1."""
    images = np.empty((len(totals), 3, *areas.shape[1:]), np.float32)
    weights = (1 / 128 / areas).astype(np.float32)
    np.multiply(totals.transpose(0, 3, 1, 2), weights[:, None], out=images, casting="unsafe")
    images -= np.float32(127.5 / 128)
    return images
