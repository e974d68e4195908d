"""A collector of OpenTelemetry on loopback: takes OTLP over HTTP and keeps the spans."""

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True, slots=True)
class Received:
    """A span as it came, ids in hexadecimal."""

    service: str
    name: str
    trace: str
    span: str
    parent: str  # "": it has none
    links: tuple[tuple[str, str], ...]  # traces and spans
    facts: dict[str, Any]
    took_ns: int


class Collector:
    """What has come so far."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.spans: list[Received] = []

    def named(self, name: str) -> list[Received]:
        return [span for span in list(self.spans) if span.name == name]

    def until(self, done: Callable[[], object], patience_s: float = 60.0) -> None:
        give_up_s = time.monotonic() + patience_s
        while not done():
            assert time.monotonic() < give_up_s, f"got {self.spans}"
            time.sleep(0.05)


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector, until the block ends."""
    collector = Collector("")

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            collector.spans += received(ExportTraceServiceRequest.FromString(body))
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200 if self.path == "/v1/traces" else 404)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield collector
        server.shutdown()


def received(request: ExportTraceServiceRequest) -> Iterator[Received]:
    for each in request.resource_spans:
        of_resource = {a.key: a.value.string_value for a in each.resource.attributes}
        for scope in each.scope_spans:
            for span in scope.spans:
                facts = {a.key: a.value.string_value or a.value.int_value for a in span.attributes}
                yield Received(
                    of_resource["service.name"],
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
                    facts,
                    span.end_time_unix_nano - span.start_time_unix_nano,
                )
