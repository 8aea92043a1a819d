"""Offline: the libraries that deepkd imports send nothing, and leave nothing in the home folder."""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SWITCHES = {
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
"""Environment variable -> the value that keeps a library from reporting its use.

ONNX Runtime reads its own while it is imported; its function `disable_telemetry_events` comes too
late, since the import itself is reported. OpenVINO has no switch: see `import_openvino`. PyTorch,
torchvision, ONNX, OpenCV, PyAV and Matplotlib report nothing.
"""
REPORTER = "openvino_telemetry"
"""The package that OpenVINO reports its import with, where it is installed."""


def turn_off_telemetry() -> None:
    """Set the switches, for this process and those that it starts, whatever they were."""
    os.environ.update(SWITCHES)


def import_openvino() -> "Any":
    """The module `openvino`, which is kept from finding its `REPORTER`.

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
    """The module `matplotlib`; its notes on the fonts go to a folder that is removed at once.

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
