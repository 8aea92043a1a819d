"""JSON: one document of schema deepkd.detect/1."""

import json
from typing import TextIO

from deepkd.report import Provenance
from deepkd.scoring.verdict import Verdict

SCHEMA = "deepkd.detect/1"


class JsonReport:
    """Writes each video as it comes; the document is whole once closed."""

    def __init__(self, out: TextIO, provenance: Provenance) -> None:
        self.out = out
        self._between = "\n"
        head = json.dumps({"schema": SCHEMA, "model": provenance.to_dict()})
        out.write(f'{head[:-1]},\n "videos": [')

    def add(self, verdict: Verdict) -> None:
        """Write one entry of `videos`, on a line of its own."""
        self.out.write(f"{self._between}  {json.dumps(verdict.to_dict())}")
        self._between = ",\n"

    def close(self) -> None:
        """End the document."""
        self.out.write("\n ]}\n")
        self.out.flush()
