"""Desk: what the API and the pages work with."""

import shutil
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deepkd.report import Provenance
from deepkd.serve.judging import Judging, make_key
from deepkd.serve.store import Store

if TYPE_CHECKING:
    from deepkd.settings.serve import ServeConfig

RESERVE = 1 << 29
"""Bytes of the disk that uploads leave free: the database needs room for verdicts and decisions."""
DAY_S = 86_400.0
GB, MB = 1e9, 1e6


@dataclass
class Counters:
    """What `/metrics` counts since the start of the server."""

    uploads: int = 0
    known: int = 0
    """Uploads whose content was in the store."""
    refused: dict[int, int] = field(default_factory=dict)
    """Status -> refused requests."""


@dataclass
class Desk:
    """The store, the workers and the limits."""

    config: "ServeConfig"
    store: Store
    judging: Judging
    provenance: Provenance
    counters: Counters = field(default_factory=Counters)
    arriving: int = 0
    """Uploads that are under way."""

    @property
    def made_with(self) -> str:
        """Key of the model and the settings that judge now."""
        return self.judging.made_with

    @property
    def max_clip(self) -> int:
        """Bytes of the largest clip that is taken."""
        return int(self.config.max_clip_mb * MB)

    def count_waiting(self) -> int:
        """Clips in the queue and on their way into it."""
        return self.store.count()["queued"] + self.arriving

    def estimate_wait_s(self) -> int:
        """Seconds until the queue has room again, about."""
        return max(1, min(120, round(self.judging.estimate_clip_s() / self.judging.workers)))

    def check_room(self, more: int) -> str:
        """Why so many more bytes cannot be stored; "" if they can."""
        limit = self.config.max_store_gb
        if self.store.measure_size() + more > limit * GB:
            return f"the store is full (--max-store-gb {limit:g}); remove clips, or raise the limit"
        if shutil.disk_usage(self.store.folder).free < more + RESERVE:
            return "the disk is full; make room on it"
        return ""

    def expire(self) -> int:
        """Remove the clips that are older than `keep_days`; the number of them."""
        days = self.config.keep_days
        return self.store.expire(time.time() - days * DAY_S) if days else 0


def open_desk(config: "ServeConfig") -> Desk:
    """Open the store and load the model once, to know that it can be loaded.

    Raises:
        ModelError, UsageError: the model or its runtime cannot be used.
        OutputError: the store cannot be used.
    """
    from deepkd.machine import cores
    from deepkd.pipeline import Detector

    judged_by = config.detect_config()
    provenance = Provenance.of(Detector.load(judged_by, threads=1))
    store = Store(config.store)
    key = make_key(provenance)
    store.keep_model(key, vars(provenance))
    config.replace(token=None, host="127.0.0.1").save(store.folder / "desk.config.json")
    workers = config.workers or max(1, cores() // 2)
    judging = Judging(
        store, judged_by, made_with=key, workers=workers, threads=max(1, cores() // workers),
        log_names=config.log_names,
    )  # fmt: skip
    return Desk(config, store, judging, provenance)


def read_provenance(store: Store, made_with: str) -> Provenance:
    """What the verdicts with this key were made with."""
    return Provenance(**store.read_model(made_with))
