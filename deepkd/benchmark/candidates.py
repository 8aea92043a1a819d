"""Contenders: models opened for a benchmark, each in the runtime that it is measured in."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from deepkd.errors import ConfigError, ModelError
from deepkd.images import Image
from deepkd.scoring.model import CropModel, InputFormat, Scorer, is_onnx, raw_logits
from deepkd.scoring.runtimes import start
from deepkd.scoring.seal import SEAL_KEY
from deepkd.settings.choices import MODELS
from deepkd.shipped import shipped_students

if TYPE_CHECKING:
    from deepkd.models.registry import TorchModel

TEACHER = "cross-efficient-vit"
"""The teacher unless another is named: its published architecture, untrained, for its size and
speed."""
STUDENT = "deepkd-nano"
"""The student unless another is named: the shipped one."""

PASSING = {"name", "deepkd", "macs", SEAL_KEY}
"""What may differ between exports of one checkpoint: the name they were given, and what other
versions make of them."""
SAME_LOGITS = 1e-3
"""Largest difference of a checkpoint's logits from its export's, which may have been made on
another machine."""


@dataclass(frozen=True)
class Candidate:
    """A model in a runtime."""

    name: str
    role: str
    """`teacher`, `student` or `other`."""
    runtime: str
    """`torch`, or one of `RUNTIMES`."""
    model: CropModel
    source: str
    """What to open again for the measure of memory: a path, or a name of the registry."""
    params: int
    macs: int
    bytes: int
    """Of the file; of the tensors, for a model that has no file."""
    trained: bool
    twin: bool = False
    """Whether it is the same model once more, in a runtime that it is not deployed in."""


class Session:
    """An ONNX file run for its speed alone; unlike a `Scorer`, it may be untrained."""

    def __init__(
        self,
        path: Path,
        *,
        name: str,
        format: InputFormat,
        params: int,
        threads: int,
        runtime: str = "onnxruntime",
    ) -> None:
        self.name, self.format, self.params = name, format, params
        self._session = start(runtime, path, path.read_bytes(), threads)

    def logits(self, crops: Sequence[Image]) -> npt.NDArray[np.float32]:
        """One logit per crop, (N,), that means nothing."""
        return np.asarray(self._session.run(["logit"], self.format.batch(crops))[0]).reshape(-1)


def open_model(
    argument: str, *, threads: int, runtime: str = "onnxruntime"
) -> "TorchModel | Scorer":
    """A trained model from a run folder, a file or a shipped name; else an untrained one.

    An untrained one is named as in the registry.

    Raises:
        ModelError: nothing of that name, or a file that cannot be used.
    """
    path = Path(argument)
    if is_onnx(argument):
        return Scorer.load(argument, threads=threads, runtime=runtime)
    from deepkd.models.checkpoints import load_checkpoint
    from deepkd.models.registry import build_model, check_network

    if path.exists() or path.suffix in {".safetensors", ".pth", ".pt"} or len(path.parts) > 1:
        return load_checkpoint(path)
    try:
        model = build_model(argument)
        check_network(model)
        return model
    except ConfigError as error:
        names = ", ".join([*shipped_students(), *MODELS])
        raise ModelError(
            f"{argument}: no such file or model; choose from {names}, or any timm classifier"
        ) from error


def open_candidates(
    argument: str, role: str, folder: Path, *, threads: int, runtime: str = "onnxruntime"
) -> list[Candidate]:
    """A model as it is deployed, and a teacher that is a torch model as an ONNX file too.

    Args:
        argument: run folder, file, shipped name or registry name; a student's run folder stands for
            the `model.onnx` in it, where that is the run's own export.
        role: `teacher`, `student` or `other`; a student is deployed as an ONNX file, whatever it is
            given as.
        folder: where exports go that are made for the measurement only.
        threads: of the runtime.
        runtime: what computes ONNX files.

    Raises:
        ModelError: nothing of that name, or a file that cannot be used.
    """
    if role == "student" and Path(argument).is_dir():
        argument = str(_export_of(Path(argument)) or argument)
    model = open_model(argument, threads=threads, runtime=runtime)
    if isinstance(model, Scorer):
        return [_from_scorer(model, role)]
    deployed = _from_torch(model, argument, role)
    if role == "other":
        return [deployed]
    twin = export_candidate(deployed, folder, threads=threads, runtime=runtime)
    return [replace(twin, twin=False)] if role == "student" else [deployed, twin]


def _export_of(run: Path) -> Path | None:
    from deepkd.models.checkpoints import WEIGHTS_FILE

    return export_beside(run / WEIGHTS_FILE)


def export_beside(checkpoint: Path) -> Path | None:
    """The ONNX file of a checkpoint's name in its folder, if it is the checkpoint's export."""
    from deepkd.models.checkpoints import load_checkpoint

    path = checkpoint.with_suffix(".onnx")
    if checkpoint.suffix == ".onnx" or not path.is_file():
        return None
    try:
        model = load_checkpoint(checkpoint)
    except ModelError:
        return None
    return path if is_export(path, model) else None


def is_export(path: Path, model: "TorchModel") -> bool:
    """Whether an ONNX file is a checkpoint's export: both have the same metadata and logits.

    A file that cannot be used is no export.
    """
    from deepkd.models.export import onnx_metadata

    try:
        scorer = Scorer.load(path)
    except ModelError:
        return False
    said = [
        _comparable_metadata(metadata)
        for metadata in (scorer.metadata, json.loads(json.dumps(onnx_metadata(model))))
    ]
    if said[0] != said[1]:
        return False
    size = model.format.size
    crops = list(np.random.default_rng(0).integers(0, 256, (3, size, size, 3), np.uint8))
    return bool(np.abs(raw_logits(scorer, crops) - raw_logits(model, crops)).max() <= SAME_LOGITS)


def _comparable_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What a file says of its model, without what two exports of one checkpoint may differ in."""
    return {key: value for key, value in metadata.items() if key not in PASSING}


def _from_scorer(model: Scorer, role: str) -> Candidate:
    return Candidate(
        name=model.name,
        role=role,
        runtime=model.runtime,
        model=model,
        source=str(model.path),
        params=model.params,
        macs=model.macs,
        bytes=model.bytes,
        trained=True,
    )


def _from_torch(model: "TorchModel", argument: str, role: str) -> Candidate:
    return Candidate(
        name=model.name if model.trained else f"{model.name} (untrained)",
        role=role,
        runtime="torch",
        model=model,
        source=argument,
        params=model.params,
        macs=model.macs,
        bytes=_bytes_of(model, Path(argument)),
        trained=model.trained,
    )


def _bytes_of(model: "TorchModel", path: Path) -> int:
    from deepkd.models.checkpoints import WEIGHTS_FILE

    file = path / WEIGHTS_FILE if path.is_dir() else path
    if model.trained:
        return file.stat().st_size
    return sum(
        tensor.numel() * tensor.element_size() for tensor in model.module.state_dict().values()
    )


def export_candidate(
    candidate: Candidate, folder: Path, *, threads: int, runtime: str = "onnxruntime"
) -> Candidate:
    """The same torch model as an ONNX file."""
    from deepkd.models.export import export_onnx

    torch_model: Any = candidate.model
    path = export_onnx(torch_model, folder / f"{candidate.role}.onnx")
    size = path.stat().st_size
    twin = replace(candidate, runtime=runtime, source=str(path), bytes=size, twin=True)
    return replace(twin, model=open_onnx(twin, threads=threads))


def open_onnx(candidate: Candidate, *, threads: int) -> CropModel:
    """The ONNX file of a candidate, opened for a number of threads."""
    if candidate.trained:
        return Scorer.load(candidate.source, threads=threads, runtime=candidate.runtime)
    return Session(
        Path(candidate.source),
        name=candidate.name,
        format=candidate.model.format,
        params=candidate.params,
        threads=threads,
        runtime=candidate.runtime,
    )
