"""Results: the figures of models on one labelled set of crops or videos."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from deepkd.data.corruptions import CORRUPTIONS
from deepkd.data.index import CropRow
from deepkd.data.leakage import Overlap
from deepkd.documents import NOT_STORED, Document
from deepkd.evaluation.features import Features
from deepkd.evaluation.metrics import Array, Metrics
from deepkd.outputs import write_whole
from deepkd.text import cell, csv_writer


@dataclass(frozen=True)
class Condition(Document):
    """A model's figures on the same crops or videos, all corrupted alike."""

    perturbation: str
    """A name of `CORRUPTIONS`."""
    title: str
    level: float
    """One of its levels."""
    severity: int
    """The level's number; 1 is the mildest."""
    crops: Metrics | None
    """None where whole videos were judged."""
    videos: Metrics | None
    """None where every video has one crop, or none of them could be read."""
    unjudged: int = 0
    """Videos without a score: undecided, and in no figure but those of decisions."""
    failed: int = 0
    """Those of them that could not be read (ERROR), which are in no figure at all."""
    logits: Array | None = field(default=None, compare=False, repr=False, metadata=NOT_STORED)
    """Of the crops, in the order of the index, (N,)."""

    @classmethod
    def of(cls, name: str, level: float, **figures: Any) -> Self:
        """The figures under one level of a perturbation, by their names."""
        kind = CORRUPTIONS[name]
        severity = 1 + kind.severities.index(level)
        return cls(perturbation=name, title=kind.title, level=level, severity=severity, **figures)

    @property
    def whole(self) -> Metrics | None:
        """The figures of all rows as they were scored: of crops, else of videos; None without."""
        return self.crops or self.videos


@dataclass(frozen=True)
class Unjudged:
    """A video without a score."""

    row: CropRow
    answer: str
    """INCONCLUSIVE, NO_FACE or ERROR."""
    reason: str


@dataclass(frozen=True)
class Evaluation:
    """One model on one labelled set; `crops` or `videos` or both are measured."""

    name: str
    params: int
    rows: tuple[CropRow, ...]
    """The labelled rows with a score, in the order of the index; of videos, one row each, with its
    path as `file`."""
    unlabelled: int
    """Rows left out because they have no label."""
    labels: Array
    """1 is FAKE, 0 is REAL, (N,)."""
    logits: Array
    """(N,), before calibration."""
    probabilities: Array
    """Calibrated probability of forgery, (N,)."""
    crops: Metrics | None
    """None where whole videos were judged."""
    methods: dict[str, Metrics]
    """Forgery method -> its rows against every real row; empty where the index names no method."""
    videos: Metrics | None
    """Mean logit of each video's crops, or the verdicts on whole videos; None where every video has
    one crop."""
    datasets: dict[str, Metrics] = field(default_factory=dict)
    """Data set -> its rows; empty where there is only one."""
    unjudged: tuple[Unjudged, ...] = ()
    """Videos without a score."""
    perturbed: tuple[Condition, ...] = ()
    features: Features | None = None
    """Of some of the crops, where they were asked for."""
    training_data: float | None = 0.0
    """Share of the originals that the model was trained on; None where it does not say."""
    overlaps: tuple[Overlap, ...] = ()
    """Originals and people that the other splits of the data hold too, and those that the model was
    trained on."""
    sha256: str = ""
    """Of the model's weights."""

    @property
    def whole(self) -> Metrics:
        """The figures of all rows as they were scored: of crops, else of videos."""
        found = self.crops or self.videos
        assert found is not None
        return found

    @property
    def figures(self) -> "ModelFigures":
        """The figures, without the scores."""
        return ModelFigures(
            name=self.name,
            sha256=self.sha256,
            params=self.params,
            training_data=self.training_data,
            overlaps=self.overlaps,
            crops=self.crops,
            methods=self.methods,
            datasets=self.datasets,
            videos=self.videos,
            unjudged=dict(Counter(one.answer for one in self.unjudged)),
            robustness=self.perturbed,
            v_score=round(self.features.v_score, 6) if self.features else None,
        )

    def to_dict(self) -> dict[str, object]:
        """The figures as plain values for JSON."""
        return self.figures.to_dict()


@dataclass(frozen=True)
class ModelFigures(Document):
    """The figures of one model, as in the document; see `Evaluation`."""

    name: str
    sha256: str
    params: int
    training_data: float | None
    overlaps: tuple[Overlap, ...]
    crops: Metrics | None
    methods: dict[str, Metrics]
    datasets: dict[str, Metrics]
    videos: Metrics | None
    unjudged: dict[str, int]
    """Answer -> videos that got it and no score."""
    robustness: tuple[Condition, ...]
    v_score: float | None

    @property
    def whole(self) -> Metrics:
        """The figures of all rows as they were scored: of crops, else of videos."""
        found = self.crops or self.videos
        assert found is not None
        return found


@dataclass(frozen=True)
class EvaluationDocument(Document):
    """The figures of several models on the same data."""

    schema: ClassVar[str] = "deepkd.evaluate/1"

    data: str
    split: str
    unlabelled: int
    models: tuple[ModelFigures, ...]


def distinct_names(names: Sequence[str], paths: Sequence[str] | None = None) -> list[str]:
    """Distinct names: equal ones get the nearest folder that differs, else a number.

    Args:
        names: of the models.
        paths: where they come from, same length.
    """
    known = list(zip(names, paths or [""] * len(names), strict=True))
    shown = [f"{name}{_mark(path, [p for n, p in known if n == name])}" for name, path in known]
    total, seen = Counter(shown), Counter[str]()
    numbered = []
    for name in shown:
        seen[name] += 1
        numbered.append(f"{name} #{seen[name]}" if total[name] > 1 else name)
    return numbered


def _mark(path: str, rivals: Sequence[str]) -> str:
    """The nearest folder that no rival shares, else the file's name, else nothing."""
    if len(rivals) < 2:
        return ""
    own = _folders(path)
    endings = (own[-count:] for count in range(1, len(own) + 1))
    apart = (
        ending[0]
        for ending in endings
        if sum(_folders(rival)[-len(ending) :] == ending for rival in rivals) == 1
    )
    alone = [Path(rival).name for rival in rivals].count(Path(path).name) == 1
    part = next(apart, Path(path).name if alone else "")
    return f" ({part})" if part else ""


def _folders(path: str) -> tuple[str, ...]:
    """The folders of a path; a name without an ending is a run folder or a shipped model."""
    return (Path(path).parent if Path(path).suffix else Path(path)).parts


def write_scores(path: Path, evaluations: Sequence[Evaluation]) -> None:
    """Write `file,label,score` per crop or video; the score is the probability of forgery.

    Names of files are those of the index, byte by byte, so that both can be joined: a spreadsheet,
    which may run a name that begins like a formula, is better given `--format csv`.

    With several models the rows of each follow one another, and a fourth column, `model`, names it.
    Of videos there are `answer` and `reason`, too: those of a video without a score; they are empty
    where there is one.

    Raises:
        OutputError: the file cannot be written.
    """
    several, whole = len(evaluations) > 1, evaluations[0].crops is None
    with (
        write_whole(path) as beside,
        beside.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        write = csv_writer(file).writerow
        write(
            [
                "file",
                "label",
                "score",
                *(["model"] if several else []),
                *(["answer", "reason"] if whole else []),
            ]
        )
        for found in evaluations:
            model = [cell(found.name)] if several else []
            for row, score in zip(found.rows, found.probabilities, strict=True):
                write([row.file, row.label, f"{score:.6g}", *model, *(["", ""] if whole else [])])
            for one in found.unjudged:
                write([one.row.file, one.row.label, "", *model, one.answer, cell(one.reason)])
