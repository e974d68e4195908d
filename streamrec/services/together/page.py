"""Serves the page of the small shop: files that do not change, and where ingress and API are."""

import json
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any, Self

_TYPES = {
    "index.html": "text/html; charset=utf-8",
    "shop.css": "text/css; charset=utf-8",
    "shop.js": "text/javascript; charset=utf-8",
}


class PageServer(AbstractContextManager["PageServer"]):
    """A server in a thread of its own, for as long as it is entered."""

    def __init__(self, host: str, port: int, config: Mapping[str, Any]) -> None:
        """Raises OSError where the port is taken. `config` is what the page is told, as JSON."""
        folder = files("streamrec.shop.front").joinpath("page")
        found = {name: (kind, folder.joinpath(name).read_bytes()) for name, kind in _TYPES.items()}
        found["config.json"] = "application/json", json.dumps(config, ensure_ascii=False).encode()
        found[""] = found["index.html"]

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                kind, body = found.get(self.path.partition("?")[0].lstrip("/"), (None, b""))
                if kind is None:
                    self.send_error(HTTPStatus.NOT_FOUND)
                    return
                self.send_response(HTTPStatus.OK)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: Any) -> None:
                """Nobody reads who looked at the page."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="page", kwargs={"poll_interval": 0.1}
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


__all__ = ["PageServer"]
