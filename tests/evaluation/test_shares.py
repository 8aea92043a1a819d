"""Shares of the videos, judged by several runs: together they give the figures of one run."""

import json
from pathlib import Path

import pytest
from media import Media
from scorer_factory import tinted_clip, write_scorer
from typer.testing import CliRunner

from deepkd.cli.app import app
from deepkd.errors import DataError, OutputError, UsageError
from deepkd.evaluation.answers import ClipScorer
from deepkd.evaluation.evaluate import evaluate_files, judge_share
from deepkd.evaluation.journal import JOURNAL_NAME
from deepkd.settings.evaluation import EvaluateConfig
from deepkd.shards import Shard

SHARDS = [Shard(number, 3) for number in (1, 2, 3)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_scorer(tmp_path_factory.mktemp("model") / "green.onnx"))


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Ten stills as clips and one that cannot be read; each share of three has some."""
    folder = tmp_path_factory.mktemp("data") / "videos"
    media = Media(folder)
    for number in range(5):
        media.still(f"real/{number}.png")
        media.still(f"fake/{number}.png")
    media.junk("fake/junk.mp4")
    return folder


@pytest.fixture(autouse=True)
def _inside(videos, monkeypatch):
    """Paths that are always the same, and so in the same shares."""
    monkeypatch.chdir(videos.parent)


@pytest.fixture
def judged(monkeypatch):
    """The paths that were judged; the verdict depends on the name alone."""
    paths = []

    def judge(self, source, model, alter):
        paths.append(source.path)
        if source.path.suffix == ".mp4":
            return "ERROR", None, "not a video"
        score = 0.1 * int(source.path.stem) + 0.3 * (source.path.parent.name == "fake")
        return ("FAKE" if score > 0.5 else "REAL"), score, ""

    monkeypatch.setattr(ClipScorer, "_judge", judge)
    return paths


def config(data="videos", **changes):
    plain = {"data": Path(data), "dataset": "folder", "split": "all", "resamples": 20}
    return EvaluateConfig(**plain | changes)


def test_shares_together_give_the_figures_of_one_run(model, judged, tmp_path):
    settings = config(perturb="blur:7")
    (whole,) = evaluate_files([model], settings)
    of_one_run = sorted(judged)
    judged.clear()
    shares = [judge_share([model], settings, shard, out=tmp_path) for shard in SHARDS]
    assert sorted(judged) == of_one_run, "each video once"
    assert [share.videos for share in shares] == [
        sum(map(shard.holds, {Path(path) for path in of_one_run})) for shard in SHARDS
    ]
    assert min(share.videos for share in shares) > 0 and sum(s.videos for s in shares) == 11
    assert [name for share in shares for name in share.failed] == ["videos/fake/junk.mp4"]
    judged.clear()
    (joined,) = evaluate_files([model], settings, out=tmp_path)
    assert {path.name for path in judged} == {"junk.mp4"}, "only what failed is judged again"
    assert joined.figures == whole.figures and joined.videos.auc.low is not None
    assert joined.probabilities.tolist() == whole.probabilities.tolist()


def test_what_no_share_holds_is_judged_then(model, judged, tmp_path):
    for shard in SHARDS[:2]:
        judge_share([model], config(), shard, out=tmp_path)
    judged.clear()
    evaluate_files([model], config(), out=tmp_path)
    assert {path for path in judged if path.suffix == ".png"} == {
        path for path in Path("videos").rglob("*.png") if SHARDS[2].holds(path)
    }
    judged.clear()
    evaluate_files([model], config(), out=tmp_path)
    assert {path.name for path in judged} == {"junk.mp4"}


def test_a_share_resumes(model, judged, tmp_path):
    judge_share([model], config(), SHARDS[0], out=tmp_path)
    journal = tmp_path / "part-0001-of-0003" / JOURNAL_NAME
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]) + lines[-1][:9])
    judged.clear()
    judge_share([model], config(), SHARDS[0], out=tmp_path)
    assert [str(path) for path in judged if path.suffix == ".png"] == [
        json.loads(lines[-1])["clip"]
    ]
    assert journal.read_bytes() == b"".join(lines)


def test_shares_of_other_settings_are_refused_until_overwritten(model, judged, tmp_path):
    judge_share([model], config(), SHARDS[0], out=tmp_path)
    for refused in (
        lambda: evaluate_files([model], config(frames=5), out=tmp_path),
        lambda: judge_share([model], config(frames=5), SHARDS[0], out=tmp_path),
    ):
        with pytest.raises(OutputError, match=r"part-0001-of-0003.*other data or settings"):
            refused()
    judged.clear()
    evaluate_files([model], config(frames=5), out=tmp_path, overwrite=True)
    assert len(judged) == 11
    evaluate_files([model], config(frames=5), out=tmp_path)


def test_what_cannot_be_shared_out(model, tmp_path):
    media = Media(tmp_path)
    for label in ("real", "fake"):
        media.still(f"crops/test/{label}/1.png")
    with pytest.raises(UsageError, match=r"--shard shares out videos, and .* holds crops"):
        judge_share([model], config(tmp_path / "crops", dataset="auto"), Shard(), out=tmp_path)
    media.still("plain/1.png")
    with pytest.raises(DataError, match="none of the 1 videos has a label"):
        judge_share([model], config(tmp_path / "plain"), Shard(), out=tmp_path)


def run(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def test_the_command_judges_shares_and_puts_them_together(model, tmp_path):
    for label, green in (("real", False), ("fake", True)):
        path = Media(tmp_path).path(f"data/{label}/1.mp4")
        tinted_clip(path, green=lambda t_s, green=green: green, seconds=0.4)
    out = tmp_path / "out"
    command = (model, "--data", tmp_path / "data", "--split", "all", "--frames", 2, "--out", out)
    for number in (1, 2):
        result = run(*command, "--shard", f"{number}/2")
        assert result.exit_code == 0, result.stderr
        assert f"in share {number}/2: {out}/part-000{number}-of-0002" in result.stdout
    settings = json.loads((out / f"part-0001-of-0002/{JOURNAL_NAME}.config.json").read_text())
    assert settings["frames"] == 2
    result = run(*command, "--format", "json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["models"][0]["videos"]["auc"]["value"] == 1.0
    assert len((out / JOURNAL_NAME).read_text().splitlines()) == 1, "nothing was judged again"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shard", "1/2"], "--shard needs --out"),
        (["--shard", "3/2", "--out", "out"], "takes I/N with I from 1 to N"),
        (["--shard", "1/2", "--out", "out", "--scores", "s.csv"], "takes neither --scores"),
        (["--shard", "1/2", "--out", "out", "--plots", "plots"], "takes neither --scores"),
    ],
)
def test_options_that_do_not_go_together(options, message, model, videos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(model, "--data", videos, *options)
    assert result.exit_code == 2 and message in result.stderr
    assert not any(tmp_path.iterdir())
