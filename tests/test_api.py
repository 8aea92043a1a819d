"""The public Python API: a cookbook of every name in `deepkd.__all__`, on tiny synthetic data."""

import contextlib
import dataclasses
import doctest
import inspect
import io
import json
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from crop_factory import write_crops
from media import Media
from scorer_factory import tinted_clip, write_scorer
from typer.testing import CliRunner

import deepkd
from deepkd.cli.app import app
from deepkd.settings.detect import DetectConfig
from deepkd.settings.distillation import DistillConfig
from deepkd.settings.evaluation import EvaluateConfig
from deepkd.settings.training import TrainConfig
from deepkd.video.frames import evenly, probe
from deepkd.video.readahead import ReadAhead
from deepkd.video.sources import URL_HINT, Source

ROOT = Path(__file__).resolve().parents[1]
QUICK = {"epochs": 1, "batch": 8, "workers": 0, "image_size": 32, "augment": "none", "ema": 0.0}
"""Settings of a training of seconds."""
COMMAND_ONLY = {
    *("workers", "language", "format"),
    *("keep", "allow_private", "fetch_mb", "fetch_timeout_s"),
}
"""Settings of `deepkd detect` that `deepkd.detect` has no use for."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the examples name: a clip, crops, a teacher, files that are no videos."""
    folder = tmp_path_factory.mktemp("api")
    shutil.copy(ROOT / "data" / "samples" / "real.mp4", folder / "clip.mp4")
    write_crops(folder / "crops", tint=60)
    still = Media(folder).still("whole.jpg").read_bytes()
    (folder / "cut-off.jpg").write_bytes(still[: len(still) // 2])
    (folder / "notes.txt").write_text("no video")
    write_scorer(folder / "green.onnx")
    tinted_clip(folder / "forged.mp4", seconds=0.6)
    deepkd.train(folder / "crops", model="pico", out=folder / "teacher", **QUICK)
    return folder


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same folder, as the working folder."""
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def quick(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings of seconds: what an example does not set itself is small, and its run is new."""
    from deepkd import runs

    shutil.rmtree(here / "runs", ignore_errors=True)
    usual = runs.build_config

    def build(kind, base=None, /, **values):
        given = {name: value for name, value in values.items() if value is not None}
        small = QUICK if issubclass(kind, TrainConfig | DistillConfig) else {}
        return usual(kind, base, **{**small, **given})

    monkeypatch.setattr(runs, "build_config", build)


def test_import_is_light_and_lists_its_names() -> None:
    code = (
        "import sys, deepkd; assert {*deepkd.__all__} <= {*dir(deepkd)};"
        " print(sorted({'torch', 'cv2', 'numpy', 'typer', 'importlib'} & sys.modules.keys()))"
    )
    command = [sys.executable, "-S", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_detect_needs_no_torch() -> None:
    code = "import sys, deepkd; deepkd.detect; print('torch' in sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_unknown_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="module 'deepkd' has no attribute 'detct'"):
        deepkd.detct  # noqa: B018


def test_type_checkers_see_every_name() -> None:
    text = (ROOT / "deepkd" / "__init__.py").read_text()
    assert sorted(re.findall(r"import (\w+) as \1$", text, re.M)) == sorted(deepkd.__all__)
    assert (ROOT / "deepkd" / "py.typed").exists()


@pytest.mark.parametrize("name", deepkd.__all__)
def test_the_example_of_every_name_runs(name: str, here: Path, quick: None) -> None:
    text = inspect.getdoc(getattr(deepkd, name)) or ""
    test = doctest.DocTestParser().get_doctest(text, {"deepkd": deepkd}, name, None, None)
    assert test.examples, f"{name} has no example"
    report = io.StringIO()
    failed, _ = doctest.DocTestRunner(verbose=False).run(test, out=report.write)
    assert not failed, report.getvalue()


def test_the_page_runs(here: Path, quick: None) -> None:
    text = (ROOT / "docs" / "python.md").read_text()
    assert len(text.split()) <= 500
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    assert len(blocks) >= 5
    names: dict[str, object] = {}
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        for block in blocks:
            block = block.replace('"cross-efficient-vit"', '"pico"').replace(
                "epochs=10", "epochs=1"
            )
            exec(block, names)
    assert "missing.mp4: does not exist; check the name\n" in shown.getvalue()
    label = deepkd.detect("clip.mp4", frames=8).label
    assert f"clip.mp4 {label}\nmissing.mp4 ERROR\n" in shown.getvalue()
    assert names["labels"] == [label, label]


# -- detect, Detector, Verdict


def test_detect_answers_as_the_command(here: Path) -> None:
    verdict = deepkd.detect("forged.mp4", model="green.onnx", frames=4)
    words = ["detect", "forged.mp4", "--model", "green.onnx", "--frames", "4", "--format", "json"]
    (video,) = json.loads(CliRunner().invoke(app, words).stdout)["videos"]
    assert {**verdict.to_dict(), "timing_ms": 0} == {**video, "timing_ms": 0}
    assert (verdict.label, verdict.score > 0.9) == ("FAKE", True)
    assert verdict.reason == "1 person, who looks forged to the model in 4 frames"
    assert isinstance(verdict, deepkd.Verdict) and verdict.path == Path("forged.mp4")


@pytest.mark.parametrize("function", [deepkd.detect, deepkd.Detector])
def test_detect_takes_every_setting_with_its_default(function) -> None:
    found = {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if name != "path"
    }
    assert found == {
        item.name: item.default
        for item in dataclasses.fields(DetectConfig)
        if item.name not in COMMAND_ONLY
    }


@pytest.mark.parametrize(
    ("settings", "label"),
    [({"threshold_fake": 1.0}, "INCONCLUSIVE"), ({}, "FAKE")],
)
def test_settings_are_obeyed(settings: dict, label: str, here: Path) -> None:
    assert deepkd.detect("forged.mp4", model=Path("green.onnx"), **settings).label == label


BAD = {
    "missing.mp4": "does not exist; check the name",
    "rtsp://example.org/a.mp4": URL_HINT,
    "": "the name is empty",
    "crops": "is a folder; give a video or image file",
}


@pytest.mark.parametrize("path", BAD)
def test_what_cannot_be_judged_is_a_plain_error(path: str, here: Path) -> None:
    shown = path or "."
    with pytest.raises(deepkd.VideoError, match=f"^{re.escape(f'{shown}: {BAD[path]}')}$"):
        deepkd.detect(path, model="green.onnx")


def test_a_failing_library_is_an_error_of_the_video(here: Path) -> None:
    class Broken:
        def detect(self, image, *, thorough=False):
            raise RuntimeError("no idea")

    sound = deepkd.Detector("green.onnx")
    with pytest.raises(
        deepkd.VideoError, match=r"^forged\.mp4: not judged, RuntimeError at test_api"
    ):
        deepkd.Detector.from_parts(sound.scorer, Broken()).detect("forged.mp4")


def test_many_have_a_verdict_each(here: Path) -> None:
    detector = deepkd.Detector("green.onnx", frames=4)
    paths = ["forged.mp4", Path("missing.mp4"), "rtsp://example.org/a.mp4", "notes.txt"]
    found = list(detector.detect_many(iter(paths)))
    assert [verdict.label for verdict in found] == ["FAKE", "ERROR", "ERROR", "ERROR"]
    assert found[1].reason == "does not exist; check the name"
    assert str(found[2].path) == paths[2]
    side_by_side = list(detector.detect_many(paths, workers=2))
    assert [v.reason for v in side_by_side] == [v.reason for v in found]
    (one,) = detector.detect_many("forged.mp4")
    assert one.to_dict()["tracks"] == found[0].to_dict()["tracks"]


def test_many_take_folders_and_paths_one_by_one(here: Path, tmp_path: Path) -> None:
    shutil.copy("forged.mp4", tmp_path / "a.mp4")
    shutil.copy("forged.mp4", tmp_path / "b.mp4")
    detector = deepkd.Detector("green.onnx", frames=2)
    names = [verdict.path.name for verdict in detector.detect_many([tmp_path])]
    assert names == ["a.mp4", "b.mp4"]

    def endless():
        while True:
            yield "forged.mp4"

    verdicts = detector.detect_many(endless())
    assert next(verdicts).label == "FAKE"


def test_threads_give_the_same_verdicts(here: Path) -> None:
    detector = deepkd.Detector("green.onnx", frames=6)
    paths = ["forged.mp4", "clip.mp4", "whole.jpg"] * 3
    alone = [detector.detect(path).to_dict() for path in paths]
    with ThreadPoolExecutor(4) as pool:
        together = [verdict.to_dict() for verdict in pool.map(detector.detect, paths)]
    for verdict in (*alone, *together):
        verdict.pop("timing_ms")
    assert together == alone


def test_a_string_is_a_path_below_the_api_too(here: Path) -> None:
    detector = deepkd.Detector("green.onnx", frames=2)
    assert Source("forged.mp4").path == Path("forged.mp4")
    assert detector.judge(Source("forged.mp4")).label == "FAKE"
    assert probe("forged.mp4").path == Path("forged.mp4")
    with ReadAhead("forged.mp4", evenly(lambda duration_s: 2)) as video:
        assert video.path == Path("forged.mp4") and len(list(video)) == 2


# -- load_model, train, distill, evaluate


def test_an_onnx_model_is_loaded_without_torch(here: Path) -> None:
    code = (
        "import sys, deepkd, numpy as np; model = deepkd.load_model('green.onnx');"
        " print(len(model.logits([np.zeros((9, 9, 3), np.uint8)])), 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=here, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}
    )
    assert done.stdout == "1 False\n", done.stderr


def test_from_crops_to_a_student(here: Path, tmp_path: Path) -> None:
    teacher = deepkd.train("crops", model="pico", out=tmp_path / "teacher", **QUICK)
    assert (teacher.path, teacher.epoch, teacher.name) == (tmp_path / "teacher", 1, "pico")
    student = deepkd.distill(
        ["crops"], teacher=[teacher, "teacher"], student="pico", out=tmp_path / "s", **QUICK
    )
    assert 0 <= student.auc <= 1
    assert json.loads(json.dumps(student.to_dict()))["path"] == str(tmp_path / "s")
    crops = [np.zeros((32, 32, 3), np.uint8)]
    onnx = deepkd.load_model(student.path / "model.onnx")
    np.testing.assert_allclose(
        deepkd.load_model(student).logits(crops), onnx.logits(crops), atol=1e-4
    )
    result = deepkd.evaluate(student, Path("crops"), resamples=0)
    figures = result.to_dict()["models"][0]["crops"]
    assert (result.rows, result.auc) == (4, figures["auc"]["value"])
    assert deepkd.evaluate(student, "crops", split="val", resamples=0, allow_training_data=True)


def test_a_student_alone_is_trained_too(here: Path, tmp_path: Path) -> None:
    out = tmp_path / "student"
    deepkd.distill("crops", teacher="teacher", student="pico", out=out, alone=True, **QUICK)
    assert deepkd.load_model(out / "alone").params == deepkd.load_model(out).params


def test_settings_come_from_a_config_and_keywords(here: Path, tmp_path: Path) -> None:
    start = TrainConfig(model="pico", **QUICK)
    run = deepkd.train("crops", out=tmp_path / "a", config=start, seed=7)
    assert json.loads((run.path / "config.json").read_text())["seed"] == 7
    (tmp_path / "t.toml").write_text('model = "pico"\nseed = 3\n')
    run = deepkd.train("crops", out=tmp_path / "b", config=tmp_path / "t.toml", **QUICK)
    assert json.loads((run.path / "config.json").read_text())["seed"] == 3


FUNCTIONS = {
    "train": (TrainConfig, {"out": "runs/x"}),
    "distill": (DistillConfig, {"out": "runs/x", "teacher": "teacher"}),
    "evaluate": (EvaluateConfig, {"model": "deepkd-nano"}),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signatures_show_the_settings_and_a_wrong_name_lists_them(name: str, here: Path) -> None:
    kind, needed = FUNCTIONS[name]
    function = getattr(deepkd, name)
    shown = set(inspect.signature(function).parameters)
    settings = {item.name for item in dataclasses.fields(kind)}
    assert settings - shown <= {"format", "features_limit"}
    with pytest.raises(deepkd.ConfigError, match=r"unknown setting 'sed' .*'seed'.*choose from "):
        function(data="crops", **needed, sed=1)


def test_several_folders_train_one_model(here: Path) -> None:
    shutil.copytree("crops", "others")
    run = deepkd.train(["crops", "others"], model="pico", out="runs/two", **QUICK)
    assert deepkd.load_model(run).metadata["validation"].keys() >= {
        "val_auc",
        "val_auc_crops",
        "val_auc_others",
    }
    with pytest.raises(deepkd.DataError, match="given twice as --data"):
        deepkd.train(["crops", "./crops"], model="pico", out="runs/three", **QUICK)
