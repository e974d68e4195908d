"""An app that is served for a test: by Granian as the product does it, or by uvicorn."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn

from streamrec.services.http.app import HttpApp
from streamrec.services.http.server import hold_address, serve_until, url_of

_WAIT_S = 20.0


@contextmanager
def served(app: HttpApp, drain_s: float = 0.0) -> Iterator[httpx.Client]:
    """A client of an app that Granian serves in a thread of its own."""
    stop = asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []
    url: list[str] = []
    failures: list[BaseException] = []
    is_up = threading.Event()

    def listening(at: str) -> None:
        url.append(at)
        is_up.set()

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        await serve_until(stop, app, "127.0.0.1", 0, drain_s, listening)

    def in_thread() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:  # noqa: BLE001  # the test raises it
            failures.append(error)
        is_up.set()

    thread = threading.Thread(target=in_thread)
    thread.start()
    try:
        assert is_up.wait(_WAIT_S)
        if failures:
            raise failures[0]
        with httpx.Client(base_url=url[0], timeout=_WAIT_S) as client:
            yield client
    finally:
        if loops and not loops[0].is_closed():
            loops[0].call_soon_threadsafe(stop.set)
        thread.join(_WAIT_S)
        assert not thread.is_alive()


@contextmanager
def served_by_uvicorn(app: HttpApp) -> Iterator[httpx.Client]:
    """The same by uvicorn."""
    held = hold_address("127.0.0.1", 0)
    held.listen()
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, args=([held],))
    thread.start()
    try:
        url = url_of("127.0.0.1", held.getsockname()[1])
        with httpx.Client(base_url=url, timeout=_WAIT_S) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(_WAIT_S)
        held.close()
