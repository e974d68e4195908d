"""Serves an `HttpApp` with Granian, inside this process, and leaves in good order.

Asked to stop (SIGTERM, SIGINT) a server says that it is not ready, goes on for `drain_s`, takes no
new connections, lets what runs finish for at most 10 s, and leaves. A second signal ends it then
and there.
"""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from streamrec.services.http.app import HttpApp

_logger = logging.getLogger(__name__)

FINISH_S = 10.0
_LISTEN_S = 10.0
_LOOK_S = 0.02
_BACKLOG = 1_024


class AddressError(Exception):
    """An address cannot be listened on; the message says why."""


def serve(
    make_app: Callable[[], HttpApp],
    host: str,
    port: int,
    *,
    drain_s: float = 0.0,
    listening: Callable[[str], None] = lambda url: None,
    shared: bool = False,
) -> None:
    """Serve until asked to stop. `port` 0 takes a free one; `listening` is told the address once
    connections are taken; `shared`: other processes listen there too. Raises AddressError, and
    what entering the app raises."""

    async def until_asked() -> None:
        stop = _on_signals()
        await serve_until(stop, make_app(), host, port, drain_s, listening, shared)

    # Written in C: of a small request's cost an eighth less than with Python's own loop.
    uvloop.run(until_asked())


def hold_address(host: str, port: int, shared: bool = False) -> socket.socket:
    """A socket that keeps an address for this process and those that it starts, and listens not.
    `shared`: others hold it too. Raises AddressError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        if port and not shared:
            # What listens there with SO_REUSEPORT, as Granian does, would share what comes with us.
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        with ExitStack() as stack:
            held = stack.enter_context(socket.socket(family, kind, protocol))
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held.bind(address)
            stack.pop_all()
    except OSError as error:
        raise AddressError(
            f"address {host}:{port} expected to be free and this machine's, got "
            f"{error.strerror or error}"
        ) from error
    return held


def url_of(host: str, port: int) -> str:
    """
    >>> url_of("::1", 8080)
    'http://[::1]:8080'
    """
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve_until(
    stop: asyncio.Event,
    app: HttpApp,
    host: str,
    port: int,
    drain_s: float = 0.0,
    listening: Callable[[str], None] = lambda url: None,
    shared: bool = False,
) -> None:
    """The same in a running loop, until the event is set. Raises as `serve` does."""
    held = hold_address(host, port, shared)
    try:
        await _serve(stop, app, host, held.getsockname()[1], drain_s, listening)
    finally:
        held.close()


async def _serve(
    stop: asyncio.Event,
    app: HttpApp,
    host: str,
    port: int,
    drain_s: float,
    listening: Callable[[str], None],
) -> None:
    async with app.entered():
        server = _granian(app, host, port)
        serving = asyncio.ensure_future(server.serve())
        try:
            await _until_listening(host, port, serving)
            listening(url_of(host, port))
            _, pending = await asyncio.wait(
                (asked := asyncio.ensure_future(stop.wait()), serving),
                return_when=asyncio.FIRST_COMPLETED,
            )
            asked.cancel()
            app.drain()
            if serving in pending:
                await asyncio.sleep(drain_s)
                await _finished(app)
        finally:
            server.stop()
            await asyncio.wait((serving,), timeout=FINISH_S)
    _logger.info("stopped in good order")


def _granian(app: HttpApp, host: str, port: int) -> Any:
    logging.getLogger("_granian").setLevel(logging.CRITICAL)
    return Server(
        app,
        address=host,
        port=port,
        interface=Interfaces.ASGINL,  # the lifespan is entered by us, whose errors then are ours
        http=HTTPModes.http1,
        websockets=False,
        backlog=_BACKLOG,
        log_enabled=False,
    )


def _on_signals() -> asyncio.Event:
    """Set by the first signal; the second one ends the process as if nobody listened to it."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def asked(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        _logger.info("%s: finishing, then leaving", signal.Signals(number).name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked, number)
    return stop


async def _until_listening(host: str, port: int, serving: asyncio.Future[None]) -> None:
    """Raises AddressError."""
    give_up_s = asyncio.get_running_loop().time() + _LISTEN_S
    target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    while asyncio.get_running_loop().time() < give_up_s and not serving.done():
        with suppress(OSError):
            _, writer = await asyncio.open_connection(target, port)
            writer.close()
            return
        await asyncio.sleep(_LOOK_S)
    raise AddressError(f"address {host}:{port} expected to listen, got no connection")


async def _finished(app: HttpApp) -> None:
    give_up_s = asyncio.get_running_loop().time() + FINISH_S
    while app.running and asyncio.get_running_loop().time() < give_up_s:
        await asyncio.sleep(_LOOK_S)
    if app.running:
        _logger.warning("%d requests did not finish within %.0f s", app.running, FINISH_S)


__all__ = ["AddressError", "hold_address", "serve", "serve_until", "url_of"]
