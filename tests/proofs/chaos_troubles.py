"""What befalls a chaos run besides kills, one context manager each."""

import random
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from confluent_kafka import Consumer

_JOINED_S, _AWAY_S = 6.0, 4.0
_WELL_S, _UNWELL_S = 3.0, 3.0
_TIMEOUT_S = 10.0


@contextmanager
def subscriber(bootstrap_servers: str, group: str, topic: str) -> Iterator[None]:
    """A console tool that subscribes under the dataflow's group, again and again. It commits
    nothing: the run ends when the group's offsets have come to the end."""
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            consumer = Consumer(
                {
                    "bootstrap.servers": bootstrap_servers,
                    "group.id": group,
                    "enable.auto.commit": False,
                    "session.timeout.ms": 6_000,
                }
            )
            consumer.subscribe([topic])
            until_s = time.monotonic() + _JOINED_S
            while time.monotonic() < until_s and not stop.is_set():
                consumer.poll(0.2)
            consumer.close()
            stop.wait(_AWAY_S)

    thread = threading.Thread(target=run, name="subscriber")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


# What registries and proxies before them say when they are not well: status, body.
_ANSWERS = (
    (500, b'{"error_code": 50001, "message": "Error in the backend data store"}'),
    (429, b"slow down"),
    (401, b'{"error_code": 401, "message": "Unauthorized"}'),
    (403, b"<html>Forbidden</html>"),
    (302, b""),
    (404, b"<html>no such page</html>"),
    (200, b"<html>Welcome to this network</html>"),
    (200, b'{"version": 3}'),
    (503, b""),
)


@contextmanager
def unwell_registry(url: str, seed: int) -> Iterator[str]:
    """A registry's URL by way of a proxy that is well and unwell in turns."""
    rng = random.Random(seed)
    began_s = time.monotonic()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length) if length else None
            if (time.monotonic() - began_s) % (_WELL_S + _UNWELL_S) > _WELL_S:
                status, said = rng.choice(_ANSWERS)
                self._send(status, said, "text/html")
                return
            headers = {
                name: value
                for name, value in self.headers.items()
                if name.lower() in ("accept", "content-type")
            }
            asked = urllib.request.Request(url + self.path, body, headers, method=self.command)
            try:
                with urllib.request.urlopen(asked, timeout=_TIMEOUT_S) as answer:
                    self._send(answer.status, answer.read(), answer.headers["Content-Type"])
            except urllib.error.HTTPError as error:
                self._send(error.code, error.read(), error.headers["Content-Type"] or "text/plain")

        def _send(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if status == 302:
                self.send_header("Location", "http://127.0.0.1:9/login")
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = _answer

        def log_message(self, format: str, *given: object) -> None:
            """Nothing: each request would be a line."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, name="unwell registry", daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
