"""Offline: the libraries that deepkd imports send nothing, and leave nothing in the home folder."""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SWITCHES = {
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Environment variable -> the value that keeps a library from reporting its use.

ONNX Runtime reads its variable while it is imported. Its `disable_telemetry_events` comes too late,
because the import itself is reported. OpenVINO has no switch: see `import_openvino`. PyTorch,
torchvision, ONNX, OpenCV, PyAV and Matplotlib report nothing.
"""
REPORTER = "openvino_telemetry"
"""The package with which OpenVINO reports its import, if it is installed."""


def turn_off_telemetry() -> None:
    """Set the switches for this process and the processes that it starts."""
    os.environ.update(SWITCHES)


def import_openvino() -> "Any":
    """Import `openvino` while its `REPORTER` cannot be imported.

    Raises:
        ImportError: it is not installed, or cannot be loaded.
    """
    before = sys.modules.get(REPORTER)
    sys.modules[REPORTER] = None  # type: ignore[assignment]  # to import it raises ImportError
    try:
        import openvino
    finally:
        del sys.modules[REPORTER]
        if before is not None:
            sys.modules[REPORTER] = before
    return openvino


def import_matplotlib() -> "Any":
    """Import `matplotlib` with its font cache in a temporary folder.

    A folder that MPLCONFIGDIR names is used and kept.

    Raises:
        ImportError: it is not installed, or cannot be loaded.
    """
    if "matplotlib" in sys.modules or "MPLCONFIGDIR" in os.environ:
        import matplotlib.font_manager

        return matplotlib
    from deepkd.outputs import scratch

    with scratch() as folder:
        os.environ["MPLCONFIGDIR"] = str(folder)
        try:
            import matplotlib.font_manager
        finally:
            del os.environ["MPLCONFIGDIR"]
    return matplotlib
