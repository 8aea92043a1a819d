"""Links: the one clip behind an address, downloaded to a temporary file under limits."""

import datetime
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepkd.errors import InputError, VideoError
from deepkd.origin.origin import Origin
from deepkd.outputs import check_folder, scratch, write_whole
from deepkd.text import shorten

KEPT = {"PATH", "SYSTEMROOT", "TMPDIR", "TEMP", "TMP", "LANG", "LC_ALL", "SSL_CERT_FILE",
        "SSL_CERT_DIR"}  # fmt: skip
"""Environment variables that the fetching process sees: no proxy, no settings of yt-dlp."""
HOMES = ("HOME", "USERPROFILE", "APPDATA", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME")
PROBLEMS = {
    "private": (
        "leads to {detail}, an address that is not public; if you trust it, add"
        " --allow-private {detail}"
    ),
    "too large": "is larger than {mb:g} MB; raise --fetch-mb, or download it first",
    "too slow": "took longer than {limit_s:g} s to download; raise --fetch-timeout",
    "redirects": "is redirected too often; open it in a browser and give the address it ends at",
    "status": "the server answers {detail}; check the address, or download the clip first",
    "no video": "no video was found there; give the address of the clip itself",
    "several": "is a page with several clips; give the address of one",
    "live": "is a live stream; record a part of it and give the file",
    "scheme": "leads to an address that is neither http nor https; download the clip first",
    "failed": "could not be downloaded ({detail}); check the address, or download it first",
}
"""Code -> what is said of a link that could not be downloaded."""


@dataclass(frozen=True)
class Limits:
    """What a download may take."""

    mb: float
    """Largest size, 10^6 bytes."""
    seconds: float
    allow_private: str = ""
    """Addresses and networks that may be asked although they are private."""


@contextmanager
def fetch_link(
    link: str, shown: Path, limits: Limits, *, keep: Path | None = None
) -> Iterator[tuple[Path, Origin]]:
    """The clip behind a link, in a temporary file, and where it came from.

    An `InputError` in the block, about the file, becomes one about the link.

    Args:
        link: an address, http or https.
        shown: the address without credentials.
        limits: of the download.
        keep: folder to which the file is copied.

    Raises:
        VideoError: it cannot be downloaded.
        OutputError: it cannot be written.
    """
    with scratch() as folder:
        at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        found = _run_fetcher(link, folder, limits)
        if "problem" in found:
            raise VideoError(f"{shown}: {explain(found, limits)}")
        file = folder / found.pop("file")
        size, digest = _fingerprint(file)
        texts = {key: shorten(value) for key, value in found.items()}
        copy = _keep(file, digest, keep) if keep else None
        origin = Origin(str(shown), at, bytes=size, sha256=digest, file=copy, **texts)
        try:
            yield file, origin
        except InputError as error:
            raise type(error)(str(error).replace(str(file), str(shown))) from error


def explain(answer: dict[str, str], limits: Limits) -> str:
    """The sentence for what the fetching process says: `problem` and `detail`."""
    detail = re.sub(r"\w+://\S+", "…", shorten(answer.get("detail")))
    return PROBLEMS[answer["problem"]].format(detail=detail, mb=limits.mb, limit_s=limits.seconds)


def _run_fetcher(link: str, folder: Path, limits: Limits) -> dict[str, Any]:
    request = {
        "url": link,
        "folder": str(folder),
        "max_bytes": int(limits.mb * 1e6),
        "limit_s": limits.seconds,
        "allow_private": limits.allow_private,
    }
    words = [sys.executable, "-P", "-m", "deepkd.origin.fetcher"]
    try:
        done = subprocess.run(
            words, input=json.dumps(request), env=_environment(folder), cwd=folder,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8",
            timeout=limits.seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"problem": "too slow"}
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return {"problem": "failed", "detail": f"the download ended with code {done.returncode}"}
    return answer


def _environment(folder: Path) -> dict[str, str]:
    """The variables of the fetching process: an empty home, and no plugins of yt-dlp."""
    kept = {name: value for name, value in os.environ.items() if name in KEPT}
    home = folder / "home"
    home.mkdir()
    paths = os.pathsep.join(os.path.abspath(path) for path in sys.path if path)
    return {
        **kept,
        **dict.fromkeys(HOMES, str(home)),
        "PYTHONPATH": paths,
        "PYTHONDONTWRITEBYTECODE": "1",
        "YTDLP_NO_PLUGINS": "1",
    }


def _fingerprint(file: Path) -> tuple[int, str]:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return stream.tell(), digest


def _keep(file: Path, digest: str, folder: Path) -> Path:
    """Copy a file to a folder, named by its SHA-256; its name on the server is not used."""
    check_folder(folder)
    ending = file.suffix if re.fullmatch(r"\.[a-z0-9_]{1,16}", file.suffix) else ""
    copy = folder / f"{digest[:16]}{ending}"
    with write_whole(copy) as beside:
        shutil.copyfile(file, beside)
    return copy
