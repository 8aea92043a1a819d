"""Links: what is fetched from a server on loopback, what is refused, and what is told of it."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from link_server import LinkServer, serve
from typer.testing import CliRunner

import deepkd
from deepkd.cli.app import app
from deepkd.errors import VideoError
from deepkd.origin import links
from deepkd.origin.arrival import fetch_input
from deepkd.origin.links import PROBLEMS, Limits, explain
from deepkd.settings.detect import DetectConfig

ROOT = Path(__file__).parents[2]
CLIP = ROOT / "data" / "samples" / "forged.mp4"
MAX_BYTES = 3_000_000
TROUBLE = {
    "/gone": ("status", "404 Not Found"),
    "/declared": ("too large", ""),
    "/endless": ("too large", ""),
    "/endless-page": ("too large", ""),
    "/loop": ("redirects", ""),
    "/private": ("private", "127.0.0.2"),
    "/list.m3u8": ("private", "127.0.0.2"),
    "/empty": ("no video", ""),
    "/list": ("several", ""),
}
"""Path -> code and detail."""
FINE = ("/a.mp4", "/moved", "/one")
FORBIDDEN = ("/file", "/to-file")
"""Paths that lead to a file of this machine."""


@pytest.fixture(scope="module")
def server() -> Iterator[LinkServer]:
    with serve(CLIP.read_bytes()) as running:
        yield running


@pytest.fixture(scope="module")
def answers(server: LinkServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """Path -> what the fetching process says of it."""
    folder = tmp_path_factory.mktemp("fetched")
    urls = {path: server.link(path) for path in (*TROUBLE, *FINE, *FORBIDDEN)}
    urls["rebind"] = server.link("/a.mp4", "rebind.test")
    folders = [folder / str(number) for number in range(len(urls))]
    for each in folders:
        each.mkdir()
    requests = [
        json.dumps({"url": url, "folder": str(each), "max_bytes": MAX_BYTES})
        for url, each in zip(urls.values(), folders, strict=True)
    ]
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("fetch_many.py"))],
        input="\n".join(requests), capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "YTDLP_NO_PLUGINS": "1"},
    )  # fmt: skip
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {
        path: {**answer, "folder": each}
        for path, answer, each in zip(urls, found, folders, strict=True)
    }


@pytest.mark.parametrize("path", TROUBLE)
def test_trouble_is_told_by_its_kind(path: str, answers: dict[str, dict]) -> None:
    assert (answers[path].get("problem"), answers[path].get("detail")) == TROUBLE[path]


@pytest.mark.parametrize("path", FINE)
def test_a_clip_is_fetched(path: str, answers: dict[str, dict]) -> None:
    answer = answers[path]
    file = answer["folder"] / answer["file"]
    assert file.read_bytes() == CLIP.read_bytes() and list(answer["folder"].iterdir()) == [file]
    assert answer["extractor"] == ("html5" if path == "/one" else "generic")


@pytest.mark.parametrize("path", FORBIDDEN)
def test_no_file_of_this_machine_is_read(path: str, answers: dict[str, dict]) -> None:
    assert "problem" in answers[path] and list(answers[path]["folder"].iterdir()) == []


def test_a_name_that_changes_its_address_is_refused(answers: dict[str, dict]) -> None:
    assert (answers["rebind"]["problem"], answers["rebind"]["detail"]) == ("private", "127.0.0.2")


@pytest.mark.parametrize("problem", PROBLEMS)
def test_every_problem_has_a_sentence_without_addresses(problem: str) -> None:
    answer = {"problem": problem, "detail": "no route to http://u:pw@host/x?token=1\x1b"}
    text = explain(answer, Limits(500, 60))
    assert text and "pw" not in text and "token" not in text and "\x1b" not in text


def set_traps(folder: Path) -> Path:
    """Settings and plugins of yt-dlp where it looks for them; when used, they write a file."""
    sprung = folder / "sprung"
    for home in (folder / "home/.config", folder / "config"):
        (home / "yt-dlp/plugins/trap/yt_dlp_plugins/extractor").mkdir(parents=True)
        plugin = home / "yt-dlp/plugins/trap/yt_dlp_plugins/extractor/trap.py"
        plugin.write_text(f"open({str(sprung)!r}, 'a').write('plugin')\n")
        (home / "yt-dlp/config").write_text(f"--exec 'touch {sprung}'\n--write-info-json\n")
    beside = folder / "path/yt_dlp_plugins/extractor"
    beside.mkdir(parents=True)
    (beside / "other.py").write_text(f"open({str(sprung)!r}, 'a').write('plugin')\n")
    return sprung


def test_detect_fetches_judges_and_tells(
    server: LinkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sprung, keep, report = set_traps(tmp_path), tmp_path / "kept", tmp_path / "r.html"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.2:9")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.syspath_prepend(str(tmp_path / "path"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", None)
    before = set((tmp_path / "home").rglob("*"))
    link = server.link("/a.mp4?token=s3cret&v=1").replace("//", "//user:pa55@")
    words = ["detect", link, "--format", "json", "--allow-private", "127.0.0.1", "--frames", "2",
             "--keep", str(keep), "--report", str(report)]  # fmt: skip
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.stderr
    (video,) = json.loads(done.stdout)["videos"]
    digest = hashlib.sha256(CLIP.read_bytes()).hexdigest()
    assert video["path"] == server.link("/a.mp4?token=***&v=1") == video["origin"]["address"]
    assert (video["verdict"], video["origin"]["sha256"]) == ("FAKE", digest)
    assert video["origin"]["title"] == "a" and video["origin"]["bytes"] == CLIP.stat().st_size
    (kept,) = keep.iterdir()
    assert kept.read_bytes() == CLIP.read_bytes() and str(kept) == video["origin"]["file"]
    page = report.read_text(encoding="utf-8")
    assert digest in page and "fetched from" in page
    for text in (done.stdout, done.stderr, page, Path(f"{report}.config.json").read_text()):
        assert "s3cret" not in text and "pa55" not in text
    assert not sprung.exists() and set((tmp_path / "home").rglob("*")) == before
    assert list((tmp_path / "tmp").iterdir()) == []


def test_what_fails_is_an_error_of_its_link(server: LinkServer) -> None:
    config = DetectConfig(fetch_timeout_s=1.0, allow_private="127.0.0.1")
    with (
        pytest.raises(VideoError, match=r"^shown: took longer than 1 s"),
        fetch_input(Path("shown"), server.link("/slow"), config),
    ):
        pass
    asked = len(server.asked)
    done = CliRunner().invoke(app, ["detect", server.link("/a.mp4"), "--format", "jsonl"])
    entry = json.loads(done.stdout)
    assert (done.exit_code, entry["verdict"], "origin" in entry) == (1, "ERROR", False)
    assert "127.0.0.1, an address that is not public" in entry["reason"]
    assert len(server.asked) == asked


def test_what_is_fetched_and_no_video_is_told_of_its_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch_text(link: str, folder: Path, limits: Limits) -> dict[str, str]:
        (folder / "clip.unknown_video").write_text("no video")
        facts = dict.fromkeys(("title", "uploader", "extractor", "format", "tool"), "<b>\x1b")
        return {"file": "clip.unknown_video", **facts}

    monkeypatch.setattr(links, "_run_fetcher", fetch_text)
    done = CliRunner().invoke(app, ["detect", "http://u:pw@a/b", "--format", "json"])
    (video,) = json.loads(done.stdout)["videos"]
    assert (done.exit_code, video["verdict"], video["path"]) == (1, "ERROR", "http://a/b")
    assert video["reason"].startswith("is damaged, or not a video") and "origin" not in video


def test_links_in_a_list_are_fetched_by_worker_processes(
    server: LinkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    listed = [server.link("/a.mp4?v=*"), "ftp://a/b.mp4", "gone.mp4"]
    words = ["detect", "-", "--format", "jsonl", "--frames", "2", "--every", "0",
             "--workers", "1", "--allow-private", "127.0.0.1"]  # fmt: skip
    done = CliRunner().invoke(app, words, input="\n".join(listed))
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["path"] for one in found] == listed
    assert [one["verdict"] for one in found] == ["FAKE", "ERROR", "ERROR"]
    assert found[0]["origin"]["bytes"] == CLIP.stat().st_size
    assert done.exit_code == 3 and "does not fetch" in found[1]["reason"]
    assert list(tmp_path.iterdir()) == []


def test_several_links_are_fetched_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once: list[int] = []
    files: list[Path] = []

    def fetch_copy(link: str, folder: Path, limits: Limits) -> dict[str, str]:
        at_once.append(sum(file.exists() for file in files))
        files.append(Path(shutil.copy(CLIP, folder / "clip.mp4")))
        facts = dict.fromkeys(("title", "uploader", "extractor", "format", "tool"), "")
        return {"file": "clip.mp4", **facts}

    monkeypatch.setattr(links, "_run_fetcher", fetch_copy)
    verdict = deepkd.detect("https://u:pw@a/b.mp4", frames=2, every_s=0.0)
    assert (verdict.label, str(verdict.path)) == ("FAKE", "https://a/b.mp4")
    assert verdict.origin is not None and verdict.origin.bytes == CLIP.stat().st_size
    detector = deepkd.Detector(frames=2, every_s=0.0)
    assert [one.label for one in detector.detect_many(["https://a/1", "ftp://a"])] == [
        "FAKE",
        "ERROR",
    ]
    words = ["detect", "https://a/2", "https://a/3", "--frames", "2", "--every", "0"]
    words += ["--out", str(tmp_path / "out"), "--format", "jsonl"]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert CliRunner().invoke(app, [*words, "--resume", "https://a/4"]).exit_code == 0
    (part,) = (tmp_path / "out").glob("*.jsonl")
    assert [json.loads(line)["verdict"] for line in part.read_text().splitlines()] == ["FAKE"] * 3
    assert at_once == [0] * 5 and not any(file.exists() for file in files)


@pytest.mark.parametrize("way", [["https://a/b.mp4"], ["-"]])
def test_save_video_of_a_link_needs_keep(way: list[str]) -> None:
    words = ["detect", *way, "--save-video", "v.webm"]
    done = CliRunner().invoke(app, words, input="https://a/b.mp4\n")
    assert (done.exit_code, done.stdout) == (2, "") and "--keep DIR" in done.stderr


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yt_dlp", None)
    done = CliRunner().invoke(app, ["detect", "https://u:pw@a/b.mp4"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "https://a/b.mp4: is a URL; download it first" in done.stderr
    assert "pip install 'deepkd[url]'" in done.stderr and "pw" not in done.stderr
    with pytest.raises(VideoError, match=r"^https://a/b\.mp4: .* pip install 'deepkd\[url\]'$"):
        deepkd.detect("https://u:pw@a/b.mp4")
    done = CliRunner().invoke(app, ["detect", "-"], input="https://a/b.mp4\n")
    assert done.exit_code == 1 and "pip install 'deepkd[url]'" in done.stdout
