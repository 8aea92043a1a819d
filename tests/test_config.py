"""Settings: where values come from, and what is refused."""

import math
import os
import subprocess
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar

import pytest

from deepkd.config import LONGEST_S, Config, load_config, setting
from deepkd.errors import ConfigError, OutputError
from deepkd.settings.data import ExtractConfig
from deepkd.settings.detect import DetectConfig
from deepkd.settings.distillation import DistillConfig
from deepkd.settings.evaluation import BenchmarkConfig, EvaluateConfig
from deepkd.settings.training import TrainConfig
from deepkd.timing import time_limit

ALL = (ExtractConfig, TrainConfig, DistillConfig, EvaluateConfig, DetectConfig, BenchmarkConfig)


@dataclass(frozen=True)
class Sample(Config):
    command: ClassVar[str] = "sample"

    count: int = setting(4, "How many.", low=1, high=9)
    share: float = setting(0.5, "How much.", low=0, high=1)
    kind: str = setting("a", "Which.", choices=("a", "b"))
    quick: bool = setting(False, "Whether.")
    place: Path | None = setting(None, "Where.")
    wait_s: float = setting(1.0, "How long, seconds.", low=0)

    def check(self) -> None:
        if self.quick and self.kind == "b":
            raise ConfigError("quick and kind=b contradict each other")


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_flag_beats_environment_beats_file_beats_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "c.toml", "count = 2\nshare = 1\nkind = 'b'\nplace = 'x'\n")
    monkeypatch.setenv("DEEPKD_SAMPLE_COUNT", "3")
    monkeypatch.setenv("DEEPKD_SAMPLE_SHARE", "0.25")
    config = load_config(Sample, file, count=5, kind=None)
    assert config == Sample(count=5, share=0.25, kind="b", place=Path("x"))
    assert load_config(Sample) == Sample(count=3, share=0.25)


def test_a_section_of_the_command_is_used_where_there_is_one(tmp_path: Path) -> None:
    file = write(tmp_path / "c.toml", "[other]\ncount = 'x'\n[sample]\ncount = 7\nquick = true\n")
    assert load_config(Sample, file) == Sample(count=7, quick=True)


def test_what_stands_beside_the_section_counts_too(tmp_path: Path) -> None:
    file = write(
        tmp_path / "c.toml", "count = 3\nshare = 1\n[other]\ncount = 'x'\n[sample]\ncount = 7\n"
    )
    assert load_config(Sample, file) == Sample(count=7, share=1.0)
    with pytest.raises(ConfigError, match=r"unknown setting 'cuont' \(did you mean 'count'\?\)"):
        load_config(Sample, write(tmp_path / "d.toml", "cuont = 3\n[sample]\ncount = 7\n"))


def test_tables_behind_a_section_are_those_of_the_command(tmp_path: Path) -> None:
    text = "[distill]\nepochs = 1\n[[loss]]\nname = 'kd'\n[taps]\nlast = ['a', 'b']\n"
    config = load_config(DistillConfig, write(tmp_path / "c.toml", text))
    assert (config.epochs, config.losses, config.taps) == (
        1,
        ({"name": "kd"},),
        {"last": ["a", "b"]},
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "cuont = 1",
            r"unknown setting 'cuont' \(did you mean 'count'\?\); choose from count, kind",
        ),
        ("count = 'x'", "count='x': takes int, not str"),
        ("count = 2.5", r"count=2\.5: takes int, not float"),
        ("count = true", "count=True: takes int, not bool"),
        ("count = 0", "count=0: takes 1 to 9"),
        ("share = 1.5", r"share=1\.5: takes 0 to 1"),
        ("share = nan", "share=nan: takes a finite number"),
        ("wait_s = nan", "wait_s=nan: takes a finite number"),
        ("wait_s = inf", "wait_s=inf: takes a finite number"),
        ("wait_s = -inf", "wait_s=-inf: takes a finite number"),
        ("wait_s = " + "9" * 400, "wait_s=inf: takes a finite number"),
        ("wait_s = " + "9" * 5000, "not valid TOML"),
        ("wait_s = 1e20", r"wait_s=1e\+20: takes 0 to 31536000"),
        ("kind = 'c'", "unknown kind 'c'; choose from a, b"),
        ("quick = 1", "quick=1: takes bool, not int"),
        ("kind = 'b'\nquick = true", "contradict"),
        ("count = ", "not valid TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(Sample, write(tmp_path / "c.toml", text))


def test_a_recipe_names_no_folder() -> None:
    config = Sample(place=Path("/home/somebody/start.safetensors"))
    assert config.to_metadata() == {**config.as_dict(), "place": "start.safetensors"}


def test_a_wrong_variable_and_a_missing_file_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(Sample, tmp_path / "none.toml")
    monkeypatch.setenv("DEEPKD_SAMPLE_COUNT", "many")
    with pytest.raises(ConfigError, match="variable DEEPKD_SAMPLE_COUNT: count='many': takes int"):
        load_config(Sample)
    assert load_config(Sample, count=2).count == 2, "a flag wins over the variable"


def test_a_misspelt_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPKD_OTHER_CUONT", "3")
    assert load_config(Sample) == Sample()
    monkeypatch.setenv("DEEPKD_SAMPLE_CUONT", "3")
    with pytest.raises(
        ConfigError, match=r"DEEPKD_SAMPLE_CUONT: no setting 'cuont' \(did you mean 'count'\?\)"
    ):
        load_config(Sample)


@pytest.mark.parametrize("kind", ALL)
def test_saved_settings_can_be_used_again(kind: type[Config], tmp_path: Path) -> None:
    load_config(kind).save(tmp_path / "r.html.config.json")
    assert load_config(kind, tmp_path / "r.html.config.json") == load_config(kind)


def test_saved_settings_are_of_the_same_command(tmp_path: Path) -> None:
    Sample(count=7, place=Path("x")).save(tmp_path / "r.json")
    assert load_config(Sample, tmp_path / "r.json", share=1.0) == Sample(
        count=7, share=1.0, place=Path("x")
    )
    with pytest.raises(ConfigError, match=r"r\.json: not the settings of 'deepkd detect'"):
        load_config(DetectConfig, tmp_path / "r.json")
    for text in ("[1]", "{", "[" * 100_000):
        with pytest.raises(ConfigError, match=r"c\.json: not (valid JSON|the settings)"):
            load_config(Sample, write(tmp_path / "c.json", text))


@pytest.mark.parametrize("name", ["timeout_s", "every_s", "threshold_fake", "threshold_real"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_settings_that_are_no_number_are_named(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name}={value}: takes a finite number"):
        DetectConfig(**{name: value})


@pytest.mark.parametrize("kind", [DetectConfig, ExtractConfig])
def test_no_time_limit_overflows_the_clock(kind: type[Config], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"timeout_s=1e\+20: takes 0 to 31536000"):
        load_config(kind, timeout_s=1e20)
    with time_limit(tmp_path, load_config(kind, timeout_s=LONGEST_S).timeout_s):
        pass


@pytest.mark.parametrize("every_s", [5e-324, 1e-300, 0.0009])
def test_samples_without_end_are_refused(every_s: float) -> None:
    with pytest.raises(
        ConfigError, match=f"every_s={every_s}: takes 0 for no such limit, or 0.001 or more"
    ):
        DetectConfig(every_s=every_s)


@pytest.mark.parametrize("kind", ALL)
def test_every_command_has_sound_defaults_and_help(kind: type[Config]) -> None:
    config = kind()
    assert config.replace() == config and kind.command
    for item in fields(kind):
        assert len(item.metadata["help"].split()) > 1, item.name


def test_settings_are_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = write(tmp_path / "r.config.json", "as it was")

    def full(self: Path, text: str, encoding: str) -> int:
        with self.open("w", encoding=encoding) as file:
            file.write(text[:10])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(
            OutputError, match=r"r\.config\.json: cannot be written \(No space left on device\)"
        ):
            Sample().save(target)
    assert target.read_text() == "as it was" and list(tmp_path.iterdir()) == [target]


def test_settings_are_utf_8_in_any_locale(tmp_path: Path) -> None:
    (tmp_path / "train.toml").write_text("[train]\nmodel = 'nañó'\n", encoding="utf-8")
    code = (
        "import pathlib; from deepkd.config import load_config; from deepkd.settings.training"
        " import TrainConfig;print(ascii(load_config(TrainConfig,"
        " pathlib.Path('train.toml')).model))"
    )
    plain = {
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "LC_ALL": "C",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | plain,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == (ascii("nañó") + "\n", "")
