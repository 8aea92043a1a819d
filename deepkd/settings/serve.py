"""Settings of `deepkd serve`."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from deepkd.config import Config, setting
from deepkd.errors import ConfigError
from deepkd.settings.detect import DetectConfig

LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""Addresses that only this machine reaches."""
LEAST_TOKEN = 16
"""Characters of the shortest token: a shorter one can be guessed."""


def _copy_setting(name: str, *, rare: bool = True) -> Any:
    """The setting of `detect` with this name."""
    item = next(item for item in dataclasses.fields(DetectConfig) if item.name == name)
    return dataclasses.field(default=item.default, metadata={**item.metadata, "rare": rare})


@dataclass(frozen=True)
class ServeConfig(Config):
    """`deepkd serve`: a review desk in the browser."""

    command: ClassVar[str] = "serve"

    host: str = setting(
        "127.0.0.1", "Address to listen on; any but this machine's own needs --token."
    )
    port: int = setting(8765, "Port to listen on; 0 takes a free one.", low=0, high=65535)
    store: Path = setting(
        Path("deepkd-desk"), "Folder for clips, verdicts and decisions; made if missing."
    )
    token: str | None = setting(
        None,
        f"Secret that every visitor gives, {LEAST_TOKEN} characters or more; safer as the variable"
        " DEEPKD_SERVE_TOKEN, which other users cannot see.",
    )
    allow_host: str | None = setting(
        None,
        "Further host names of this server, separated by commas, such as a proxy's.",
        rare=True,
    )
    workers: int = setting(
        0, "Processes that judge clips in parallel; 0 starts one per two cores.", low=0
    )
    keep_days: float = setting(
        30.0, "Days until a clip without a decision is removed; 0 keeps all.", low=0, high=36500
    )
    max_store_gb: float = setting(
        100.0, "Clips are refused while the store is larger, GB.", low=0.001
    )
    max_clip_mb: float = setting(2000.0, "Largest clip that is accepted, MB.", low=0.001)
    max_queue: int = setting(200, "Clips are refused while this number waits.", low=1)
    stall_s: float = setting(
        20.0,
        "Longest time for each 64 KB of an upload, or its headers, seconds; slower uploads are "
        "dropped.",
        low=0.1,
        rare=True,
    )
    log_names: bool = setting(False, "Name clips in the log.")
    model: str = _copy_setting("model", rare=False)
    frames: int = _copy_setting("frames", rare=False)
    timeout_s: float = setting(
        600.0,
        "Longest time for one clip, seconds; a slower clip is an ERROR. 0 is no limit.",
        low=0,
    )
    runtime: str = _copy_setting("runtime")
    every_s: float | None = _copy_setting("every_s")
    single_look: bool = _copy_setting("single_look")
    min_frames: int = _copy_setting("min_frames")
    rule: str = _copy_setting("rule")
    threshold_fake: float | None = _copy_setting("threshold_fake")
    threshold_real: float | None = _copy_setting("threshold_real")

    def detect_config(self) -> DetectConfig:
        """How clips are judged."""
        shared = {item.name for item in dataclasses.fields(DetectConfig)} - {"workers"}
        mine = {item.name for item in dataclasses.fields(self)}
        return DetectConfig(**{name: getattr(self, name) for name in shared & mine})

    def check(self) -> None:
        """Refuse an open door, a short token, and what `detect` would refuse."""
        if self.host not in LOOPBACK and self.token is None:
            raise ConfigError(
                f"--host {self.host} lets other machines in; give --token, or leave out --host"
            )
        if self.token is not None and (len(self.token) < LEAST_TOKEN or not self.token.isascii()):
            raise ConfigError(
                f"--token: takes {LEAST_TOKEN} or more plain characters, such as those that"
                " `openssl rand -hex 16` prints"
            )
        self.detect_config()
