"""Runtimes: what computes the outputs of an ONNX file.

ONNX Runtime comes with deepkd, OpenVINO with the extra `openvino`.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from deepkd.errors import ModelError, UsageError
from deepkd.offline import import_openvino
from deepkd.settings.choices import RUNTIMES

Array = npt.NDArray[Any]


class Runtime(Protocol):
    """An ONNX file, ready to compute."""

    def run(self, names: Sequence[str], crops: npt.NDArray[np.uint8]) -> list[Array]:
        """The named outputs for crops (N, S, S, 3), each (N, ...)."""
        ...


CUDA = "CUDAExecutionProvider"
"""ONNX Runtime's name of what computes on NVIDIA's GPUs."""


class OnnxRuntime:
    """ONNX Runtime, on the CPU or with CUDA; `session` also tells what is in the file."""

    def __init__(
        self, content: bytes, threads: int | None, *, optimise: bool = True, device: str = "cpu"
    ) -> None:
        """Open a file.

        Raises:
            UsageError: the device is `cuda`, and ONNX Runtime cannot use one.
        """
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = threads or 0
        if not optimise:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        # Waiting threads would spin, and take the cores from what decodes and finds faces
        # meanwhile.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers: list[Any] = ["CPUExecutionProvider"]
        if device == "cuda":
            _check_cuda(ort.get_available_providers())
            # TF32 moves scores by more than .001.
            providers.insert(0, (CUDA, {"use_tf32": "0"}))
        self.session = ort.InferenceSession(content, options, providers=providers)
        if device == "cuda":
            _check_cuda(self.session.get_providers())

    def run(self, names: Sequence[str], crops: npt.NDArray[np.uint8]) -> list[Array]:
        """The named outputs for crops (N, S, S, 3), each (N, ...)."""
        return list(self.session.run(list(names), {"crops": crops}))


def _check_cuda(providers: Sequence[str]) -> None:
    """Make sure that CUDA is among what computes; ONNX Runtime falls back to the CPU silently."""
    if CUDA not in providers:
        raise UsageError(
            f"device 'cuda' needs ONNX Runtime with {CUDA}, and here it has"
            f" {', '.join(providers)}; pip uninstall onnxruntime, pip install onnxruntime-gpu, and"
            " check the NVIDIA driver and CUDA libraries, or choose device 'cpu'"
        )


class OpenVino:
    """OpenVINO on the CPU, in float32, so that its scores are ONNX Runtime's."""

    def __init__(self, content: bytes, threads: int | None) -> None:
        try:
            openvino = import_openvino()
        except ImportError as error:
            raise UsageError(
                "the runtime openvino is not installed; pip install 'deepkd[openvino]', or take"
                " onnxruntime"
            ) from error
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            **({"INFERENCE_NUM_THREADS": threads} if threads else {}),
        }
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(content), "CPU", settings)
        self._request = compiled.create_infer_request()
        self._lock = threading.Lock()  # a request serves one thread at a time

    def run(self, names: Sequence[str], crops: npt.NDArray[np.uint8]) -> list[Array]:
        """The named outputs for crops (N, S, S, 3), each (N, ...)."""
        with self._lock:
            found = self._request.infer({"crops": crops})
            return [np.array(found[name]) for name in names]


def start(runtime: str, path: Path, content: bytes, threads: int | None) -> Runtime:
    """A file, ready to compute in a runtime of `RUNTIMES`.

    Raises:
        ModelError: the runtime cannot take it.
        UsageError: the runtime is not installed.
    """
    try:
        return RUNTIMES.load(runtime)(content, threads)
    except UsageError:
        raise
    except Exception as error:  # each runtime raises its own unrelated classes
        reason = next(
            (line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__
        )
        raise ModelError(
            f"{path}: {runtime} cannot run it ({reason}); export it again, or take onnxruntime"
        ) from error
