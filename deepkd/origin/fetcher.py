"""Fetcher: the process that downloads one clip and ends. `deepkd.origin.links` starts it.

It reads one JSON object from standard input and writes one to standard output.
"""

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from deepkd.origin.addresses import parse_networks
from deepkd.origin.guard import Guard

MEMORY_BYTES = 3 << 30
"""What the process may take; a compressed answer can unfold to more than the limit of a clip."""
SLACK_BYTES = 1 << 20


def main() -> None:
    """Answer the request on standard input."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    request = json.load(sys.stdin)
    _limit(request["max_bytes"], request["limit_s"])
    guard = Guard(parse_networks(request["allow_private"]))
    guard.install()
    json.dump(fetch(request, guard), answer)
    answer.close()


def fetch(request: dict[str, Any], guard: Guard) -> dict[str, Any]:
    """What `download` found, or `problem` (a code) and `detail`."""
    from deepkd.origin.downloader import describe, download

    guard.refused.clear()
    try:
        return download(request["url"], Path(request["folder"]), max_bytes=request["max_bytes"])
    except MemoryError:
        return {"problem": "too large", "detail": ""}
    except Exception as error:  # yt-dlp may raise anything
        problem, detail = describe(error)
        if guard.refused and problem == "failed":
            problem, detail = "private", guard.refused[-1]
        return {"problem": problem, "detail": detail}


def _limit(max_bytes: int, limit_s: float) -> None:
    """Have the system end what the limits in Python do not see; not on Windows."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        size = max_bytes + SLACK_BYTES
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        if sys.platform == "linux":
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, limit_s + 5)  # even if the process above is gone


if __name__ == "__main__":
    main()
