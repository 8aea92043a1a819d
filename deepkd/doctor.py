"""Doctor: is this installation able to judge a video, and what else can it do?"""

import importlib
import importlib.util
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from deepkd import __version__
from deepkd.environment import explain_failure, origin
from deepkd.errors import DeepKDError
from deepkd.machine import cores, cpu, package_version

SCHEMA = "deepkd.doctor/1"
STUDENT = "deepkd-nano"
CORE = {
    "av": "av",
    "cv2": "opencv-python-headless",
    "jinja2": "jinja2",
    "numpy": "numpy",
    "onnxruntime": "onnxruntime",
    "rich": "rich",
    "typer": "typer",
}
"""Module -> package of what `deepkd detect` needs."""
OPTIONAL = {"openvino": "openvino", "c2pa-python": "provenance", "yt-dlp": "url"}
"""Package -> the extra that adds it to `deepkd detect`."""
TRAINING = (
    "torch", "torchvision", "torch-pruning", "timm", "efficientnet-pytorch", "facenet-pytorch",
    "safetensors", "scikit-learn", "matplotlib", "onnx",
)  # fmt: skip
"""Packages that the `train` extra adds."""
DECODERS = {
    "h264": True,
    "hevc": False,
    "vp9": False,
    "libdav1d": False,
    "mpeg4": False,
    "mjpeg": False,
}
"""Codec -> whether the analyst cannot do without it."""
ENCODERS = ("libvpx-vp9", "libx264")
FACES = {
    "skimage": "data/astronaut.png",
    "matplotlib": "mpl-data/sample_data/grace_hopper.jpg",
}
"""Installed package -> public-domain portrait inside it, with one face."""
TOLERANCE = 0.02
"""Of a logit, between two machines: they add in other orders."""


@dataclass(frozen=True)
class Check:
    """One finding."""

    group: str
    name: str
    ok: bool
    needed: bool
    """Whether `deepkd detect` needs it."""
    detail: str
    """A version, a value, or what is wrong and what to do."""


def examine() -> list[Check]:
    """Every check, in the order to show them; a check that fails never stops the others."""
    return [check for group in GROUPS for check in group()]


def usable(checks: list[Check]) -> bool:
    """Whether `deepkd detect` can work: all that it needs is there."""
    return all(check.ok for check in checks if check.needed)


def to_document(checks: list[Check]) -> dict[str, Any]:
    """The findings as one JSON document."""
    return {
        "schema": SCHEMA,
        "usable": usable(checks),
        "checks": [asdict(check) for check in checks],
    }


def _versions() -> Iterator[Check]:
    yield Check("versions", "deepkd", True, True, __version__)
    yield Check(
        "versions", "python", True, True, f"{platform.python_version()}, {platform.platform()}"
    )
    for module, package in CORE.items():
        yield _attempt("versions", package, True, partial(_try_import, module, package))
    for package, extra in OPTIONAL.items():
        found = package_version(package)
        missing = f"not installed (pip install 'deepkd[{extra}]')"
        yield Check("versions", package, found is not None, False, found or missing)
    for package in TRAINING:
        found = package_version(package)
        yield Check(
            "training",
            package,
            found is not None,
            False,
            found or "not installed (pip install 'deepkd[train]')",
        )


def _try_import(module: str, package: str) -> str:
    loaded = importlib.import_module(module)
    known = str(getattr(loaded, "__version__", "version unknown"))
    led = origin(getattr(loaded, "__file__", None) or "")
    return f"{known}; {led}" if led else package_version(package) or known


def _devices() -> Iterator[Check]:
    yield Check("devices", "CPU", True, True, f"{cpu()}, {cores()} cores")
    yield _attempt("devices", "ONNX Runtime providers", True, _providers)
    if package_version("torch"):
        yield _attempt("devices", "CUDA (PyTorch)", False, _cuda)


def _providers() -> str:
    import onnxruntime

    return ", ".join(onnxruntime.get_available_providers())


def _cuda() -> str:
    import torch

    if not torch.cuda.is_available():
        raise DeepKDError("PyTorch finds no CUDA device; training runs on the CPU")
    return ", ".join(
        torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())
    )


def _codecs() -> Iterator[Check]:
    for name, needed in DECODERS.items():
        yield _attempt("decoders", name, needed, partial(_codec, name, "r"))
    for name in ENCODERS:
        yield _attempt("encoders", name, False, partial(_codec, name, "w"))


def _codec(name: str, mode: str) -> str:
    import av

    try:
        return str(av.Codec(name, mode).long_name)  # type: ignore[arg-type]
    except ValueError as error:
        raise DeepKDError(
            "missing from this build of PyAV; install the wheel: pip install --force av"
        ) from error


def _models() -> Iterator[Check]:
    from deepkd.shipped import checksums

    try:
        names = sorted({*checksums(), f"{STUDENT}.onnx"})
    except DeepKDError as error:
        yield Check("models", "shipped weights", False, True, str(error))
        return
    others = {f"{name}.onnx" for name in _other_students()}
    for name in names:
        yield _attempt("models", name, name not in others, partial(_verify, name))


def _other_students() -> list[str]:
    """The shipped students besides the default one; none where their list is damaged."""
    from deepkd.shipped import shipped_students

    try:
        return [name for name in shipped_students() if name != STUDENT]
    except DeepKDError:
        return []


def _verify(name: str) -> str:
    from deepkd.shipped import shipped_file

    return f"SHA-256 verified, {shipped_file(name).stat().st_size / 1e6:.2f} MB"


def _self_checks() -> Iterator[Check]:
    yield _attempt("self-check", "find a face", True, _find_face)
    yield _attempt("self-check", "score a crop", True, partial(_score_crop, STUDENT))
    for name in _other_students():
        yield _attempt("self-check", f"score a crop by {name}", False, partial(_score_crop, name))


def _find_face() -> str:
    import cv2
    import numpy as np

    from deepkd.video.faces import load_detector

    detector = load_detector("mtcnn")
    for package, file in FACES.items():
        spec = importlib.util.find_spec(package)
        path = Path(spec.origin).parent / file if spec and spec.origin else Path()
        if path.is_file():
            picture = np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR), np.uint8)
            faces = detector.detect(np.ascontiguousarray(picture[..., ::-1]))
            if len(faces) != 1:
                raise DeepKDError(
                    f"{len(faces)} faces found in {path.name}, which shows one; reinstall deepkd"
                )
            return f"the one face of {path.name}, probability {faces[0].probability:.3f}"
    if detector.detect(np.zeros((240, 320, 3), np.uint8)):
        raise DeepKDError("a face found in a black picture; reinstall deepkd")
    return "none in a black picture (no sample portrait is installed)"


def _score_crop(name: str) -> str:
    from deepkd.images import pattern
    from deepkd.scoring.model import Scorer
    from deepkd.shipped import golden_logit

    scorer = Scorer.load(name)
    logit, expected = float(scorer.logits([pattern(scorer.format.size)])[0]), golden_logit(name)
    said = f"{name} answers {logit:.3f} to a picture whose score is {expected:.3f}"
    if not abs(logit - expected) <= TOLERANCE:
        raise DeepKDError(
            f"{said}: ONNX Runtime computes wrongly here; reinstall it: pip install --force"
            " onnxruntime"
        )
    return said


def _attempt(group: str, name: str, needed: bool, find: Callable[[], str]) -> Check:
    """The finding of `find`, or what it raised: a broken library may raise anything."""
    try:
        return Check(group, name, True, needed, find())
    except Exception as error:
        known = isinstance(error, DeepKDError)
        said = str(error) if known else f"{type(error).__name__}: {error}"
        why = None if known else explain_failure(error)
        return Check(group, name, False, needed, f"{said}: {why}" if why else said)


GROUPS: tuple[Callable[[], Iterator[Check]], ...] = (
    _versions,
    _devices,
    _codecs,
    _models,
    _self_checks,
)
