"""Fetches links one after the other in one process, as the fetching process does with one.

Reads a JSON object a line: `url`, `folder`, `max_bytes`, `limit_s`; writes the answers likewise.
"""

import itertools
import json
import socket
import sys

from deepkd.origin.addresses import parse_networks
from deepkd.origin.fetcher import fetch
from deepkd.origin.guard import Guard

ANSWERS = itertools.chain(["127.0.0.1"], itertools.repeat("127.0.0.2"))
"""What the name server of an attacker says of `rebind.test`, in turn."""
look_up = socket.getaddrinfo


def getaddrinfo(host: str, *arguments: object, **options: object) -> list:
    return look_up(next(ANSWERS) if host == "rebind.test" else host, *arguments, **options)


socket.getaddrinfo = getaddrinfo
guard = Guard(parse_networks("127.0.0.1"))
guard.install()
for line in sys.stdin:
    print(json.dumps(fetch(json.loads(line), guard)), flush=True)
