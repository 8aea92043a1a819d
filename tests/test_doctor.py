"""Doctor: a whole installation, and what it says of each part that is broken."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from scorer_factory import SIDE, write_scorer

from deepkd import shipped
from deepkd.doctor import CORE, TRAINING, examine, to_document, usable
from deepkd.images import pattern
from deepkd.scoring.model import Scorer
from deepkd.tables.doctor import doctor_table

ROOT = Path(__file__).resolve().parents[1]
MTCNN = ("mtcnn-pnet.onnx", "mtcnn-rnet.onnx", "mtcnn-onet.onnx")


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """The shipped weights, with a tiny scorer in the place of the student."""
    for name in MTCNN:
        shutil.copy(shipped.shipped_file(name), tmp_path / name)
    write_scorer(tmp_path / "deepkd-nano.onnx", name="deepkd-nano")
    names = (*MTCNN, "deepkd-nano.onnx")
    sums = "".join(f"{shipped.sha256_of(tmp_path / name)}  {name}\n" for name in names)
    (tmp_path / shipped.CHECKSUMS).write_text(sums)
    logit = Scorer.load(tmp_path / "deepkd-nano.onnx").logits([pattern(SIDE)])[0]
    (tmp_path / shipped.GOLDEN).write_text(
        json.dumps({"deepkd-nano": {shipped.PATTERN: float(logit)}})
    )
    shipped.checksums.cache_clear()
    monkeypatch.setattr(shipped, "weights_dir", lambda: tmp_path)
    yield tmp_path
    shipped.checksums.cache_clear()


def by_name(checks):
    return {check.name: check for check in checks}


def test_a_whole_installation_is_usable(weights):
    checks = examine()
    found = by_name(checks)
    assert usable(checks), [check for check in checks if check.needed and not check.ok]
    assert set(CORE.values()) | set(TRAINING) | set(MTCNN) <= found.keys()
    assert re.fullmatch(
        r"the one face of astronaut.png, probability (0\.9\d\d|1\.000)", found["find a face"].detail
    )
    assert re.fullmatch(
        r"deepkd-nano answers (\S+) to a picture whose score is \1", found["score a crop"].detail
    )
    assert "CPUExecutionProvider" in found["ONNX Runtime providers"].detail


def test_the_document_says_the_same(weights):
    checks = examine()
    document = json.loads(json.dumps(to_document(checks)))
    assert (document["schema"], document["usable"]) == ("deepkd.doctor/1", True)
    assert {tuple(check) for check in document["checks"]} == {
        ("group", "name", "ok", "needed", "detail")
    }
    assert doctor_table(checks).rich().row_count == len(checks)


def damage(weights, name):
    path = weights / name
    path.write_bytes(path.read_bytes()[:-1] + b"!")


@pytest.mark.parametrize(
    ("harm", "failing", "words"),
    [
        (
            lambda weights: damage(weights, "mtcnn-rnet.onnx"),
            {"mtcnn-rnet.onnx", "find a face"},
            "damaged or altered",
        ),
        (
            lambda weights: (weights / "mtcnn-pnet.onnx").unlink(),
            {"mtcnn-pnet.onnx", "find a face"},
            "missing from",
        ),
        (
            lambda weights: damage(weights, "deepkd-nano.onnx"),
            {"deepkd-nano.onnx", "score a crop"},
            "SHA-256",
        ),
        (
            lambda weights: (weights / shipped.CHECKSUMS).write_text(""),
            {"deepkd-nano.onnx"},
            "not a shipped model",
        ),
        (
            lambda weights: (weights / shipped.CHECKSUMS).write_text("ab"),
            {"shipped weights"},
            "SHA256SUMS: damaged",
        ),
    ],
)
def test_what_is_broken_is_named_and_the_rest_still_checked(weights, harm, failing, words):
    harm(weights)
    checks = examine()
    assert not usable(checks)
    failed = {check.name: check.detail for check in checks if check.needed and not check.ok}
    assert failing <= failed.keys()
    assert words in failed[min(failing & {*MTCNN, "deepkd-nano.onnx", "shipped weights"})]
    assert by_name(checks)["h264"].ok


def add_pico(weights):
    """A second student, of which no score is known."""
    path = write_scorer(weights / "deepkd-pico.onnx", name="deepkd-pico")
    with (weights / shipped.CHECKSUMS).open("a") as sums:
        sums.write(f"{shipped.sha256_of(path)}  {path.name}\n")
    shipped.checksums.cache_clear()


def test_a_student_that_is_used_only_when_told_so_is_checked_and_not_needed(weights):
    add_pico(weights)
    checks = examine()
    found = by_name(checks)
    assert found["deepkd-pico.onnx"].ok and usable(checks)
    assert "golden.json: missing or damaged" in found["score a crop by deepkd-pico"].detail
    damage(weights, "deepkd-pico.onnx")
    checks = examine()
    assert not by_name(checks)["deepkd-pico.onnx"].ok and usable(checks)


def test_a_student_that_is_no_model_is_found_out(weights):
    write_scorer(weights / "deepkd-nano.onnx", trained=False)
    sums = (weights / shipped.CHECKSUMS).read_text().splitlines()[:-1]
    sums.append(f"{shipped.sha256_of(weights / 'deepkd-nano.onnx')}  deepkd-nano.onnx")
    (weights / shipped.CHECKSUMS).write_text("\n".join(sums))
    shipped.checksums.cache_clear()
    found = by_name(examine())
    assert found["deepkd-nano.onnx"].ok
    assert "never trained" in found["score a crop"].detail


@pytest.mark.parametrize(
    ("golden", "words"),
    [
        ({"deepkd-nano": {shipped.PATTERN: 7.0}}, "ONNX Runtime computes wrongly here"),
        ({"deepkd-nano": {shipped.PATTERN: float("nan")}}, "ONNX Runtime computes wrongly here"),
        ({"deepkd-nano": {}}, "golden.json: missing or damaged; reinstall deepkd"),
        (None, "golden.json: missing or damaged; reinstall deepkd"),
    ],
)
def test_a_student_that_answers_otherwise_than_elsewhere_is_found_out(weights, golden, words):
    path = weights / shipped.GOLDEN
    path.write_text(json.dumps(golden)) if golden else path.unlink()
    checks = examine()
    scored = by_name(checks)["score a crop"]
    assert not usable(checks) and not scored.ok and words in scored.detail


def test_torch_that_is_broken_is_reported_and_harmless(weights, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    checks = examine()
    assert usable(checks)
    cuda = by_name(checks)["CUDA (PyTorch)"]
    assert (cuda.ok, cuda.needed) == (False, False)
    assert "Error" in cuda.detail


def test_a_missing_core_package_fails(weights, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    checks = examine()
    assert not usable(checks)
    assert not by_name(checks)["av"].ok


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("format", ["json", "table"])
def test_a_full_disk_is_named(format):
    with open("/dev/full", "w") as full:
        words = [sys.executable, "-m", "deepkd", "doctor", "--format", format]
        process = subprocess.run(words, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert process.returncode == 1
    assert process.stderr == "error: standard output cannot be written (No space left on device)\n"


def test_every_package_of_the_project_is_looked_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {re.split("[<>=]", each)[0] for each in project["dependencies"]}
    assert named == set(CORE.values())
    assert {
        re.split("[<>=]", each)[0] for each in project["optional-dependencies"]["train"]
    } == set(TRAINING)
