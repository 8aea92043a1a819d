"""A pruned checkpoint, exported, evaluated and benchmarked, is the same network."""

from pathlib import Path

import numpy as np
import pytest
from crop_factory import write_crops
from model_factory import random_model
from scorer_factory import tinted_clip

from deepkd.benchmark.benchmark import benchmark
from deepkd.cli.training import follow_run
from deepkd.compression.gradual import prune_in_steps
from deepkd.data.crops import load_crops
from deepkd.evaluation.evaluate import evaluate
from deepkd.judging import judge_file
from deepkd.models.checkpoints import load_checkpoint
from deepkd.models.export import export_onnx
from deepkd.pipeline import Detector
from deepkd.scoring.model import Scorer
from deepkd.scoring.thresholds import Label
from deepkd.settings.compression import PruneConfig
from deepkd.settings.detect import DetectConfig
from deepkd.settings.evaluation import BenchmarkConfig, EvaluateConfig


def test_a_pruned_checkpoint_is_exported_detects_is_evaluated_and_benchmarked(
    tmp_path: Path,
) -> None:
    whole = random_model("pico")
    data, run, onnx = (
        write_crops(tmp_path / "crops", tint=40),
        tmp_path / "run",
        tmp_path / "pruned.onnx",
    )
    wanted = round(0.7 * whole.params)
    prune_in_steps(whole, data, run, PruneConfig(params=wanted, samples=8), follow=follow_run)
    pruned = load_checkpoint(run)
    export_onnx(pruned, onnx)

    clip = tinted_clip(tmp_path / "clip.mp4", seconds=0.6)
    config = DetectConfig(model=str(onnx), frames=3)
    bench = Detector.load(config)
    verdict = judge_file(clip, bench.scorer, bench.faces, config)
    assert (
        verdict.label in (Label.REAL, Label.FAKE, Label.INCONCLUSIVE) and verdict.score is not None
    )
    assert len(verdict.tracks[0].frames) == 3
    assert bench.scorer.params == pruned.params <= wanted < whole.params

    judged = evaluate([pruned, Scorer.load(onnx)], load_crops(data), EvaluateConfig(resamples=0))
    areas = [one.crops.auc.value for one in judged]
    document = benchmark(
        BenchmarkConfig(runs=3, batch=2, threads=1, data=data, split="all"), [str(run), str(onnx)]
    ).to_dict()
    assert {row["params"] for row in document["models"]} == {pruned.params}
    assert [row["auc"] for row in document["models"] if row["auc"] is not None] == pytest.approx(
        areas, abs=1e-6
    )
    crops = list(np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8))
    np.testing.assert_allclose(Scorer.load(onnx).logits(crops), pruned.logits(crops), atol=1e-4)
