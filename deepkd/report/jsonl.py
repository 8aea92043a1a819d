"""JSON Lines: one line a video, as soon as it is judged; made for `jq` and long batches."""

import json
from typing import TextIO

from deepkd.report import Provenance
from deepkd.report.json import SCHEMA
from deepkd.scoring.verdict import Verdict


class JsonLinesReport:
    """Every line is an entry of `videos` with the schema's name and the model in front."""

    def __init__(self, out: TextIO, provenance: Provenance) -> None:
        self.out = out
        self._head = {"schema": SCHEMA, "model": provenance.to_dict()}

    def add(self, verdict: Verdict) -> None:
        """Write one line."""
        self.out.write(json.dumps({**self._head, **verdict.to_dict()}) + "\n")
        self.out.flush()

    def close(self) -> None:
        """Nothing is left to write."""
