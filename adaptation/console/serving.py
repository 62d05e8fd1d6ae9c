"""Serves the console from inside a learner: a thread with a loop of its own, which waits for its sockets alone."""

import logging
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import uvicorn
from fastapi import FastAPI
from nicegui import ui
from starlette.types import ASGIApp

from adaptation.console.access import Access
from adaptation.console.backstage import Backstage
from adaptation.console.connections import Connections, ConsoleProtocol
from adaptation.console.link import link, link_token
from adaptation.console.origins import Origins
from adaptation.console.page_files import page_files
from adaptation.console.pages import add_pages
from adaptation.console.picture_routes import picture_routes
from adaptation.console.policy import mark_template_scripts
from adaptation.console.sessions import Sessions
from adaptation.console.sockets import check_messages
from adaptation.control.learner.learner import Learner
from exchange.net.addresses import Address, parse_address
from exchange.net.callers import Callers
from exchange.net.connections import most_connections
from exchange.net.listening import StartupError
from exchange.net.tls_files import TlsFiles

_CONNECTIONS = 256
"""A page that is open has one, and for moments some more."""
_AT_ONCE = 32
"""The event loop takes up so many new connections before it looks at one."""
_GRACE_S = 1
_START_WITHIN_S = 30.0
_RECONNECT_WITHIN_S = 5.0


@contextmanager
def running_console(learner: Learner, callers: Callers, listen: str, tls: TlsFiles | None) -> Iterator[tuple[int, str]]:
    """The console's port and the link that opens it, which is empty where tokens or certificates do. One for a process.

    Args:
        tls: of the learner's gRPC port, by which this one is served, too.

    Raises:
        StartupError: the server does not come up.
    """
    backstage = Backstage(learner)
    app = FastAPI(openapi_url=None)
    app.include_router(picture_routes(backstage))
    app.include_router(page_files())
    add_pages(backstage)
    ui.run_with(
        app,
        title="roadshift",
        dark=None,
        language="en-US",
        tailwind=False,
        binding_refresh_interval=None,
        reconnect_timeout=_RECONNECT_WITHIN_S,
        show_welcome_message=False,
    )
    mark_template_scripts()
    check_messages()
    settings = learner.settings
    token = link_token(settings.run_dir / "console-token") if callers.are_open else ""
    access = Access(
        app,
        callers=callers,
        sessions=Sessions(callers, token),
        origins=Origins(listen, settings.console_origins),
    )
    server = _Server(_server_config(access, tls))
    # NiceGUI looks at every object there is, and torch warns of each that it would rather not have looked at.
    warnings.filterwarnings("ignore", ".*torch.distributed.reduce_op.*", FutureWarning)
    listener = parse_address(listen).bound_socket()
    thread = threading.Thread(target=server.run, args=([listener],), name="console", daemon=True)
    thread.start()
    try:
        if not server.is_up.wait(_START_WITHIN_S):
            raise StartupError("the console did not start: the log says why; or leave --console-port out")
        port = listener.getsockname()[1]
        address = Address(parse_address(listen).host, port)
        yield port, link("https" if tls else "http", address, token) if callers.are_open else ""
    finally:
        server.should_exit = True
        thread.join(_GRACE_S + 5)
        backstage.close()


def _server_config(app: ASGIApp, tls: TlsFiles | None) -> uvicorn.Config:
    connections = most_connections(_CONNECTIONS)
    config = uvicorn.Config(
        app,
        # Any callable makes a protocol; the type asks for a class.
        http=partial(ConsoleProtocol, counted=Connections(connections // 2)),  # type: ignore[arg-type]
        ws="websockets-sansio",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        backlog=_AT_ONCE,
        timeout_graceful_shutdown=_GRACE_S,
    )
    config.load()
    if tls is not None:
        config.ssl = tls.server_context()  # uvicorn's own would be by the files of now for good
    return config


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()
