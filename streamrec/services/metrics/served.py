"""The side server: one thread that answers `/metrics` and `/health`, one request after the other.

It is apart from what a process serves to others, and on loopback unless set otherwise. What is
asked is known at once, so that one thread is enough; a client that is silent for `PATIENCE_S`, or
takes longer than `DEADLINE_S` in all, is left.
"""

import json
import logging
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from streamrec.services.metrics.address import Address
from streamrec.services.metrics.health import Health

_logger = logging.getLogger(__name__)

PATIENCE_S = 2.0
DEADLINE_S = 3.0
PORTS_TRIED = 16  # from the one that was asked for: processes of a cluster on one machine
_JSON = "application/json"


class NoPortError(OSError):
    """No port can be had where it was to be served."""


class Page(NamedTuple):
    """An answer."""

    status: int
    kind: str
    body: bytes


class SideServer:
    """Serves a registry and a health until it is closed."""

    def __init__(
        self,
        address: Address,
        registry: CollectorRegistry,
        health: Health,
        about: Mapping[str, Any],
    ) -> None:
        """`about` is what `/health` says besides. Raises NoPortError."""
        self._server = _bound(address, Pages(registry, health, about))
        self.address = Address(address.host, int(self._server.server_address[1]))
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE_S)


class Pages:
    """What is served, by path."""

    def __init__(
        self, registry: CollectorRegistry, health: Health, about: Mapping[str, Any]
    ) -> None:
        self._registry = registry
        self._health = health
        self._about = dict(about)

    def page(self, path: str, accept: str) -> Page:
        if path == "/metrics":
            encode, kind = choose_encoder(accept)
            return Page(200, kind, encode(self._registry))
        if path == "/health/live":
            return _said(200, {"status": "alive", **self._about})
        if path in ("/health", "/health/ready"):
            reasons = self._health.reasons()
            status = "not ready" if reasons else "ready"
            said = {"status": status, "reasons": reasons, **self._about}
            return _said(503 if reasons else 200, said)
        known = "/metrics, /health, /health/live, /health/ready"
        return _said(404, {"status": "not found", "expected": known})


def _said(status: int, found: Mapping[str, Any]) -> Page:
    return Page(status, _JSON, json.dumps(found).encode())


class _Handler(BaseHTTPRequestHandler):
    timeout = PATIENCE_S
    server_version, sys_version = "streamrec", ""

    def handle(self) -> None:
        cut = threading.Timer(DEADLINE_S, self._leave)
        cut.daemon = True
        cut.start()
        try:
            super().handle()
        finally:
            cut.cancel()

    def _leave(self) -> None:
        with suppress(OSError):  # it has gone by itself
            self.connection.shutdown(socket.SHUT_RDWR)

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        assert isinstance(self.server, _Server)
        try:
            found = self.server.pages.page(urlsplit(self.path).path, self.headers.get("Accept", ""))
        except Exception as error:  # noqa: BLE001  # a measure that cannot be taken must not end the server
            _logger.warning("%s could not be answered: %r", self.path.partition("?")[0], error)
            found = _said(500, {"status": "failed", "error": type(error).__name__})
        self.send_response(found.status)
        self.send_header("Content-Type", found.kind)
        self.send_header("Content-Length", str(len(found.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(found.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Whoever looks every few seconds is not worth a line."""


class _Server(HTTPServer):
    request_queue_size = 32
    pages: Pages

    def server_bind(self) -> None:
        """Without asking for this machine's name, which may take seconds."""
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes before it is answered is no event."""


def _bound(address: Address, pages: Pages) -> _Server:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET

    class Server(_Server):
        address_family = family

    ports = range(address.port, min(address.port + PORTS_TRIED, 65_536)) if address.port else [0]
    for port in ports:
        try:
            server = Server((address.host, port), _Handler)
        except OSError as error:
            if port == ports[-1]:
                raise NoPortError(f"{Address(address.host, port)}: {error.strerror}") from error
        else:
            server.pages = pages
            return server
    raise AssertionError("the last port returns or raises")


__all__ = ["PATIENCE_S", "NoPortError", "Page", "Pages", "SideServer"]
