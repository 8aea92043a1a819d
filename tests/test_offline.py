"""Nothing leaves the machine, and nothing runs that lies beside the clips.

No command asks the network, writes into the home folder, or imports from the working folder.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from crop_factory import write_crops
from media import Media

from deepkd.offline import SWITCHES

ROOT = Path(__file__).resolve().parents[1]
HOMES = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
SMALL = (
    "--epochs 1 --batch 4 --workers 1 --sampling balanced --limit 8 --val-limit 4 --augment none"
    " --image-size 32"
)
LIGHT = (
    "detect forged.mp4 --report r.html --save-video v.webm",
    "detect forged.mp4 --report r.csv --workers 1",
    "detect forged.mp4 --runtime openvino --frames 2",
    "doctor",
    "extract clips --out extracted --frames 2 --workers 1",
    "forge clips --out forged --frames 2",
)
"""Each is started as a user starts it."""
TRAINING = (
    f"train --data crops --out teacher --model pico {SMALL}",
    f"distill --data crops --teacher teacher --student pico --out student {SMALL}",
    "prune student --data crops --out pruned --params 150000 --samples 8",
    "quantize student/model.onnx --data crops --out small.onnx --int8 plain --samples 4 --runs 3",
    "export student --out exported.onnx",
    "evaluate student --data crops --resamples 0 --out evaluated --plots plots",
    "evaluate deepkd-nano --data crops --resamples 0",
    "benchmark --teacher deepkd-nano --student deepkd-pico --runs 3 --batch 2 --out benchmarked",
)
"""Each is started in a fork of a process that has imported the libraries, which takes seconds.

Each may use what those before it wrote; `LIGHT` and these are every command that ends by itself."""
LISTENER = """
import os, sys
def note(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        if getattr(arguments[0], "family", None) == 1:
            return  # AF_UNIX, between processes of this machine
        print(event, *arguments, file=open(os.environ["LISTENED"], "a"))
sys.addaudithook(note)
"""
"""A `sitecustomize` that notes what Python itself asks of the network, in each process."""


LAUNCHER = "from deepkd.cli.start import main\nif __name__ == '__main__':\n    main()\n"
"""What the installed program `deepkd` does."""
FORKING = """
import json, os, sys
from deepkd.offline import import_matplotlib, turn_off_telemetry
turn_off_telemetry()
import_matplotlib()
import onnxruntime, timm, torch.onnx, torchvision.transforms.v2
from deepkd.cli.start import main
for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if not child:
        os.environ.update(order["environment"])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for stream in (1, 2):
            os.dup2(os.open(order["printed"], os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
        sys.argv = ["deepkd", *order["words"]]
        sys.exit(main())
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Runs a command for each line that it is given, and tells how it ended."""
TRAP = "open({file!r}, 'a').write(__name__ + ' ')\n"
"""A module that notes that it was run."""
LIBRARIES = ("av", "cv2", "jinja2", "matplotlib", "numpy", "onnx", "onnxruntime", "rich", "torch")


def set_traps(folder: Path, names: Iterable[str]) -> Path:
    """Lay modules of these names into a folder; they write into the file that is returned."""
    sprung = folder.parent / f"{folder.name}-sprung.txt"
    for name in names:
        (folder / f"{name}.py").write_text(TRAP.format(file=str(sprung)))
    return sprung


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with clips, crops, an empty home and a listener."""
    folder = tmp_path_factory.mktemp("offline")
    shutil.copy(ROOT / "data" / "samples" / "forged.mp4", folder)
    Media(folder).clip("clips/a.mp4", faces=["astronaut"])
    write_crops(folder / "crops", px=96, tint=60)
    (folder / "bin").mkdir()
    (folder / "bin" / "deepkd").write_text(LAUNCHER)
    (folder / "bin" / "forking").write_text(FORKING)
    (folder / "listener").mkdir()
    (folder / "listener" / "sitecustomize.py").write_text(LISTENER)
    yield folder


def environment_of(place: Path, home: Path) -> dict[str, str]:
    """With an empty home, and the listener in each process."""
    environment = {name: value for name, value in os.environ.items() if name not in SWITCHES}
    environment.pop("MPLCONFIGDIR", None)
    environment |= {name: str(home / ("" if name == "HOME" else name)) for name in HOMES}
    environment |= {"LISTENED": str(place / "asked.txt"), "ORT_DISABLE_TELEMETRY": "0"}
    return environment | {"PYTHONPATH": os.pathsep.join((str(place / "listener"), str(ROOT)))}


def traced(program: str, place: Path) -> list[str]:
    """A program; where strace is there, it notes what native code asks."""
    strace = ["strace", "-f", "-qq", "--seccomp-bpf", "-e", "trace=connect,sendto", "-o"]
    strace.append(str(place / "calls.txt"))
    words = [sys.executable, str(place / "bin" / program)]
    return [*strace, *words] if shutil.which("strace") else words


def run(words: list[str], place: Path, home: Path) -> subprocess.CompletedProcess[str]:
    """One command with an empty home."""
    return subprocess.run(
        [*traced("deepkd", place), *words], cwd=place, env=environment_of(place, home),
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@contextmanager
def start_forking(
    place: Path, home: Path
) -> Iterator[Callable[[list[str], Path], tuple[int, str]]]:
    """Start `FORKING`, and give a function as `run`, whose result is the exit code and the text."""
    process = subprocess.Popen(
        traced("forking", place), cwd=place, env=environment_of(place, home), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin and process.stdout

    def run_in_fork(words: list[str], home: Path) -> tuple[int, str]:
        printed = place / "printed.txt"
        printed.unlink(missing_ok=True)
        order = {"words": words, "environment": environment_of(place, home)}
        print(json.dumps({**order, "printed": str(printed)}), file=process.stdin, flush=True)
        return int(process.stdout.readline() or 99), printed.read_text() if printed.exists() else ""

    with process:
        yield run_in_fork
        process.stdin.close()
    assert process.returncode == 0


def asked_of_network(place: Path) -> list[str]:
    """What was asked of other machines, by Python or by native code; and forgets it."""
    found = []
    for name in ("asked.txt", "calls.txt"):
        file = place / name
        lines = file.read_text(errors="replace").splitlines() if file.exists() else []
        found += [line for line in lines if "AF_INET" in line or name == "asked.txt"]
        file.unlink(missing_ok=True)
    return found


@pytest.mark.parametrize("line", LIGHT)
def test_no_command_asks_the_network_writes_home_or_runs_what_lies_around(
    line: str, place: Path, tmp_path: Path
) -> None:
    before, sprung = set(ROOT.glob("*")), set_traps(place, {*sys.stdlib_module_names, *LIBRARIES})
    done = run(line.split(), place, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (list(tmp_path.rglob("*")), asked_of_network(place)) == ([], [])
    assert not sprung.exists(), sprung.read_text()
    assert set(ROOT.glob("*")) == before


def test_no_command_that_trains_does(place: Path, tmp_path: Path) -> None:
    before, sprung = set(ROOT.glob("*")), set_traps(place, {*sys.stdlib_module_names, *LIBRARIES})
    with start_forking(place, tmp_path) as run_in_fork:
        for number, line in enumerate(TRAINING):
            home = tmp_path / f"home-{number}"
            home.mkdir()
            code, printed = run_in_fork(line.split(), home)
            assert code == 0, f"{line}\n{printed[-2000:]}"
            assert list(home.rglob("*")) == [], line
            assert not (place / "asked.txt").exists(), line
            assert not sprung.exists(), f"{line}: {sprung.read_text()}"
            home.rmdir()
    assert (list(tmp_path.rglob("*")), asked_of_network(place)) == ([], [])
    assert set(ROOT.glob("*")) == before


def test_the_listener_hears(place: Path) -> None:
    code = "import socket as s; s.socket(s.AF_INET, s.SOCK_DGRAM).connect(('127.0.0.1', 9))"
    environment = {**os.environ, "PYTHONPATH": str(place / "listener")}
    environment["LISTENED"] = str(place / "asked.txt")
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert any("socket.connect" in line for line in asked_of_network(place))


def test_an_unwritable_home_is_no_matter(place: Path) -> None:
    home = place / "a-file"
    home.write_text("no folder")
    done = run(["detect", "forged.mp4", "-q"], place, home)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_library_call_turns_telemetry_off_too(place: Path) -> None:
    home = place / "library"
    home.mkdir()
    code = "import deepkd; print(deepkd.detect('forged.mp4').label)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(home)}
    environment = {name: value for name, value in environment.items() if name not in SWITCHES}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, list(home.rglob("*"))) == ("FAKE\n", [])


def test_run_as_a_module_it_imports_nothing_from_the_working_folder(tmp_path: Path) -> None:
    code = "import runpy, sys; print(*sys.modules)"  # Python itself has these before deepkd begins
    words = [sys.executable, "-P", "-c", code]
    early = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    names = {*sys.stdlib_module_names, *LIBRARIES} - {name.split(".")[0] for name in early}
    sprung = set_traps(tmp_path, names)
    clip = ROOT / "data" / "samples" / "forged.mp4"
    words = [sys.executable, "-m", "deepkd", "detect", str(clip), "--workers", "1"]
    done = subprocess.run(
        words, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True
    )
    assert (done.returncode, done.stdout[:4], sprung.exists()) == (0, b"FAKE", False)
