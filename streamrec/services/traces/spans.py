"""Spans that are carried on: from a request to a record's header, and from there to the answer.

    traces = open_traces("ingress")                 # None: nobody asked for them
    if traces is not None:
        span = traces.begin("POST /clicks", request_header)
        headers.append((HEADER, span.traceparent.encode()))
        span.end({"http.response.status_code": 200})

On where OTEL_EXPORTER_OTLP_ENDPOINT is set, as all of OpenTelemetry has it (its other variables
hold, too: OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS, ...). Nothing of it is imported before.
"""

import os
import re
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span as _OtelSpan

HEADER = "traceparent"  # of W3C, in requests and in records
_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_SAMPLED = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f][13579bdf](-.*)?")

Facts = Mapping[str, str | int | float | bool]


class TracesError(Exception):
    """Traces were asked for and cannot be had; the message says what is missing."""


def are_wanted(environ: Mapping[str, str] | None = None) -> bool:
    """Whether the environment names who takes them."""
    found = os.environ if environ is None else environ
    is_off = found.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return not is_off and any(found.get(name) for name in _VARIABLES)


def is_sampled(traceparent: str) -> bool:
    """Whether a header belongs to a trace that is kept.

    >>> is_sampled("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    True
    >>> is_sampled("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
    False
    """
    return _SAMPLED.fullmatch(traceparent) is not None


class Span:
    """Something that takes time, in a trace."""

    __slots__ = ("_span", "traceparent")

    def __init__(self, span: "_OtelSpan") -> None:
        self._span = span
        found = span.get_span_context()
        self.traceparent = (
            f"00-{found.trace_id:032x}-{found.span_id:016x}-{int(found.trace_flags):02x}"
        )

    def end(self, facts: Facts | None = None, error: str | None = None) -> None:
        """It is over, now."""
        from opentelemetry.trace import Status, StatusCode

        if facts:
            self._span.set_attributes(dict(facts))
        if error is not None:
            self._span.set_status(Status(StatusCode.ERROR, error))
        self._span.end()


class Traces:
    """Of one process. May be called by several threads."""

    def __init__(self, provider: "TracerProvider") -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("streamrec")

    def begin(
        self,
        name: str,
        parent: str | None = None,
        facts: Facts | None = None,
        links: Sequence[str] = (),
        began_ns: int | None = None,
        kind: str = "SERVER",
    ) -> Span:
        """Begin a span, now or at `began_ns` (Unix). `parent` and `links` are traceparents; one
        that is none begins a trace of its own, or is left out."""
        from opentelemetry.context import Context
        from opentelemetry.trace import Link, SpanKind, get_current_span

        contexts = [_context_of(link) for link in links]
        span = self._tracer.start_span(
            name,
            context=Context() if parent is None else _context_of(parent),
            kind=SpanKind[kind],
            attributes=dict(facts or {}),
            links=[Link(get_current_span(each).get_span_context()) for each in contexts],
            start_time=began_ns or time.time_ns(),
        )
        return Span(span)

    def close(self) -> None:
        """Send what has ended."""
        self._provider.shutdown()


def open_traces(service: str) -> Traces | None:
    """Traces of this process, if the environment asks for them. What has ended is sent from a
    thread, and at the end of the process. Raises TracesError where the extra is not installed."""
    if not are_wanted():
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise TracesError(
            "OTEL_EXPORTER_OTLP_ENDPOINT expected the extra otel (pip install 'streamrec[otel]'), "
            f"got {error}"
        ) from error
    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": f"streamrec-{service}"}
    provider = TracerProvider(resource=Resource.create(named))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Traces(provider)


def _context_of(traceparent: str) -> "Context":
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({HEADER: traceparent}, Context())


__all__ = [
    "HEADER",
    "Facts",
    "Span",
    "Traces",
    "TracesError",
    "are_wanted",
    "is_sampled",
    "open_traces",
]
