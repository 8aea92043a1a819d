"""deepkd: deepfake detection, and a teacher-to-student pipeline that makes its models small.

    import deepkd

    verdict = deepkd.detect("clip.mp4")
    print(verdict.label, verdict.score, verdict.reason)

Each name is imported when it is first used, so `import deepkd` is quick and needs no PyTorch.
"""

from deepkd.offline import turn_off_telemetry as _turn_off_telemetry

_turn_off_telemetry()  # before a library is imported that reports its use

TYPE_CHECKING = False  # true to type checkers; to import `typing` takes most of 30 ms
if TYPE_CHECKING:
    from deepkd.errors import ConfigError as ConfigError
    from deepkd.errors import DataError as DataError
    from deepkd.errors import DeepKDError as DeepKDError
    from deepkd.errors import ImageError as ImageError
    from deepkd.errors import Interrupted as Interrupted
    from deepkd.errors import ModelError as ModelError
    from deepkd.errors import OutputError as OutputError
    from deepkd.errors import TrainingError as TrainingError
    from deepkd.errors import VideoError as VideoError
    from deepkd.pipeline import Detector as Detector
    from deepkd.pipeline import detect as detect
    from deepkd.runs import distill as distill
    from deepkd.runs import evaluate as evaluate
    from deepkd.runs import load_model as load_model
    from deepkd.runs import train as train
    from deepkd.scoring.verdict import Verdict as Verdict

__version__ = "0.2.0"
__all__ = (
    "ConfigError",
    "DataError",
    "DeepKDError",
    "Detector",
    "ImageError",
    "Interrupted",
    "ModelError",
    "OutputError",
    "TrainingError",
    "Verdict",
    "VideoError",
    "detect",
    "distill",
    "evaluate",
    "load_model",
    "train",
)

_MODULES = {
    "deepkd.pipeline": ("Detector", "detect"),
    "deepkd.runs": ("distill", "evaluate", "load_model", "train"),
    "deepkd.scoring.verdict": ("Verdict",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module 'deepkd' has no attribute '{name}'")
        import importlib

        value = getattr(importlib.import_module(_HOMES.get(name, "deepkd.errors")), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({"__version__", *__all__})
