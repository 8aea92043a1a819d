"""App: the desk as an ASGI application, and the server that runs it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable

import uvicorn
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from deepkd.errors import UsageError
from deepkd.outputs import alone_in
from deepkd.serve.api import Api
from deepkd.serve.connection import make_connection_class
from deepkd.serve.desk import Desk, open_desk
from deepkd.serve.guard import Guard
from deepkd.serve.pages import Pages
from deepkd.settings.serve import ServeConfig

HEADER_BYTES = 16 * 1024
"""Of all headers of a request, at most."""
CONNECTIONS = 256
"""At most; further ones get 503."""
GOODBYE_S = 2
"""How long open requests may take once the server is to end."""
EXPIRE_S = 3600.0


def build_app(desk: Desk) -> Starlette:
    """The application of a desk; its workers run while it does."""
    api = Api(desk)
    pages = Pages(desk, api)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        desk.judging.listen(asyncio.get_running_loop())
        desk.judging.start()
        expiring = asyncio.create_task(_expire(desk))
        yield
        expiring.cancel()
        await run_sync(desk.judging.stop)
        await run_sync(desk.store.close)

    return Starlette(
        routes=[*api.list_routes(), *pages.list_routes()],
        middleware=[Middleware(Guard, desk=desk)],
        exception_handlers={HTTPException: pages.refuse, ClientDisconnect: _gone, 500: _broken},
        lifespan=lifespan,
    )


async def _expire(desk: Desk) -> None:
    while True:
        await run_sync(desk.expire)
        await asyncio.sleep(EXPIRE_S)


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=400)  # nobody reads it


async def _broken(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "the server failed; its log says why"}, 500)


def serve(config: ServeConfig, announce: Callable[[str], None]) -> None:
    """Run the desk until a signal ends it.

    Args:
        config: where and how.
        announce: called with the address once it can be opened.

    Raises:
        UsageError: the address cannot be listened on.
        ModelError: the model cannot be used.
        OutputError: the store cannot be used, or another server uses it.
    """
    with contextlib.suppress(OSError):  # which is told of next
        config.store.mkdir(mode=0o700, parents=True, exist_ok=True)
    with alone_in(config.store), _listen(config) as door:
        desk = open_desk(config)
        server = make_server(desk)
        announce(_address(door))
        server.run(sockets=[door])


def make_server(desk: Desk) -> uvicorn.Server:
    """The server of a desk, to be run with an open socket."""
    settings = uvicorn.Config(
        build_app(desk), http=make_connection_class(desk.config.stall_s), ws="none", loop="asyncio",
        access_log=False, log_level="warning", server_header=False, proxy_headers=False,
        h11_max_incomplete_event_size=HEADER_BYTES, limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=GOODBYE_S, lifespan="on",
    )  # fmt: skip
    return uvicorn.Server(settings)


def _listen(config: ServeConfig) -> socket.socket:
    """The open door.

    Raises:
        UsageError: it cannot be opened.
    """
    try:
        family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
        return socket.create_server((config.host, config.port), family=family, backlog=128)
    except OSError as error:
        raise UsageError(
            f"{config.host}:{config.port}: cannot be listened on ({error.strerror}); choose"
            " another --port or --host"
        ) from error


def _address(door: socket.socket) -> str:
    host, port = door.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/"
