"""Scorer: a trained model as an ONNX file, verified, with the input format it was trained on."""

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from deepkd.errors import ModelError, UsageError
from deepkd.images import Image
from deepkd.scoring.calibration import Calibration
from deepkd.scoring.runtimes import OnnxRuntime, Runtime, start
from deepkd.scoring.seal import SEAL_KEY, hashes_of
from deepkd.scoring.thresholds import Thresholds
from deepkd.shipped import checksums, shipped_file, shipped_students
from deepkd.video.crops import CROP_RULES, CropRule, crop_square

METADATA_KEY = "deepkd"
METADATA_SCHEMA = "deepkd.model/1"
KINDS = {
    "name": str,
    "params": int,
    "macs": int,
    "input": dict,
    "calibration": dict,
    "thresholds": dict,
}
"""What every model's metadata has, beside `trained`."""
BATCH = 32
"""Crops per call of the runtime: enough to fill the cores, small enough to keep memory flat."""
MAX_SIDE_PX, MAX_SCALE = 4096, 10.0
"""Largest input, and largest square around a face in lengths of its box, that a model may ask
for."""


@dataclass(frozen=True)
class InputFormat:
    """What a model expects to see; it belongs to the checkpoint and is obeyed by every command."""

    size: int = 224
    """Side of the square input, pixels."""
    color: str = "RGB"
    """Channel order: RGB or BGR."""
    value_range: float = 1.0
    """White: 1.0 or 255.0."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    resize: str = "stretch"
    """`stretch` to the square, or `letterbox`: keep the aspect ratio and pad with black."""
    crop: CropRule = CROP_RULES["dfdc"]

    def __post_init__(self) -> None:
        """Refuse what no crop can be made for.

        Raises:
            ModelError: naming the values that are wrong.
        """
        sound = {
            "size": type(self.size) is int and 1 <= self.size <= MAX_SIDE_PX,
            "color": self.color in ("RGB", "BGR"),
            "value_range": self.value_range in (1.0, 255.0),
            "mean": len(self.mean) == 3 and all(map(math.isfinite, self.mean)),
            "std": (
                len(self.std) == 3 and all(math.isfinite(value) and value > 0 for value in self.std)
            ),
            "resize": self.resize in ("stretch", "letterbox"),
            "crop": (
                0 < crop_square((0.0, 0.0, 1.0, 1.0), self.crop)[2] <= MAX_SCALE
                and abs(self.crop.shift_y) <= MAX_SCALE
            ),
        }
        wrong = ", ".join(
            f"{name}={getattr(self, name)!r}" for name, is_sound in sound.items() if not is_sound
        )
        if wrong:
            raise ModelError(
                f"the model's input format has {wrong}: damaged or from another version"
            )

    def resize_crop(self, image: Image) -> Image:
        """The image at (size, size, 3), still RGB and uint8."""
        height, width = image.shape[:2]
        if (height, width) == (self.size, self.size):
            return image
        scale = self.size / max(height, width)
        target = (self.size, self.size)
        if self.resize == "letterbox":
            target = (max(1, round(width * scale)), max(1, round(height * scale)))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        small = cv2.resize(image, target, interpolation=how)
        if small.shape[:2] == (self.size, self.size):
            return np.asarray(small, np.uint8)
        canvas = np.zeros((self.size, self.size, 3), np.uint8)
        top, left = (self.size - small.shape[0]) // 2, (self.size - small.shape[1]) // 2
        canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
        return canvas

    def batch(self, crops: Sequence[Image]) -> Image:
        """Crops of any size as one batch: RGB, uint8, (N, size, size, 3)."""
        return np.stack([self.resize_crop(crop) for crop in crops])

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "InputFormat":
        """The inverse of `to_dict`.

        Raises:
            ModelError: a key is unknown or missing, or a value is of another kind or out of range.
        """
        try:
            crop = CropRule(**values["crop"])
            rest = {key: value for key, value in values.items() if key != "crop"}
            return cls(
                **{**rest, "mean": tuple(rest["mean"]), "std": tuple(rest["std"]), "crop": crop}
            )
        except (KeyError, TypeError, OverflowError) as error:
            raise ModelError(
                f"the model's input format is incomplete or from another version ({error})"
            ) from error


class CropModel(Protocol):
    """Anything that judges crops: an ONNX file or a torch checkpoint."""

    name: str
    format: InputFormat

    @property
    def params(self) -> int:
        """Number of parameters."""
        ...

    def logits(self, crops: Sequence[Image]) -> npt.NDArray[np.float32]:
        """One forgery logit per crop, (N,), before calibration."""
        ...


class CalibratedModel(CropModel, Protocol):
    """A model that says what its logits are worth, and from where on it answers REAL or FAKE."""

    @property
    def calibration(self) -> Calibration:
        """From logits to probabilities."""
        ...

    @property
    def thresholds(self) -> Thresholds:
        """From probabilities to answers."""
        ...


class Scorer:
    """A trained ONNX model: uint8 RGB crops in, forgery logits out. It is a `CropModel`."""

    def __init__(
        self,
        path: Path,
        content: bytes,
        *,
        threads: int | None = None,
        runtime: str = "onnxruntime",
        device: str = "cpu",
    ) -> None:
        self.path = path
        self.runtime = runtime
        self.sha256, seal = hashes_of(content)
        self.metadata, outputs, self._session = _open(path, content, seal, threads, runtime, device)
        self.name: str = self.metadata["name"]
        self.params: int = self.metadata["params"]
        self.macs: int = self.metadata["macs"]
        try:
            self.format = InputFormat.from_dict(self.metadata["input"])
            self.calibration = Calibration.from_dict(self.metadata["calibration"])
            self.thresholds = Thresholds.from_dict(self.metadata["thresholds"])
        except (ModelError, OverflowError) as error:
            raise ModelError(f"{path}: {error}; export it again") from error
        self.has_evidence = "evidence" in outputs
        """Whether the model tells where in a crop its logit comes from."""
        self.bytes = len(content)

    @classmethod
    def load(
        cls,
        name_or_path: str | Path,
        *,
        threads: int | None = None,
        runtime: str = "onnxruntime",
        device: str = "cpu",
    ) -> "Scorer":
        """A shipped model by its name, or an ONNX file by its path.

        Args:
            name_or_path: such as `deepkd-nano` or `runs/nano/model.onnx`.
            threads: runtime threads; None takes all cores.
            runtime: what computes, of `RUNTIMES`.
            device: `cpu`, or `cuda` for the runtime `onnxruntime`.

        Raises:
            ModelError: it is missing, damaged, of another kind, or was never trained.
            UsageError: the runtime is not installed, or cannot use the device.
        """
        name, path = f"{name_or_path}.onnx", Path(name_or_path)
        choices = f"give an .onnx file or one of {', '.join(shipped_students())}"
        try:
            if name in checksums():
                path = shipped_file(name)
            elif path.is_dir():
                raise ModelError(
                    f"{path}: is a folder; of a run, make: deepkd export {path} --out model.onnx"
                )
            elif not path.is_file():
                raise ModelError(f"{path}: no such model; {choices}")
            content = path.read_bytes()
        except OSError as error:
            raise ModelError(f"{path}: cannot be read ({error.strerror}); {choices}") from error
        return cls(path, content, threads=threads, runtime=runtime, device=device)

    def logits(self, crops: Sequence[Image]) -> npt.NDArray[np.float32]:
        """One forgery logit per crop (RGB, uint8, any size), (N,), before calibration.

        Raises:
            ModelError: it tells classes apart, and not REAL from FAKE.
        """
        refuse_classes(self.name, self.classes)
        if not crops:
            return np.zeros(0, np.float32)
        return self._run(["logit"], crops)[0].reshape(-1)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that it tells apart; () for a model that gives a forgery logit."""
        return tuple(self.metadata.get("classes", ()))

    def class_logits(self, pictures: Sequence[Image]) -> npt.NDArray[np.float32]:
        """A logit per class of each picture (RGB, uint8, any size), (N, classes)."""
        return self._run(["logit"], pictures)[0]

    def evidence(
        self, crops: Sequence[Image]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """The logits, (N,), and the logit of each place of the crops, (N, h, w).

        Only for at least one crop, and for models that have evidence.
        """
        logits, places = self._run(["logit", "evidence"], crops)
        return logits.reshape(-1), places

    def _run(self, names: list[str], crops: Sequence[Image]) -> list[npt.NDArray[np.float32]]:
        """The named outputs for at least one crop, `BATCH` crops at a time."""
        parts = [
            self._session.run(names, self.format.batch(crops[start : start + BATCH]))
            for start in range(0, len(crops), BATCH)
        ]
        return [np.concatenate(part).astype(np.float32) for part in zip(*parts, strict=True)]

    def probabilities(self, crops: Sequence[Image]) -> npt.NDArray[np.float64]:
        """Calibrated probability of forgery per crop, (N,)."""
        return np.asarray(self.calibration.probability(self.logits(crops)), np.float64)


def classes_of(model: CropModel) -> tuple[str, ...]:
    """The classes that a model tells apart; () for one that gives a forgery logit."""
    return tuple(getattr(model, "classes", ()))


def raw_logits(model: CropModel, crops: Sequence[Image]) -> npt.NDArray[np.float32]:
    """The logits of any model: of forgery, (N,), or one per class, (N, classes)."""
    if classes_of(model):
        found: npt.NDArray[np.float32] = model.class_logits(crops)  # type: ignore[attr-defined]
        return found
    return model.logits(crops)


def refuse_classes(name: str, classes: Sequence[str]) -> None:
    """Refuse a model that tells classes apart where a forgery logit is needed.

    Raises:
        ModelError: there are classes.
    """
    if classes:
        raise ModelError(
            f"{name}: tells {len(classes)} classes apart ({classes[0]}, ...), not REAL from FAKE;"
            " `deepkd evaluate` on pictures of its classes measures it"
        )


def is_onnx(name_or_path: str | Path) -> bool:
    """Whether this is for `Scorer.load`: an ONNX file, or the name of a shipped model."""
    return Path(name_or_path).suffix == ".onnx" or f"{name_or_path}.onnx" in checksums()


def _open(
    path: Path, content: bytes, seal: str | None, threads: int | None, runtime: str, device: str
) -> tuple[dict[str, Any], set[str], Runtime]:
    """The metadata of a file that is deepkd's, the names of its outputs, and what computes them."""
    if path.suffix != ".onnx":
        raise ModelError(
            f"{path}: not an .onnx file; make one with 'deepkd export RUN --out model.onnx'"
        )
    own = runtime == "onnxruntime"
    if device == "cuda" and not own:
        raise UsageError(f"runtime '{runtime}' runs on the CPU; choose onnxruntime for device cuda")
    try:
        opened = OnnxRuntime(
            content, threads, optimise=own, device=device
        )  # another runtime's file is looked at with it, too
        raw = opened.session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    except (ImportError, AttributeError, UsageError):
        raise  # the runtime's trouble, not the file's
    except (
        Exception
    ) as error:  # the runtime raises its own unrelated classes, some straight from C++
        raise ModelError(f"{path}: damaged or not an ONNX model; export it again") from error
    inputs = {item.name: (item.type, item.shape) for item in opened.session.get_inputs()}
    outputs = {item.name for item in opened.session.get_outputs()}
    kind, shape = inputs.get("crops", ("", []))
    if raw is None or len(inputs) != 1 or kind != "tensor(uint8)" or "logit" not in outputs:
        raise ModelError(
            f"{path}: an ONNX model, but not one of deepkd's; make one with 'deepkd export'"
        )
    metadata = _check_metadata(path, raw)
    size = metadata["input"].get("size")
    if not _takes(shape, size):
        raise ModelError(
            f"{path}: its metadata says size={size}, and its network takes {shape}; export it again"
        )
    if SEAL_KEY in metadata and metadata[SEAL_KEY] != seal:
        raise ModelError(
            f"{path}: damaged: not the bytes that were exported; export it again or copy it again"
        )
    return metadata, outputs, opened if own else start(runtime, path, content, threads)


def _takes(shape: Sequence[int | str | None], size: Any) -> bool:
    """Whether a network's declared input is crops (N, size, size, 3)."""
    fixed = {place: given for place, given in enumerate(shape) if isinstance(given, int)}
    return len(shape) == 4 and fixed.items() <= {1: size, 2: size, 3: 3}.items()


def _check_metadata(path: Path, raw: str) -> dict[str, Any]:
    try:
        metadata = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: its metadata is not JSON; export it again") from error
    if not isinstance(metadata, dict) or metadata.get("schema") != METADATA_SCHEMA:
        raise ModelError(
            f"{path}: its metadata is not of schema {METADATA_SCHEMA}; export it with this version"
        )
    missing = {*KINDS, "trained"} - metadata.keys()
    if missing:
        raise ModelError(
            f"{path}: its metadata lacks {', '.join(sorted(missing))}; export it again"
        )
    wrong = [
        f"{key} that is no {kind.__name__}"
        for key, kind in KINDS.items()
        if type(metadata[key]) is not kind
    ]
    if wrong:
        raise ModelError(f"{path}: its metadata has {', '.join(wrong)}; export it again")
    if metadata["trained"] is not True:
        raise ModelError(
            f"{path}: its weights were never trained, so its scores mean nothing; train it first"
        )
    return metadata
