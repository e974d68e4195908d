"""`HttpApp`: routes, and whatever a request passes before its handler, as one ASGI callable."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from streamrec.services.http.access import Access
from streamrec.services.http.cors import Cors
from streamrec.services.http.limits import ClientGone, Deadlines, RequestLimits
from streamrec.services.http.openapi import described
from streamrec.services.http.problems import Problem
from streamrec.services.http.rates import Rates
from streamrec.services.http.replies import Reply, json_bytes, json_reply
from streamrec.services.http.requests import Request, media_type
from streamrec.services.http.routes import Route, Router, params_of
from streamrec.services.metrics.http_measures import HttpMeasures
from streamrec.services.metrics.watched import Watched
from streamrec.services.traces.spans import HEADER, Span, Traces, open_traces

_logger = logging.getLogger(__name__)
_access = logging.getLogger("streamrec.access")

LIVE, READY, OPENAPI = "/health/live", "/health/ready", "/openapi.json"
_UNKNOWN = "-"  # what the access log calls the route of a request that has none


@dataclass(frozen=True)
class Guard:
    """What a request passes before its handler."""

    access: Access = field(default_factory=Access)
    limits: RequestLimits = field(default_factory=RequestLimits)
    rates_of_keys: Rates = field(default_factory=lambda: Rates(0.0, 0.0))
    rates_of_addresses: Rates = field(default_factory=lambda: Rates(0.0, 0.0))
    cors: Cors = field(default_factory=lambda: Cors(()))
    proxies: frozenset[str] = frozenset()  # whose header x-forwarded-for is believed
    access_log: bool = False


class HttpApp:
    """An ASGI application: a few routes, health, and a description of itself.

    `ready` says why the service cannot do its work now, or None. `lifespan` is entered before the
    first request and left after the last. Handlers raise `Problem`; whatever else they raise is
    logged and answered by 500, without a word of it.
    """

    def __init__(
        self,
        title: str,
        routes: Sequence[Route],
        guard: Guard | None = None,
        ready: Callable[[], str | None] = lambda: None,
        lifespan: Callable[[], AbstractAsyncContextManager[None]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.guard = guard or Guard()
        self.running = 0  # requests that are not answered yet
        self._draining = False
        self._deadlines = Deadlines()
        self._ready = ready
        self._measures: HttpMeasures | None = None
        self._traces: Traces | None = None
        self._lifespan = lifespan
        self._clock = clock
        own = (
            Route("GET", LIVE, self._live, None, "Whether the process answers."),
            Route(
                "GET", READY, self._is_ready, None, "Whether it can do its work.", statuses=(503,)
            ),
            Route("GET", OPENAPI, self._describe, None, "This description."),
        )
        self.routes = (*routes, *own)
        self._openapi = json_bytes(described(title, self.routes))
        self._router = Router(self.routes)

    def watch(self, seen: Watched, service: str) -> None:
        """Let others see how requests go, and whether the service is ready. Raises TracesError."""
        self._measures = HttpMeasures(service)
        seen.registry.register(self._measures)
        seen.health.add("service", self.why_not_ready)
        self._traces = open_traces(service)

    def why_not_ready(self) -> str | None:
        """None: it is."""
        return "draining" if self._draining else self._ready()

    def drain(self) -> None:
        """Say from now on that the service is not ready, and ask clients to go elsewhere."""
        self._draining = True

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        kind = scope["type"]
        if kind == "http":
            await self._answer(scope, receive, send)
        elif kind == "lifespan":
            await self._live_on(receive, send)
        else:
            raise ValueError(f"scope expected http or lifespan, got {kind!r}")

    def entered(self) -> AbstractAsyncContextManager[None]:
        """What is held while requests are served, for a server that has no lifespan of its own."""
        return _Nothing() if self._lifespan is None else self._lifespan()

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        is_timed = self.guard.access_log or self._measures is not None
        began_s = time.perf_counter() if is_timed else 0.0
        self.running += 1
        template = _UNKNOWN
        say: Callable[[Problem], Reply] = Problem.reply
        span: Span | None = None
        try:
            request = Request(scope, receive, self.guard.limits, self._deadlines)
            try:
                methods = self._router.find(scope["path"], scope.get("raw_path"))
                route = methods.get(request.method)
                if route is None:
                    route = self._other_method(request, methods)
                if route is None:
                    reply = self.guard.cors.preflight(
                        request.headers.get(b"origin"), methods.keys()
                    )
                else:
                    template, say = route.path, route.problem
                    if self._traces is not None:
                        span = _begun(self._traces, request, template)
                    self._check(request, route)
                    reply = await route.handler(request)
            except Problem as problem:
                reply = say(problem)
            except ClientGone:
                if span is not None:
                    span.end(error="the client has gone")
                    span = None
                # For one that is still there, as whoever sends chunks that are none.
                reply = say(
                    Problem(
                        400,
                        "body expected to be whole, got a part of it",
                        headers=[(b"connection", b"close")],
                    )
                )
            except Exception as error:  # the edge: nothing may reach the client
                _logger.error("%s %s: %s", request.method, template, type(error).__name__)
                _logger.debug("where it came from", exc_info=error)
                reply = say(Problem(500, "the service could not answer; its log says more"))
            sent = await self._send(request, reply, send)
        finally:
            self.running -= 1
        if span is not None:
            span.end({"http.response.status_code": reply.status})
        if is_timed:
            took_s = time.perf_counter() - began_s
            if self._measures is not None:
                self._measures.answered(request.method, template, reply.status, took_s)
            if self.guard.access_log:
                ms = took_s * 1_000
                _access.info("%s %s %d %d %.1f", request.method, template, reply.status, sent, ms)

    def _other_method(self, request: Request, methods: Mapping[str, Route]) -> Route | None:
        """The route of a method that no route of the path has. None: it is a browser's question
        whether it may ask. Raises Problem (404, 405)."""
        if not methods:
            raise Problem(404, "path expected one of those in /openapi.json, got another")
        read = methods.get("GET")
        # What writes does so for who GETs it, not for who looks whether it is there.
        if request.method == "HEAD" and read is not None and not read.key_in_query:
            return read
        if request.method == "OPTIONS" and self.guard.cors.is_on:
            return None
        allowed = ", ".join(sorted(methods))
        raise Problem(
            405, f"method expected {allowed}, got another", headers=[(b"allow", allowed.encode())]
        )

    def _check(self, request: Request, route: Route) -> None:
        """Raises Problem (401, 403, 415, 429)."""
        guard = self.guard
        request.params = params = params_of(
            route, request.scope["path"], request.scope.get("raw_path")
        )
        if guard.rates_of_addresses.is_on and route.scope is not None:
            self._check_rate(guard.rates_of_addresses, self._address(request), "address")
        scope = route.scope_for(params)
        if scope is not None:
            in_query = request.query.get("key") if route.key_in_query else None
            request.caller = guard.access.caller(request.headers, scope, in_query)
            if guard.rates_of_keys.is_on:
                self._check_rate(guard.rates_of_keys, request.caller.name, "key")
        if route.takes:
            _check_content(request, route)

    def _check_rate(self, rates: Rates, name: str, what: str) -> None:
        wait_s = rates.wait_s(name, self._clock())
        if wait_s:
            raise Problem(
                429, f"{what} expected to ask less often; try again later", retry_after_s=wait_s
            )

    def _address(self, request: Request) -> str:
        """The client's, behind proxies that are known: the last that none of them is."""
        address = request.address
        if address in self.guard.proxies:
            forwarded = request.header(b"x-forwarded-for") or ""
            for each in reversed(forwarded.split(",")):
                if each.strip():
                    address = each.strip()
                if address not in self.guard.proxies:
                    break
        return address

    async def _send(self, request: Request, reply: Reply, send: Any) -> int:
        body = b"" if request.method == "HEAD" else reply.body
        headers = [*reply.headers]
        if reply.status != 204:
            headers += [
                (b"content-type", reply.content_type),
                (b"content-length", b"%d" % len(reply.body)),
            ]
        if self.guard.cors.is_on:
            headers += self.guard.cors.headers(request.headers.get(b"origin"))
        if self._draining:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})
        return len(body)

    async def _live_on(self, receive: Any, send: Any) -> None:
        """The ASGI lifespan."""
        await receive()
        try:
            async with self.entered():
                await send({"type": "lifespan.startup.complete"})
                await receive()
                self.drain()
        except Exception as error:  # noqa: BLE001  # the server says it, and ends
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.shutdown.complete"})

    async def _live(self, request: Request) -> Reply:
        return json_reply({"status": "live"})

    async def _is_ready(self, request: Request) -> Reply:
        why = self.why_not_ready()
        if why is not None:
            raise Problem(503, f"not ready: {why}", retry_after_s=1)
        return json_reply({"status": "ready"})

    async def _describe(self, request: Request) -> Reply:
        return Reply(200, self._openapi)


class _Nothing(AbstractAsyncContextManager[None]):
    async def __aexit__(self, *_: object) -> None:
        return None


def _begun(traces: Traces, request: Request, template: str) -> Span:
    """The span of a request, which its handler may carry on."""
    facts = {"http.request.method": request.method, "http.route": template}
    span = traces.begin(f"{request.method} {template}", request.header(HEADER.encode()), facts)
    request.traceparent = span.traceparent
    return span


def _check_content(request: Request, route: Route) -> None:
    """Raises Problem (415)."""
    headers = request.headers
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise Problem(415, "header content-encoding expected identity, got another")
    given = headers.get(b"content-type")
    if given is None or "*/*" in route.takes:
        return
    if media_type(given) not in route.takes:
        raise Problem(415, f"header content-type expected {' or '.join(route.takes)}, got another")


__all__ = ["Guard", "HttpApp"]
