"""Compare the logits of a model in a browser with those of ONNX Runtime here.

    python tools/browser_check.py [MODEL]

Takes a Chromium and an unpacked onnxruntime-web, which is not fetched from here. In a checkout:

    mkdir -p build/onnxruntime-web
    npm pack onnxruntime-web --pack-destination build/onnxruntime-web
    tar -xzf build/onnxruntime-web/*.tgz -C build/onnxruntime-web

The browser gets the ONNX file as it is, uint8 crops of two public-domain portraits and of noise,
one crop alone and all together. Prints one JSON document; ends with 1 where a logit differs by more
than 1e-4.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from ship_model import golden_crops

from deepkd.scoring.model import Scorer

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / "build" / "onnxruntime-web" / "package"
"""Where onnxruntime-web lies, unless `--ort-web` or the variable DEEPKD_ORT_WEB names another
folder."""
SCHEMA = "deepkd.browser/1"
TOLERANCE = 1e-4
WAIT_S = 240
RUNS = 30
"""Timed runs of one crop in the browser."""
TYPES = {".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm"}
PAGE = """<!doctype html><meta charset="utf-8"><title>deepkd</title>
<script src="ort/ort.wasm.min.js"></script>
<script>
async function check() {
  const side = SIDE, count = COUNT, runs = RUNS;
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = new URL("ort/", location.href).href;
  const session = await ort.InferenceSession.create("model.onnx", {executionProviders: ["wasm"]});
  const pixels = new Uint8Array(await (await fetch("crops.bin")).arrayBuffer());
  const logits = async (n) => {
    const shape = [n, side, side, 3];
    const crops = new ort.Tensor("uint8", pixels.subarray(0, n * side * side * 3), shape);
    return Array.from((await session.run({crops}, ["logit"])).logit.data);
  };
  const one = await logits(1), all = await logits(count), ms = [];
  for (let run = 0; run < runs; run++) {
    const start = performance.now();
    await logits(1);
    ms.push(performance.now() - start);
  }
  return {one, all, ms};
}
const tell = (found) => fetch("result", {method: "POST", body: JSON.stringify(found)});
check().then(tell, (error) => tell({error: String(error)}));
</script>
"""


def main() -> None:
    """Run the check and print what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="deepkd-nano", help="shipped name or ONNX file")
    parser.add_argument("--ort-web", type=Path, help="folder of the unpacked onnxruntime-web")
    args = parser.parse_args()
    document = check(args.model, args.ort_web)
    print(json.dumps(document, indent=2))
    sys.exit(0 if document["difference"] <= TOLERANCE else 1)


def browser() -> str | None:
    """A Chromium on the path."""
    return next(
        filter(
            None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))
        ),
        None,
    )


def ort_web(folder: Path | None = None) -> Path:
    """The folder of onnxruntime-web: the one given, the variable's, or the usual place."""
    return folder or Path(os.environ.get("DEEPKD_ORT_WEB", HERE))


def find_missing(folder: Path | None = None) -> str | None:
    """What the check lacks here, in words."""
    if browser() is None:
        return "no Chromium is installed"
    if not (ort_web(folder) / "dist" / "ort.wasm.min.js").is_file():
        return (
            f"{ort_web(folder)}: no onnxruntime-web there; see tools/browser_check.py for how to"
            " get it"
        )
    return None


def check(model: str, folder: Path | None = None) -> dict[str, Any]:
    """Logits in the browser and here, and their largest difference.

    Raises:
        SystemExit: something is missing, or the browser reports an error or nothing.
    """
    lacking = find_missing(folder)
    if lacking:
        raise SystemExit(lacking)
    scorer = Scorer.load(model, threads=1)
    noise = np.random.default_rng(0).integers(
        0, 256, (3, scorer.format.size, scorer.format.size, 3), np.uint8
    )
    crops = scorer.format.batch([*golden_crops(scorer).values(), *noise])
    found = in_browser(scorer.path, crops, ort_web(folder))
    if "error" in found:
        raise SystemExit(f"the browser says: {found['error']}")
    here = scorer.logits(list(crops))
    pairs = ((found["one"], scorer.logits([crops[0]])), (found["all"], here))
    return {
        "schema": SCHEMA,
        "model": scorer.name,
        "sha256": scorer.sha256,
        "bytes": scorer.bytes,
        "browser": (
            subprocess.run(
                [str(browser()), "--version"], capture_output=True, text=True
            ).stdout.strip()
        ),
        "onnxruntime_web": json.loads((ort_web(folder) / "package.json").read_text())["version"],
        "logits": {"browser": found["all"], "here": here.tolist()},
        "difference": max(float(np.abs(np.array(there) - ours).max()) for there, ours in pairs),
        "ms": round(float(np.median(found["ms"])), 3),
    }


def in_browser(model: Path, crops: np.ndarray, web: Path) -> dict[str, Any]:
    """What the page reports of the model's logits for crops (N, S, S, 3), uint8."""
    page = (
        PAGE.replace("SIDE", str(crops.shape[1]))
        .replace("COUNT", str(len(crops)))
        .replace("RUNS", str(RUNS))
    )
    files = {"/": page.encode(), "/model.onnx": model.read_bytes(), "/crops.bin": crops.tobytes()}
    found: dict[str, Any] = {}
    done = threading.Event()
    handler = partial(Site, files=files, web=web / "dist", found=found, done=done)
    with serve(handler) as address, open_browser(address):
        done.wait(WAIT_S)
    return found or {"error": f"nothing within {WAIT_S} s"}


class Site(BaseHTTPRequestHandler):
    """Serves page, model, crops and onnxruntime-web to this machine, and takes the result."""

    def __init__(
        self, *args: Any, files: dict[str, bytes], web: Path, found: dict[str, Any], done: Any
    ) -> None:
        self.files, self.web, self.found, self.done = files, web, found, done
        super().__init__(*args)

    def do_GET(self) -> None:
        """One of the files, or of onnxruntime-web's."""
        content = self.files.get(self.path)
        file = self.web / Path(self.path).name
        if content is None and self.path.startswith("/ort/") and file.is_file():
            content = file.read_bytes()
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Type", TYPES.get(Path(self.path).suffix, "text/html"))
        self.end_headers()
        self.wfile.write(content or b"")

    def do_POST(self) -> None:
        """The result."""
        self.found.update(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()
        self.done.set()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serve(handler: Any) -> Iterator[str]:
    """The address of a server on this machine, until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def open_browser(address: str) -> Iterator[None]:
    """A headless browser at an address, until the block ends."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [
                str(browser()), "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
                "--disable-background-networking", "--disable-component-update",
                f"--user-data-dir={profile}", "--remote-debugging-port=0",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", address,
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": profile},
        )  # fmt: skip
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


if __name__ == "__main__":
    main()
