"""What `deepkd detect` takes."""

import math
from dataclasses import dataclass
from typing import ClassVar

from deepkd.config import Config, setting
from deepkd.errors import ConfigError
from deepkd.settings.choices import DETECTORS, DEVICES, REPORTS, RULES, RUNTIMES

EVERY_S, MOST_FRAMES = 0.8, 1500
"""How long clips are sampled: a frame at least every so many seconds, up to so many frames (20
minutes)."""
LEAST_EVERY_S = 0.001
"""Frames are hardly ever closer together; and the number of those asked for has to be a number."""


@dataclass(frozen=True)
class DetectConfig(Config):
    """`deepkd detect`: clips to verdicts."""

    command: ClassVar[str] = "detect"

    model: str = setting("deepkd-nano", "A shipped model by its name, or an ONNX file by its path.")
    runtime: str = setting(
        "onnxruntime",
        "What computes the model; openvino takes deepkd's extra of that name.",
        choices=RUNTIMES.names,
    )
    frames: int = setting(16, "Frames sampled from each clip at least, evenly in time.", low=1)
    every_s: float | None = setting(
        None,
        "Seconds between two sampled frames at most, so that a short forgery in a long clip is"
        f" seen; 0 for no such limit. By default {EVERY_S}, and more where that gave over"
        f" {MOST_FRAMES} frames.",
        low=0,
    )
    single_look: bool = setting(False, "Do not look closer where single frames look forged.")
    min_frames: int = setting(
        3, "Frames that must show a person well before a verdict; a still is one.", low=1
    )
    rule: str = setting(
        "mean-logit",
        "How frame scores become a verdict; upstream is the rule published with Cross Efficient"
        " ViT, which uses neither calibration nor thresholds and judges every face.",
        choices=RULES.names,
    )
    threshold_fake: float | None = setting(
        None,
        "Probability from which a person counts as FAKE; by default the model's own.",
        low=0,
        high=1,
    )
    threshold_real: float | None = setting(
        None,
        "Probability up to which a person counts as REAL; by default the model's own.",
        low=0,
        high=1,
    )
    detector: str = setting("mtcnn", "Face detector.", choices=DETECTORS.names)
    device: str = setting("auto", "Where a PyTorch face detector runs.", choices=DEVICES)
    workers: int = setting(
        0, "Processes that judge clips side by side; 0 for none but this one.", low=0
    )
    timeout_s: float = setting(
        600.0,
        "Seconds that one input may take before it is an ERROR, and then --save-video for its copy;"
        " 0 for no limit.",
        low=0,
    )
    format: str = setting("table", "What to print.", choices=REPORTS.names)

    def samples(self, duration_s: float) -> int:
        """How many frames to sample of a clip so long, seconds."""
        every_s = EVERY_S if self.every_s is None else self.every_s
        count = math.ceil(duration_s / every_s) if every_s else 0
        return max(self.frames, count if self.every_s else min(count, MOST_FRAMES))

    def check(self) -> None:
        """Refuse too many samples, crossing thresholds, and thresholds that a rule does not use."""
        if self.every_s and self.every_s < LEAST_EVERY_S:
            raise ConfigError(
                f"every_s={self.every_s}: takes 0 for no such limit, or {LEAST_EVERY_S} or more"
            )
        real, fake = self.threshold_real, self.threshold_fake
        given = real is not None or fake is not None
        if given and RULES.load(self.rule).has_own_thresholds:
            raise ConfigError(
                f"rule={self.rule} has its own thresholds; leave out --threshold-fake and"
                " --threshold-real"
            )
        if real is not None and fake is not None and real > fake:
            raise ConfigError(
                f"--threshold-real {real} is above --threshold-fake {fake}; a probability between"
                " them would be both"
            )
