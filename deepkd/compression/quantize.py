"""Quantize: a model in int8, in float16 and with int8 weights, each measured against float32.

AUC, or accuracy of pictures of classes, is paired (the same crops, the same resamples of their
originals), latency is taken in turn in one process. What chance does to a latency shows from
float32's twin, the same file opened and timed once more in the same turns. A variant replaces
float32 when it is faster here than chance makes that twin and its AUC or accuracy falls by no more
than is allowed; else the report says why not.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deepkd.benchmark.latency import chance_ratio, measure_ratio, median_ms, take_turns
from deepkd.compression.importance import draw_rows
from deepkd.compression.int8 import to_int8
from deepkd.compression.judging import Judgement, judge, load_judged, name_measure
from deepkd.compression.results import (
    CalibrationCrops,
    JudgedCrops,
    QuantizeDocument,
    TwinRow,
    VariantRow,
    Written,
)
from deepkd.data.clips import Warn
from deepkd.data.crops import CropSet
from deepkd.errors import ModelError
from deepkd.evaluation.metrics import Measure
from deepkd.evaluation.scores import Progress
from deepkd.machine import cores, machine
from deepkd.models.checkpoints import load_checkpoint
from deepkd.models.export import export_onnx
from deepkd.outputs import refuse_inputs_as_outputs, scratch, write_whole
from deepkd.scoring.model import Scorer, is_onnx
from deepkd.settings.choices import CONVERSIONS, INT8_METHODS
from deepkd.settings.compression import QuantizeConfig

FLOAT32 = "float32"
VARIANTS = ("int8", *CONVERSIONS)
"""int8 weights and activations; float16, for GPUs; int8 weights only, for size."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class VariantResult:
    """One variant beside float32."""

    scorer: Scorer
    judgement: Judgement
    measure: str
    """What it is judged by: see `name_measure`."""
    latency_ms: float
    ratio: Measure
    """Latency divided by float32's, with its interval."""
    twin: Measure
    """Likewise of float32's twin: what chance does."""

    @property
    def broken(self) -> int:
        """Crops with a logit that is not finite."""
        return self.judgement.broken

    def objections(self, max_drop: float) -> list[str]:
        """Why it must not replace float32; [] when it may."""
        found = [f"its logits are not finite on {self.broken} crops"] if self.broken else []
        if self.ratio.high is None or self.ratio.high >= chance_ratio(self.twin):
            chance = f"{format_ratio(self.twin)} of it"
            found.append(
                f"not faster here ({format_ratio(self.ratio)} of float32's time, float32's twin"
                f" {chance})"
            )
        change = self.judgement.change.value or 0.0
        if change < -max_drop:
            found.append(f"{self.measure} falls by {-change:.4f}, more than {max_drop:g}")
        return found


def quantize(
    argument: str,
    data: Path,
    out: Path,
    config: QuantizeConfig,
    *,
    say: Say = lambda _: None,
    warn: Warn = lambda _: None,
    progress: Progress = lambda _done, _total: None,
) -> QuantizeDocument:
    """Make and measure every variant; write the fastest that may replace float32.

    Args:
        argument: a run folder, a checkpoint, an ONNX file or a shipped name.
        data: labelled crops, or pictures of classes.
        out: ONNX file to write; it is left alone where no variant may replace float32.
        config: crops, runs, limits, which variant to keep.
        say: told what happens next.
        warn: told where the model does not list what it was trained on.
        progress: told after each turn of the timing.

    Raises:
        ModelError: the model cannot be used.
        ConfigError, DataError: the crops cannot be used, are of one class, or trained or calibrate
            what they judge.
        OutputError: the file cannot be written, or is the model itself.
    """
    threads = config.threads or cores()
    where = machine(threads)
    with scratch() as folder:
        source = _float32(argument, folder, out)
        shown, judged, share = load_judged(data, config, source, warn)
        shown = shown.subset(draw_rows(shown, config.samples, seed=config.seed))
        files, distances = _convert(source.path, shown, config, folder, say)
        compared = {FLOAT32: source.path, **files}
        trials, twin = _measure(compared, judged, config, threads, say, progress)
        written = _write_choice(files, trials, out, config)
    return QuantizeDocument(
        machine=where,
        calibration=CalibrationCrops(config.calibrate_on, len(shown), distances),
        data=JudgedCrops(config.split, len(judged), share),
        max_drop=config.max_drop,
        models=tuple(_row(name, trial, config) for name, trial in trials.items()),
        twin=twin,
        written=written,
    )


def as_onnx(argument: str, folder: Path) -> Path:
    """The ONNX file of a model: its own, or one exported to `folder`."""
    if is_onnx(argument):
        return Scorer.load(argument).path
    return export_onnx(load_checkpoint(Path(argument)), folder / "float32.onnx")


def _float32(argument: str, folder: Path, out: Path) -> Scorer:
    """The same, opened, if no arithmetic was made cheaper in it yet and `out` is another file."""
    source = Scorer.load(as_onnx(argument, folder))
    refuse_inputs_as_outputs([out], [source.path])
    made = source.metadata.get("quantized")
    if made:
        raise ModelError(
            f"{argument}: quantised already ({made['variant']}); give the float32 model it was"
            " made of"
        )
    return source


def _convert(
    source: Path, shown: CropSet, config: QuantizeConfig, folder: Path, say: Say
) -> tuple[dict[str, Path], dict[str, float]]:
    """A file of each variant, and the distances of the int8 methods that were tried."""
    files = {name: folder / f"{name}.onnx" for name in VARIANTS}
    images = [shown.image(index) for index in range(len(shown))]
    names = list(INT8_METHODS) if config.int8 == "auto" else [config.int8]
    distances = to_int8(source, files["int8"], images, names, threads=config.threads, say=say)
    for name in CONVERSIONS:
        say(name)
        CONVERSIONS.load(name)(source, files[name])
    return files, {name: round(value, 4) for name, value in distances.items()}


def _measure(
    files: dict[str, Path],
    judged: CropSet,
    config: QuantizeConfig,
    threads: int,
    say: Say,
    progress: Progress,
) -> tuple[dict[str, VariantResult], TwinRow]:
    """Each file, float32's first, beside float32, and what the document says of float32's twin."""
    scorers = {name: Scorer.load(path, threads=threads) for name, path in files.items()}
    compared = [*scorers.values(), Scorer.load(files[FLOAT32], threads=threads)]
    say(f"timing {len(compared)} models in turn, float32 twice, {config.runs} runs each")
    timings = take_turns(compared, runs=config.runs, batch=1, progress=progress)
    say(f"measuring {name_measure(judged)} on {len(judged):,} crops")
    seconds = [np.array(one.single) for one in timings]
    trials = _trials(scorers, seconds, judged, config)
    return trials, _twin(seconds[-1], trials[FLOAT32].twin)


def _trials(
    scorers: dict[str, Scorer],
    seconds: list[npt.NDArray[np.float64]],
    judged: CropSet,
    config: QuantizeConfig,
) -> dict[str, VariantResult]:
    """Each variant on the same crops and turns as float32.

    Float32 comes first in `scorers` and `seconds`; its twin's turns come last.
    """
    judgements = judge(list(scorers.values()), judged, config)
    twin = measure_ratio(seconds[-1], seconds[0], seed=config.seed)
    return {
        name: VariantResult(
            scorer,
            judgement,
            name_measure(judged),
            median_ms(taken),
            measure_ratio(taken, seconds[0], seed=config.seed),
            twin,
        )
        for (name, scorer), judgement, taken in zip(
            scorers.items(), judgements, seconds[:-1], strict=True
        )
    }


def format_ratio(ratio: Measure) -> str:
    """`0.62 [0.61, 0.64]`."""
    return f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"


def _write_choice(
    files: dict[str, Path], trials: dict[str, VariantResult], out: Path, config: QuantizeConfig
) -> Written | None:
    chosen = _choose(trials, config)
    if chosen is None:
        return None
    with write_whole(out) as beside:
        shutil.copyfile(files[chosen], beside)
    return Written(chosen, str(out), asked=config.keep != "auto")


def _choose(trials: dict[str, VariantResult], config: QuantizeConfig) -> str | None:
    """The variant to write: the one asked for, else the fastest without an objection."""
    if config.keep != "auto":
        return None if trials[config.keep].broken else config.keep
    allowed = [name for name in VARIANTS if not trials[name].objections(config.max_drop)]
    return min(allowed, key=lambda name: trials[name].ratio.value or 1.0, default=None)


def _twin(seconds: npt.NDArray[np.float64], ratio: Measure) -> TwinRow:
    """What chance did to float32's time, and the share of it that a variant must stay below."""
    return TwinRow(round(median_ms(seconds), 4), ratio.round_to(4), round(chance_ratio(ratio), 4))


def _row(name: str, trial: VariantResult, config: QuantizeConfig) -> VariantRow:
    """One model of the document; float32 has nothing to be accepted as."""
    scorer = trial.scorer
    objections = None if name == FLOAT32 else trial.objections(config.max_drop)
    score, change = trial.judgement.score, trial.judgement.change.round_to(6)
    score = None if score is None else round(score, 6)
    by_auc = trial.measure == "AUC"
    return VariantRow(
        variant=name,
        name=scorer.name,
        made=scorer.metadata.get("quantized"),
        params=scorer.params,
        bytes=scorer.bytes,
        sha256=scorer.sha256,
        auc=score if by_auc else None,
        auc_change=change if by_auc else Measure(None),
        latency_ms=round(trial.latency_ms, 4),
        latency_ratio=trial.ratio.round_to(4),
        accepted=None if objections is None else not objections,
        objections=tuple(objections or ()),
        accuracy=None if by_auc else score,
        accuracy_change=None if by_auc else change,
    )
