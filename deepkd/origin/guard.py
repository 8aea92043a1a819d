"""Guard: keeps a process from connecting to private addresses, and from starting programs.

It checks the address that a socket connects to, not a name. So every redirect is checked, and a
name that leads to another address at its second look-up (DNS rebinding) changes nothing.
"""

import socket
import sys
from collections.abc import Iterable
from typing import Any

from deepkd.origin.addresses import Network, may_connect

CONNECTS = {"socket.connect", "socket.sendto", "socket.sendmsg"}
STARTS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile"}
"""Events of Python (PEP 578) with which a socket takes an address, and a program is started."""


class Refused(PermissionError):
    """A connection, or the start of a program, that is not allowed."""


class Guard:
    """An audit hook for a process of its own: once added, it cannot be removed."""

    def __init__(self, allowed: Iterable[Network] = ()) -> None:
        self._allowed = list(allowed)
        self.refused: list[str] = []
        """The addresses that were refused."""

    def install(self) -> None:
        """Begin to watch this process."""
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Refuse the event if need be.

        Raises:
            Refused: it is not allowed.
        """
        if event in CONNECTS:
            self._check(arguments[0], arguments[1])
        elif event in STARTS:
            raise Refused(f"no other program is started ({event})")

    def _check(self, sock: socket.socket, address: Any) -> None:
        if address is None:  # of a datagram to where the socket is connected already
            return
        is_internet = sock.family in (socket.AF_INET, socket.AF_INET6)
        host = str(address[0]) if is_internet and isinstance(address, tuple) else str(address)
        if not is_internet or not may_connect(host, self._allowed):
            self.refused.append(host)
            raise Refused(f"{host} is not a public address")
