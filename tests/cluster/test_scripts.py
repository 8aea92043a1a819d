"""The examples for clusters: they parse, and their commands judge everything."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from media import Media
from scorer_factory import write_scorer

from deepkd.cluster.collect import collect

ROOT = Path(__file__).parents[2]
SLURM = ROOT / "examples" / "slurm-array.sh"
JOB = yaml.safe_load((ROOT / "examples" / "kubernetes-job.yaml").read_text())
(CONTAINER,) = JOB["spec"]["template"]["spec"]["containers"]
SHARDS = 2


@pytest.fixture
def environment(media: Media) -> dict[str, str]:
    """Two stills and a damaged clip in `clips/`, and `deepkd` on the path."""
    media.still("clips/a.jpg")
    media.still("clips/b.jpg")
    media.junk("clips/junk.mp4")
    program = media.path("bin/deepkd")
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m deepkd "$@"\n')
    program.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "DEEPKD_DETECT_MODEL": str(write_scorer(media.path("green.onnx"))),
        "SHARDS": str(SHARDS),
    }


def judge_all(words: list[str], variable: str, media: Media, environment: dict[str, str]) -> None:
    """Run the command of each task; together they judge each input once, and then none."""
    for _ in range(2):
        for task in range(SHARDS):
            done = subprocess.run(
                words,
                cwd=media.folder,
                env=environment | {variable: str(task)},
                capture_output=True,
                text=True,
            )
            code = 1 if "junk.mp4" in done.stderr and "a.jpg" not in done.stdout else 0
            assert done.returncode in (0, code), done.stderr
        collected = collect([media.folder / "results"])
        assert collected.tally == {"REAL": 2, "ERROR": 1}
        assert not (collected.missing.count or collected.unfinished.count)


def test_the_slurm_array(media: Media, environment: dict[str, str]) -> None:
    subprocess.run(["bash", "-n", SLURM], check=True)
    assert "#SBATCH --array=0-99\n" in SLURM.read_text() and "SHARDS:-100" in SLURM.read_text()
    assert os.access(SLURM, os.X_OK)
    words = ["bash", str(SLURM), "clips", "results"]
    judge_all(words, "SLURM_ARRAY_TASK_ID", media, environment)


def test_the_kubernetes_job(media: Media, environment: dict[str, str]) -> None:
    assert (JOB["kind"], JOB["spec"]["completionMode"]) == ("Job", "Indexed")
    (shards,) = CONTAINER["env"]
    assert shards == {"name": "SHARDS", "value": str(JOB["spec"]["completions"])}
    *shell, line = CONTAINER["command"]
    for volume in CONTAINER["volumeMounts"]:
        line = line.replace(volume["mountPath"], volume["name"])
    judge_all([*shell, line], "JOB_COMPLETION_INDEX", media, environment)
