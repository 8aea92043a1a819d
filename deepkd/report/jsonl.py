"""JSON Lines: one line a video, as soon as it is judged; made for `jq` and long batches."""

import json
from collections.abc import Mapping
from typing import Any, TextIO

from deepkd.report import Provenance
from deepkd.report.json import SCHEMA
from deepkd.scoring.verdict import Verdict


class JsonLinesReport:
    """Every line is an entry of `videos` with the schema's name and the model in front."""

    def __init__(self, out: TextIO, provenance: Provenance) -> None:
        self.out = out
        self._model = provenance.to_dict()

    def add(self, verdict: Verdict) -> None:
        """Write one line."""
        self.out.write(make_line(verdict, self._model))
        self.out.flush()

    def close(self) -> None:
        """Nothing is left to write."""


def make_line(verdict: Verdict, model: Mapping[str, Any]) -> str:
    """The line of a verdict; `model` is `Provenance.to_dict()`."""
    return json.dumps({"schema": SCHEMA, "model": model, **verdict.to_dict()}) + "\n"
