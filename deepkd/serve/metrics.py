"""Metrics: the text format of Prometheus."""

from collections.abc import Iterator, Mapping

from deepkd.scoring.thresholds import Label
from deepkd.serve.clips import State
from deepkd.serve.desk import Desk


def write_metrics(desk: Desk) -> str:
    """All figures, a line each."""
    judging, counters = desk.judging, desk.counters
    states = desk.store.count()
    lines = [
        *_write_family(
            "deepkd_clips", "gauge", "Clips in the store by state.",
            {f'state="{state}"': states[state] for state in State},
        ),
        *_write_family(
            "deepkd_store_bytes", "gauge", "Size of the store.", {"": desk.store.measure_size()}
        ),
        *_write_family("deepkd_arriving", "gauge", "Uploads under way.", {"": desk.arriving}),
        *_write_family(
            "deepkd_up", "gauge", "1 if clips are being judged.", {"": int(not judging.problem)}
        ),
        *_write_family("deepkd_uploads_total", "counter", "Uploads.", {"": counters.uploads}),
        *_write_family(
            "deepkd_known_uploads_total", "counter", "Uploads of content that was in the store.",
            {"": counters.known},
        ),
        *_write_family(
            "deepkd_refused_total", "counter", "Refused requests by status.",
            {f'status="{status}"': count for status, count in sorted(counters.refused.items())},
        ),
        *_write_family(
            "deepkd_verdicts_total", "counter", "Verdicts since the start.",
            {f'verdict="{label}"': judging.done[label] for label in Label},
        ),
        *_write_family(
            "deepkd_judging_seconds_total", "counter", "Time that verdicts took.",
            {"": round(judging.seconds, 3)},
        ),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _write_family(name: str, kind: str, about: str, values: Mapping[str, float]) -> Iterator[str]:
    yield f"# HELP {name} {about}"
    yield f"# TYPE {name} {kind}"
    for labels, value in values.items():
        yield f"{name}{{{labels}}} {value}" if labels else f"{name} {value}"
