"""How fast and how steady `deepkd serve` is: `python benchmarks/serve.py --help`.

Load: clients upload distinct clips at once while the server and its workers are killed; then
nothing may be lost, judged twice, or differ from `deepkd detect`. Memory is compared over the
second half, in which nothing is killed. Time: from upload to verdict against whole processes of
`deepkd detect`, in turn, so that the ratio holds on a machine whose speed drifts.
"""

import argparse
import http.client
import json
import os
import queue
import re
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from documents import ROOT

from deepkd.machine import cores, machine

SAMPLES = ROOT / "data" / "samples"
TIMED = ("path", "timing_ms")
"""What differs between two verdicts on the same content."""


def main() -> None:
    args = arguments()
    with tempfile.TemporaryDirectory() as folder:
        document = {"machine": machine(cores()).to_dict()}
        if args.uploads:
            document["load"] = load(Path(folder), args.uploads, args.clients, args.kills)
        if args.pairs:
            document["time"] = measure_times(Path(folder), args.pairs)
    print(json.dumps(document, indent=2))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Load, kills, memory and speed of deepkd serve.")
    parser.add_argument("--uploads", type=int, default=200, help="clips (default: 200); 0: none")
    parser.add_argument("--clients", type=int, default=16, help="at once (default: 16)")
    parser.add_argument("--kills", type=int, default=3, help="of server, and of workers each")
    parser.add_argument("--pairs", type=int, default=9, help="timed pairs (default: 9); 0: none")
    return parser.parse_args()


class Server:
    """One `deepkd serve` after another on the same store and port."""

    def __init__(self, store: Path, *options: str) -> None:
        self.store, self.port, self.options = store, 0, options
        self.log = store.with_suffix(".log")
        self.start()

    def start(self) -> None:
        """Start it, and wait until it has an address."""
        words = [sys.executable, "-m", "deepkd", "serve", "--store", str(self.store)]
        words += ["--port", str(self.port), *self.options]
        with self.log.open("a") as log:
            at = self.log.stat().st_size
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            self.process = subprocess.Popen(words, stderr=log, env=environment)
        while not (found := re.search(r":(\d+)/", self.log.read_text()[at:])):
            if self.process.poll() is not None:
                sys.exit(f"the server ended:\n{self.log.read_text()[at:]}")
            time.sleep(0.05)
        self.port = int(found[1])

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Ask it to end."""
        self.process.terminate()
        self.process.wait()

    def workers(self) -> list[int]:
        """The processes that judge."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        pids = " ".join(path.read_text(encoding="ascii") for path in tasks)
        return [int(pid) for pid in pids.split() if b"spawn_main" in read_cmdline(int(pid))]

    def memory_mb(self) -> dict[str, float]:
        """Resident memory of the server and of its largest worker."""
        workers = [measure_rss_mb(pid) for pid in self.workers()]
        return {"server": measure_rss_mb(self.process.pid), "worker": max(workers, default=0.0)}

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """The status and the JSON of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()


def read_cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def measure_rss_mb(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    found = re.search(r"VmRSS:\s+(\d+)", text)
    return round(int(found[1]) / 1024, 1) if found else 0.0


def make_bases(folder: Path) -> list[Path]:
    """Clips of the samples with every kind of answer: videos, parts of them, stills, no clip."""
    clips = [SAMPLES / "real.mp4", SAMPLES / "forged.mp4"]
    for clip in clips[:]:
        clips.append(shorten(clip, folder / f"short-{clip.name}", seconds=2.0))
        with av.open(str(clip)) as file:
            frame = next(file.decode(video=0)).to_ndarray(format="bgr24")
        cv2.imwrite(str(folder / f"{clip.stem}.jpg"), frame)
        clips.append(folder / f"{clip.stem}.jpg")
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    cv2.imwrite(str(folder / "noise.jpg"), noise)
    (folder / "notes.txt").write_text("no clip")
    return [*clips, folder / "noise.jpg", folder / "notes.txt"]


def shorten(clip: Path, out: Path, *, seconds: float) -> Path:
    """The beginning of a clip, copied packet by packet."""
    with av.open(str(clip)) as source, av.open(str(out), "w") as target:
        own = source.streams.video[0]
        stream = target.add_stream_from_template(own)
        for packet in source.demux(own):
            if packet.dts is not None and packet.dts * own.time_base < seconds:
                packet.stream = stream
                target.mux(packet)
    return out


def make_variant(clip: Path, number: int) -> bytes:
    """The same clip with another content: a box, a comment or a word that no decoder reads."""
    content, mark = clip.read_bytes(), f"variant {number}".encode()
    if clip.suffix == ".mp4":
        return content + struct.pack(">I4s", 8 + len(mark), b"free") + mark
    if clip.suffix == ".jpg":
        return content[:2] + b"\xff\xfe" + struct.pack(">H", 2 + len(mark)) + mark + content[2:]
    return content + mark


def judge_by_command(clips: Sequence[Path], folder: Path) -> list[dict[str, Any]]:
    """The entries of `deepkd detect --report`, which looks for evidence as the server does."""
    words = [sys.executable, "-m", "deepkd", "detect", *map(str, clips), "--format", "json"]
    words += ["--report", str(folder / "report.html"), "--overwrite", "--quiet"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    return [drop_times(entry) for entry in json.loads(done.stdout)["videos"]]


def drop_times(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key not in (*TIMED, "schema", "model")}


def load(folder: Path, uploads: int, clients: int, kills: int) -> dict[str, Any]:
    """Upload, kill, wait, compare."""
    bases = make_bases(folder)
    expected = judge_by_command(bases, folder)
    server = Server(folder / "desk", "--max-queue", str(max(8, uploads // 4)))
    jobs: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(uploads):
        jobs.put(number)
    ids, refused = dict[str, int](), Counter[str]()
    start = time.monotonic()

    work = (server, bases, jobs, ids, refused)
    threads = [threading.Thread(target=upload, args=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    memory = kill_and_measure(server, uploads, kills)
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - start
    answers = {id: server.ask("GET", f"/api/v1/clips/{id}?wait=60")[1] for id in ids}
    judged = Counter(re.findall(r"judged (\w{8})", server.log.read_text()))
    server.stop()
    different = [
        id for id, base in ids.items() if drop_times(answers[id]["result"]) != expected[base]
    ]
    return {
        "uploads": uploads,
        "clients": clients,
        "kills": {"server": kills, "workers": kills},
        "seconds": round(seconds, 1),
        "distinct_ids": len(ids),
        "verdicts": Counter(answer["verdict"] for answer in answers.values()),
        "different_from_detect": len(different),
        "judged_twice": sum(count > 1 for count in judged.values()),
        "refused": refused,
        "memory_mb": memory,
    }


def upload(
    server: Server,
    bases: Sequence[Path],
    jobs: "queue.SimpleQueue[int]",
    ids: dict[str, int],
    refused: "Counter[str]",
) -> None:
    """Upload what is left, each until it is taken; fills `ids` (id -> base) and `refused`."""
    with suppress(queue.Empty):
        while True:
            number = jobs.get_nowait()
            base = bases[number % len(bases)]
            content, status = make_variant(base, number), 0
            while status not in (200, 202):
                status, answer = try_to_send(server, base.name, content)
                if status in (200, 202):
                    ids[answer["id"]] = number % len(bases)
                else:
                    refused[str(status)] += 1
                    time.sleep(0.5)


def try_to_send(server: Server, name: str, content: bytes) -> tuple[int, Any]:
    """Status and JSON of the answer; 0 where the server does not answer."""
    try:
        return server.ask("POST", f"/api/v1/clips?name={name}", content)
    except (OSError, http.client.HTTPException, ValueError):
        return 0, None


def kill_and_measure(server: Server, uploads: int, kills: int) -> dict[str, dict[str, float]]:
    """Kill in the first half; the memory at its end, and when all are judged."""
    marks = [(share + 1) * uploads // 2 // (2 * kills + 1) for share in range(2 * kills)]
    memory: dict[str, dict[str, float]] = {}
    while (done := count_settled(server)) < uploads:
        if marks and done >= marks[0]:
            marks.pop(0)
            if len(marks) % 2:
                server.kill()
                server.start()
            elif workers := server.workers():
                os.kill(workers[0], signal.SIGKILL)
        if not marks and done >= uploads * 0.6 and not memory:
            memory[f"after {done}"] = server.memory_mb()
        time.sleep(0.2)
    memory[f"after {uploads}"] = server.memory_mb()
    return memory


def count_settled(server: Server) -> int:
    """How many clips of the store wait for nothing."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=90)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return sum(int(n) for n in re.findall(r'deepkd_clips{state="(?:done|failed)"} (\d+)', text))


def measure_times(folder: Path, pairs: int) -> dict[str, Any]:
    """Seconds from upload to verdict on a warm server, and of `deepkd detect`, in turn."""
    server, clip, ratios = Server(folder / "timed"), SAMPLES / "forged.mp4", []
    served, commands = [], []
    for number in range(-1, pairs):
        content, file = make_variant(clip, number), folder / "timed.mp4"
        file.write_bytes(content)
        start = time.perf_counter()
        status, answer = server.ask("POST", "/api/v1/clips?name=clip.mp4", content)
        answer = server.ask("GET", f"/api/v1/clips/{answer['id']}?wait=60")[1]
        middle = time.perf_counter()
        (entry,) = judge_by_command([file], folder)
        end = time.perf_counter()
        assert status == 202 and drop_times(answer["result"]) == entry
        if number >= 0:  # the first pair warms up
            served.append(middle - start)
            commands.append(end - middle)
            ratios.append(served[-1] / commands[-1])
    server.stop()
    return {
        "pairs": pairs,
        "clip": clip.name,
        "serve_s": round(statistics.median(served), 3),
        "detect_s": round(statistics.median(commands), 3),
        "ratio": round(statistics.median(ratios), 3),
        "largest_ratio": round(max(ratios), 3),
    }


if __name__ == "__main__":
    main()
