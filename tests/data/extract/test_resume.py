"""An extraction goes on where it was stopped, and does again what failed or changed."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from media import Media

from deepkd.data.extract.run import Summary, extract
from deepkd.data.index import read_index
from deepkd.errors import OutputError
from deepkd.settings.data import ExtractConfig

QUICK = ExtractConfig(frames=3, face_px=96, workers=0)
ROOT = Path(__file__).resolve().parents[3]


def run(*sources: Path, out: Path, config: ExtractConfig = QUICK, **options: bool) -> Summary:
    return extract([str(source) for source in sources], out, config, **options)  # type: ignore[arg-type]


def test_resume_does_only_what_is_new_or_changed(clips: Path, tmp_path: Path, media: Media) -> None:
    out = tmp_path / "out"
    files = [media.path(f"set/real/{name}.mp4") for name in "abc"]
    for file in files:
        file.write_bytes((clips / "real/a.mp4").read_bytes())
    run(files[0].parent, out=out)
    before = {path: path.stat().st_ino for path in (out / "crops").rglob("*.jpg")}
    files[1].write_bytes((clips / "fake/a.mp4").read_bytes())
    for crop in (out / "crops/c").iterdir():
        crop.unlink()
    summary = run(files[0].parent, out=out, resume=True)
    after = {path: path.stat().st_ino for path in (out / "crops").rglob("*.jpg")}
    assert summary.resumed == 1 and before.keys() == after.keys() and len(read_index(out)) == 9
    kept = {path.parent.name for path in before if before[path] == after[path]}
    assert kept == {"a"}, "b has another content, the crops of c were gone"


def test_resume_tries_failed_clips_again_and_takes_labels_anew(
    clips: Path, tmp_path: Path, media: Media
) -> None:
    out, late = tmp_path / "out", media.junk("set/real/late.mp4")
    assert run(tmp_path / "set", out=out).exit_code == 1
    late.write_bytes((clips / "real/a.mp4").read_bytes())
    assert run(tmp_path / "set", out=out, resume=True).exit_code == 0
    assert {row.label for row in read_index(out)} == {"REAL"}
    listing = tmp_path / "list.csv"
    listing.write_text("path,label\nset/real/late.mp4,FAKE\n")
    run(listing, out=out, resume=True)
    assert {row.label for row in read_index(out)} == {"FAKE"}


def test_clips_of_sources_that_are_not_named_again_are_told_of(clips: Path, tmp_path: Path) -> None:
    def is_told(*sources: Path, resume: bool = True) -> bool:
        warnings = run(*sources, out=tmp_path / "out", resume=resume).warnings
        return any(
            line.startswith("1 clips that were extracted before are not in the index")
            for line in warnings
        )

    assert not is_told(clips / "real/a.mp4", resume=False)
    assert is_told(clips / "fake/two.mp4")
    assert not is_told(clips / "real/a.mp4", clips / "fake/two.mp4")
    assert {row.video for row in read_index(tmp_path / "out")} == {"a.mp4", "two.mp4"}


def start_run(
    source: Path, out: Path, *options: str, limit_bytes: int | None = None
) -> "subprocess.Popen[str]":
    """A real `deepkd extract` with workers, as a process of its own."""

    def limit() -> None:
        if limit_bytes:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    command = [
        sys.executable,
        "-m",
        "deepkd",
        "extract",
        str(source),
        "--out",
        str(out),
        "--frames",
        "4",
        *options,
    ]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limit,
    )


def wait_for_records(process: "subprocess.Popen[str]", out: Path, count: int) -> None:
    journal = out / "journal.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if journal.exists() and journal.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.005)
    raise AssertionError(
        f"the run ended or hung before {count} clips: {process.communicate(timeout=5)}"
    )


@pytest.fixture(scope="module")
def many(shared_media: Media) -> Path:
    first = shared_media.clip("many/real/00.mp4", seconds=1, size=(240, 180))
    for number in range(1, 12):
        (first.parent / f"{number:02d}.mp4").write_bytes(first.read_bytes())
    return first.parents[1]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_run_leaves_whole_files_and_goes_on(
    many: Path, tmp_path: Path, how: signal.Signals
) -> None:
    out = tmp_path / "out"
    process = start_run(many, out, "--workers", "1")
    wait_for_records(process, out, 1)
    process.send_signal(how)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == (-how if how is signal.SIGKILL else 130), errors
    assert not (out / "index.csv").exists()
    done = {path.name: path.stat().st_ino for path in (out / "crops").iterdir()}
    assert 1 <= len(done) < 12 and all(
        len(list((out / "crops" / name).iterdir())) == 4 for name in done
    )
    with pytest.raises(OutputError, match="--resume"):
        run(many, out=out)
    summary = run(many, out=out, config=ExtractConfig(frames=4, workers=0), resume=True)
    assert summary.resumed >= 1 and summary.crops == 12 * 4 == len(read_index(out))
    kept = [name for name, inode in done.items() if (out / "crops" / name).stat().st_ino == inode]
    assert len(kept) >= summary.resumed


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the worker through /proc")
def test_a_killed_worker_is_replaced_and_its_clip_done_again(many: Path, tmp_path: Path) -> None:
    process = start_run(many, tmp_path / "out", "--workers", "1")
    wait_for_records(process, tmp_path / "out", 1)
    for child in children(process.pid):
        if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text():
            os.kill(child, signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert len(read_index(tmp_path / "out")) == 12 * 4


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_full_disk_ends_the_run_with_what_to_do(clips: Path, tmp_path: Path) -> None:
    process = start_run(clips / "real/a.mp4", tmp_path / "out", limit_bytes=4000)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "cannot be written" in errors and "go on with --resume" in errors.replace("\n", " ")
    assert not (tmp_path / "out/index.csv").exists() and not (tmp_path / "out/crops").exists()
    run(
        clips / "real/a.mp4",
        out=tmp_path / "out",
        config=ExtractConfig(frames=4, workers=0),
        resume=True,
    )
    assert len(read_index(tmp_path / "out")) == 4
