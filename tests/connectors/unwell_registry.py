"""A schema registry that can be unwell: a real HTTP server that answers as told.

    with unwell_registry() as registry:
        registry.schemas[7] = "..."
        registry.says("/schemas/ids/7", status(500))      # from now on
        ConfluentRegistry(registry.url)

What nothing else is told of is answered as Confluent's registry does.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Way = Callable[[BaseHTTPRequestHandler], None]


class UnwellRegistry:
    """What it holds, how it answers, and what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.schemas: dict[int, str] = {}
        self.guids: dict[str, str] = {}
        self.references: dict[int, list[dict[str, Any]]] = {}
        self.versions: dict[tuple[str, int], dict[str, Any]] = {}
        self.subjects: dict[str, list[int]] = {}  # ids by version
        self.asked: list[str] = []  # paths, in order
        self._ways: dict[str, Way] = {}

    def says(self, path: str, way: Way | None) -> None:
        """Answer questions whose path begins so in this way; None: well again."""
        if way is None:
            self._ways.pop(path, None)
        else:
            self._ways[path] = way

    def answer(self, handler: BaseHTTPRequestHandler, sent: str = "") -> None:
        self.asked.append(handler.path)
        for path, way in self._ways.items():
            if handler.path.startswith(path):
                way(handler)
                return
        found = self._posted(handler.path, json.loads(sent)["schema"]) if sent else None
        found = found or self._found(handler.path)
        if found is None:
            refused(404, 40403, "Schema not found")(handler)
        else:
            body(200, json.dumps(found))(handler)

    def _posted(self, path: str, schema: str) -> dict[str, Any] | None:
        """Registers, or looks up, a schema under a subject."""
        subject = path.split("/")[2]
        ids = self.subjects.setdefault(subject, [])
        known = next((i for i, text in self.schemas.items() if text == schema), None)
        if path.endswith("/versions"):
            if known is None:
                known = len(self.schemas) + 1
                self.schemas[known] = schema
            if known not in ids:
                ids.append(known)
            return {"id": known}
        if known not in ids:
            return None
        return {"id": known, "version": ids.index(known) + 1, "schema": schema}

    def _found(self, path: str) -> dict[str, Any] | None:
        kind, _, rest = path.removeprefix("/").partition("/")
        what, _, name = rest.partition("/")
        if kind == "schemas" and what == "ids" and int(name) in self.schemas:
            found: dict[str, Any] = {"schema": self.schemas[int(name)]}
            if int(name) in self.references:
                found["references"] = self.references[int(name)]
            return found
        if kind == "schemas" and what == "guids" and name in self.guids:
            return {"schema": self.guids[name]}
        if kind == "subjects" and name == "versions/latest" and self.subjects.get(what):
            newest = self.subjects[what][-1]
            version = len(self.subjects[what])
            return {"id": newest, "version": version, "schema": self.schemas[newest]}
        if kind == "subjects" and name.startswith("versions/"):
            return self.versions.get((what, int(name.removeprefix("versions/"))))
        return None


def body(status: int, text: str, kind: str = "application/json", **headers: str) -> Way:
    """A whole answer."""

    def way(handler: BaseHTTPRequestHandler) -> None:
        content = text.encode()
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)

    return way


def refused(status: int, code: int, message: str) -> Way:
    """A registry's own JSON."""
    return body(status, json.dumps({"error_code": code, "message": message}))


def html(status: int) -> Way:
    """A page of a proxy."""
    return body(status, "<html><body>Sign in, please</body></html>", "text/html")


def redirect(to: str) -> Way:
    return body(302, "", "text/html", Location=to)


def slow(text: str, pause_s: float = 1.0, head: bool = False) -> Way:
    """An answer a byte at a time: of the body alone, or of the head too."""

    def way(handler: BaseHTTPRequestHandler) -> None:
        lines = f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n".encode()
        pieces = text.encode()
        if head:
            pieces = lines + pieces
        else:
            handler.wfile.write(lines)
        try:
            for at in range(len(pieces)):
                handler.wfile.write(pieces[at : at + 1])
                time.sleep(pause_s)
        except OSError:  # whoever asked has given up, as it should
            pass
        handler.close_connection = True

    return way


def cut(handler: BaseHTTPRequestHandler) -> None:
    """A connection that ends in the middle of an answer."""
    handler.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"sche')
    handler.close_connection = True


@contextmanager
def unwell_registry() -> Iterator[UnwellRegistry]:
    registry = UnwellRegistry()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            registry.answer(self)

        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            registry.answer(self, sent.decode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        registry.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield registry
        finally:
            server.shutdown()
