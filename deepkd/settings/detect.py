"""Settings of `deepkd detect`."""

import math
from dataclasses import dataclass
from typing import ClassVar

from deepkd.config import Config, setting
from deepkd.errors import ConfigError
from deepkd.languages import LANGUAGES
from deepkd.settings.choices import DETECTORS, DEVICES, REPORTS, RULES, RUNTIMES

EVERY_S, MOST_FRAMES = 0.8, 1500
"""Longest time between two sampled frames, seconds, and the number of frames (20 minutes) from
which it grows."""
LEAST_EVERY_S = 0.001
"""Shortest time between two sampled frames, seconds."""


@dataclass(frozen=True)
class DetectConfig(Config):
    """`deepkd detect`: clips to verdicts."""

    command: ClassVar[str] = "detect"

    model: str = setting("deepkd-nano", "Name of a shipped model, or path of an ONNX file.")
    runtime: str = setting(
        "onnxruntime",
        "Library that runs the model; openvino needs `pip install 'deepkd\\[openvino]'`.",
        choices=RUNTIMES.names,
    )
    frames: int = setting(
        16, "Least number of frames to sample from each clip, evenly spaced.", low=1
    )
    every_s: float | None = setting(
        None,
        "Longest time between two sampled frames, seconds, so that a short forgery in a long clip"
        f" is seen; 0 for no limit. By default {EVERY_S}, or longer in a clip that would need over"
        f" {MOST_FRAMES} frames.",
        low=0,
        rare=True,
    )
    single_look: bool = setting(
        False, "Do not sample more frames around a frame that looks forged.", rare=True
    )
    min_frames: int = setting(
        3,
        "Number of frames in which a person must be clearly visible to get a verdict; an image "
        "needs one.",
        low=1,
        rare=True,
    )
    rule: str = setting(
        "mean-logit",
        "How frame scores become a verdict; upstream is the rule published with Cross Efficient "
        "ViT: no calibration, its own thresholds, and every face counts.",
        choices=RULES.names,
        rare=True,
    )
    threshold_fake: float | None = setting(
        None,
        "From this probability a person counts as FAKE; by default the model's own.",
        low=0,
        high=1,
        rare=True,
    )
    threshold_real: float | None = setting(
        None,
        "Up to this probability a person counts as REAL; by default the model's own.",
        low=0,
        high=1,
        rare=True,
    )
    detector: str = setting("mtcnn", "Face detector.", choices=DETECTORS.names, rare=True)
    device: str = setting(
        "auto",
        "Device of the model and of the face detector mtcnn-torch; cuda needs onnxruntime-gpu.",
        choices=DEVICES,
        rare=True,
    )
    trust_anchors: str | None = setting(
        None,
        "PEM file of certificates that may vouch for signers of content credentials; needs `pip "
        "install 'deepkd\\[provenance]'`.",
        rare=True,
    )
    keep: str | None = setting(
        None, "Folder in which clips fetched from links are kept; else they are deleted.", rare=True
    )
    allow_private: str | None = setting(
        None,
        "Private addresses or networks that links may lead to, such as 10.1.0.0/16,192.168.1.7.",
        rare=True,
    )
    fetch_mb: float = setting(500.0, "Largest clip to fetch from a link, MB.", low=0.1, rare=True)
    fetch_timeout_s: float = setting(
        300.0, "Longest time to fetch the clip of a link, seconds.", low=1, rare=True
    )
    workers: int = setting(
        0, "Processes that judge clips in parallel; 0 uses this process only.", low=0
    )
    timeout_s: float = setting(
        600.0,
        "Longest time for one input, and for --save-video, seconds; a slower input is an ERROR. 0"
        " is no limit.",
        low=0,
        rare=True,
    )
    language: str | None = setting(
        None,
        "Language of an HTML report; by default the system's (LANG), or English.",
        choices=LANGUAGES,
    )
    format: str = setting("table", "Output format.", choices=REPORTS.names)

    def samples(self, duration_s: float) -> int:
        """The number of frames to sample from a clip of this length, seconds."""
        every_s = EVERY_S if self.every_s is None else self.every_s
        count = math.ceil(duration_s / every_s) if every_s else 0
        return max(self.frames, count if self.every_s else min(count, MOST_FRAMES))

    def check(self) -> None:
        """Refuse too many samples, crossing or unused thresholds, and what is no network."""
        _check_networks(self.allow_private)
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


def _check_networks(text: str | None) -> None:
    """Refuse a list with anything but addresses and networks."""
    if text is None:
        return
    from ipaddress import ip_network

    try:
        for each in text.split(","):
            ip_network(each.strip())
    except ValueError as error:
        raise ConfigError(
            f"allow_private={text}: {error}; give addresses or networks, such as 10.1.0.0/16"
        ) from error
