"""The routes of ingress: what each takes, and what it answers."""

import asyncio
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from streamrec.connectors.log import Outgoing
from streamrec.dataflows.errors.failed import CONTENT_TYPE
from streamrec.dataflows.serving.request_ids import REQUEST_ID
from streamrec.schemas.json_codec import to_json
from streamrec.schemas.reasons import Reason
from streamrec.services.http.json_bodies import lines_of, parse_body
from streamrec.services.http.problems import Problem
from streamrec.services.http.replies import HeaderPairs, Reply, json_bytes
from streamrec.services.http.requests import Request
from streamrec.services.http.routes import Route
from streamrec.services.ingress.callers import Callers
from streamrec.services.ingress.event_ids import EVENT_ID, EVENT_ID_BYTES
from streamrec.services.ingress.events import (
    CLICK,
    IMPRESSION,
    OUTCOME,
    Context,
    Event,
    EventKind,
    EventMaker,
    schema_of,
)
from streamrec.services.ingress.following import Following
from streamrec.services.ingress.settings import IngressSettings
from streamrec.services.ingress.topics import AllowedTopics, KeptTargets
from streamrec.services.ingress.writer import Writer
from streamrec.services.ingress.writing import DUPLICATE, EventWriter, Result, list_reply

_JSON, _LINES, _BEACON = "application/json", "application/x-ndjson", "text/plain"
_EVENTS = (_JSON, _LINES, _BEACON)  # a browser's beacon says text/plain, and holds JSON
_GIF = bytes.fromhex(
    "47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b"
)
_NO_STORE = ((b"cache-control", b"no-store"),)
_INTEGERS = ("timestamp", "price_cents")  # of a click in a query
_INTEGER = re.compile(r"-?[0-9]{1,19}")
_WAIT = re.compile(r"(\d{1,4}(?:\.\d{1,3})?)(s|ms)?")
# What an error of a pipeline says of the input, and not of the model.
_UNFIT = frozenset(
    {
        Reason.NOT_WIRE_FORMAT,
        Reason.UNKNOWN_SCHEMA_ID,
        Reason.UNDECODABLE,
        Reason.FAILS_RESOLUTION,
        Reason.INVALID_VALUE,
    }
)
_RECORD_KEY = "the record's key; the header X-Record-Key says it too"
_PLACE = {
    "type": "object",
    "properties": {
        "topic": {"type": "string"},
        "partition": {"type": "integer"},
        "offset": {"type": "integer"},
        "duplicate": {"type": "boolean", "description": "it had been written before"},
    },
}


class Ingress:
    """Takes events of each kind, once the makers of their records are there."""

    def __init__(
        self,
        settings: IngressSettings,
        writer: Writer,
        event_writer: EventWriter,
        makers: Mapping[EventKind, EventMaker],
        callers: Callers,
        topics: AllowedTopics,
        targets: KeptTargets,
        following: Following,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._settings = settings
        self._writer = writer
        self._event_writer = event_writer
        self._makers = makers
        self._callers = callers
        self._topics = topics
        self._targets = targets
        self._following = following
        self._now_ms = now_ms

    async def clicks(self, request: Request) -> Reply:
        return await self._take(request, CLICK)

    async def impressions(self, request: Request) -> Reply:
        return await self._take(request, IMPRESSION)

    async def outcomes(self, request: Request) -> Reply:
        fields = {"recommendation_id": request.params["recommendation_id"]}
        return await self._take(request, OUTCOME, fields)

    async def pixel(self, request: Request) -> Reply:
        """A click in the query."""
        value: dict[str, Any] = {k: v for k, v in request.query.items() if k != "key"}
        for name in _INTEGERS:
            text = value.get(name)
            if text is not None and _INTEGER.fullmatch(text):
                value[name] = int(text)
        context, new_id = self._callers.context(request, self._now_ms())
        await self._event_writer.write_one(self._maker(CLICK).make(value, context))
        return _gif(200, self._callers.cookie_headers(new_id))

    async def topic(self, request: Request) -> Reply:
        """A record, or one of each line, of a topic that the settings allow."""
        self._check_ready()
        name = request.params["name"]
        records = await self._topics.records(name)
        kind = request.content_type or _JSON
        key = _record_key(request)
        context, _ = self._callers.context(request, self._now_ms())
        body = await request.body()
        if kind == _LINES:
            results = await self._lines(
                request,
                body,
                lambda line, value: Event(
                    name, records.make(line, value, _JSON, key, context.headers), None
                ),
            )
            return list_reply(results)
        value = parse_body(body, request.limits.json_depth) if kind == _JSON else None
        headers = context.headers
        event_id = _checked_id(context.event_id)
        if event_id is not None:
            headers = [*headers, (EVENT_ID, event_id.encode())]
        event = Event(name, records.make(body, value, kind, key, headers), event_id)
        return Reply(200, await self._event_writer.write_one(event))

    async def pipeline(self, request: Request) -> Reply:
        """An input, answered with its id, or with the output where it is waited for."""
        self._check_ready()
        wait_s = self._wait_s(request.query.get("wait"))
        target = await self._targets.target(request.params["name"])
        kind = request.content_type or _JSON
        if target.content_types and kind not in target.content_types:
            raise Problem(
                415,
                f"header content-type expected {' or '.join(target.content_types)}, got another",
            )
        body = await request.body()
        if not target.content_types:
            if kind != _JSON:
                raise Problem(415, f"header content-type expected {_JSON}, got another")
            parse_body(body, request.limits.json_depth)
        context, _ = self._callers.context(request, self._now_ms())
        event_id = _checked_id(context.event_id)
        request_id = event_id or uuid.uuid4().hex
        headers = [*context.headers, (REQUEST_ID, request_id.encode())]
        if event_id is not None:
            headers.append((EVENT_ID, event_id.encode()))
        if target.content_types:
            headers.append((CONTENT_TYPE, kind.encode("latin-1", "replace")))
        key = _record_key(request)
        message = Outgoing(key or request_id.encode(), body, headers)
        event = Event(target.inputs, message, event_id)
        if not wait_s:
            place = await self._event_writer.write_one(event)
            return Reply(200, b'{"id":%s,%s' % (json_bytes(request_id), place[1:]))
        return await self._answered(event, request_id, target.outputs, target.errors, wait_s)

    async def _answered(
        self, event: Event, request_id: str, outputs: str, errors: str, wait_s: float
    ) -> Reply:
        began_s = asyncio.get_running_loop().time()
        own = event.message.key, request_id.encode()
        wish = await self._following.expect(own, outputs, errors)
        try:
            said = await self._event_writer.write_one(event)
            if said.endswith(DUPLICATE):
                raise Problem(
                    409,
                    "the same input was sent before: its output is on the topic of outputs, or "
                    "will be",
                )
            left_s = began_s + wait_s - asyncio.get_running_loop().time()
            done, _ = await asyncio.wait((wish.answered,), timeout=max(0.0, left_s))
        finally:
            self._following.forget(wish)
        if not done:
            raise Problem(
                504,
                f"the output did not come within {wait_s:g} s; it may still, on the topic of "
                "outputs, under this id",
                id=request_id,
            )
        answer = wish.answered.result()
        if answer.is_error:
            reason = str(answer.value.get("reason"))
            status = 422 if reason in _UNFIT else 500
            raise Problem(
                status, f"the pipeline could not answer: {reason}", id=request_id, reason=reason
            )
        try:
            body = to_json({"id": request_id, "output": answer.value}, strict=True)
        except ValueError:
            raise Problem(500, "the output has no JSON", id=request_id) from None
        return Reply(200, body.encode())

    async def _take(
        self, request: Request, kind: EventKind, fields: Mapping[str, Any] | None = None
    ) -> Reply:
        """One event, a list, or lines."""
        maker = self._maker(kind)
        body = await request.body()
        context, new_id = self._callers.context(request, self._now_ms())
        if fields is not None:
            context = replace(context, fields=fields)
        cookie = self._callers.cookie_headers(new_id)
        if request.content_type == _LINES:
            context = replace(context, event_id=None)
            results = await self._lines(request, body, lambda _, value: maker.make(value, context))
            return list_reply(results, cookie)
        value = parse_body(body, request.limits.json_depth)
        if isinstance(value, list):
            context = replace(context, event_id=None)
            return list_reply(await self._list(request, value, maker, context), cookie)
        return Reply(
            200, await self._event_writer.write_one(maker.make(value, context)), headers=cookie
        )

    async def _list(
        self, request: Request, values: Sequence[Any], maker: EventMaker, context: Context
    ) -> list[Result]:
        _check_count(request, len(values))
        made: list[Event | Problem] = []
        for value in values:
            try:
                made.append(maker.make(value, context))
            except Problem as problem:
                made.append(problem)
        return await self._written(made)

    async def _lines(
        self, request: Request, body: bytes, make: Callable[[bytes, Any], Event]
    ) -> list[Result]:
        """What each line that is not empty is made of, by itself."""
        lines = list(lines_of(body))
        _check_count(request, len(lines))
        made: list[Event | Problem] = []
        for number, line in lines:
            try:
                made.append(make(line, parse_body(line, request.limits.json_depth, number)))
            except Problem as problem:
                made.append(problem)
        return await self._written(made)

    async def _written(self, made: Sequence[Event | Problem]) -> list[Result]:
        events = [each for each in made if isinstance(each, Event)]
        results = iter(await self._event_writer.write(events) if events else ())
        return [next(results) if isinstance(each, Event) else each for each in made]

    def _check_ready(self) -> None:
        """Whether ids of the window are known, so that what comes again is seen. Raises Problem
        (503)."""
        if not self._makers:
            raise Problem(503, "not ready: schemas are not known yet", retry_after_s=1)

    def _maker(self, kind: EventKind) -> EventMaker:
        """Raises Problem (503)."""
        found = self._makers.get(kind)
        if found is None:
            raise Problem(503, "not ready: schemas are not known yet", retry_after_s=1)
        return found

    def _wait_s(self, text: str | None) -> float:
        """Of `2s`, `500ms`, `2`; 0: not at all. Raises Problem (400)."""
        if text is None:
            return 0.0
        found = _WAIT.fullmatch(text)
        wait_s = float(found[1]) / (1_000 if found[2] == "ms" else 1) if found else -1.0
        if not 0 <= wait_s <= self._settings.wait_max_s:
            raise Problem(
                400,
                f"query wait expected up to {self._settings.wait_max_s:g}s, as 2s or 500ms, "
                "got another",
            )
        return wait_s

    def routes(self) -> list[Route]:
        """What ingress serves."""
        one_or_many = {
            "description": "Where the event stands, or of several a result for each, in order.",
            "anyOf": [
                _PLACE,
                {
                    "type": "object",
                    "properties": {
                        "written": {"type": "integer"},
                        "results": {"type": "array", "items": _PLACE},
                    },
                },
            ],
        }
        found = [
            _events_route(
                "/clicks",
                self.clicks,
                "clicks",
                "Clicks: one, a list, or lines.",
                CLICK,
                one_or_many,
            ),
            _events_route(
                "/impressions",
                self.impressions,
                "impressions",
                "What of recommendations was shown.",
                IMPRESSION,
                one_or_many,
            ),
            _events_route(
                "/outcomes/{recommendation_id*}",
                self.outcomes,
                "outcomes",
                "What came of a recommendation.",
                OUTCOME,
                one_or_many,
            ),
            Route(
                "GET",
                "/clicks.gif",
                self.pixel,
                "clicks",
                "A click in the query, for pages without scripts; a 1x1 GIF in any case.",
                query=dict.fromkeys(schema_of(CLICK)["properties"], "as the field of a click"),
                statuses=(422, 503),
                key_in_query=True,
                problem=lambda problem: _gif(problem.status, problem.headers),
            ),
            Route(
                "POST",
                "/topics/{name}",
                self.topic,
                "topics/{name}",
                "A record of a topic that is allowed: JSON, lines of it, or bytes.",
                takes=("*/*",),
                response=one_or_many,
                query={"record_key": _RECORD_KEY},
                statuses=(404, 422, 503),
            ),
        ]
        if self._settings.pipelines:
            found.append(
                Route(
                    "POST",
                    "/pipelines/{name}",
                    self.pipeline,
                    "pipelines/{name}",
                    "An input of a pipeline, answered with its id, or with the output.",
                    takes=("*/*",),
                    query={
                        "wait": "how long to wait for the output, as 2s or 500ms",
                        "record_key": _RECORD_KEY,
                    },
                    statuses=(404, 409, 422, 503, 504),
                )
            )
        return found


def _events_route(
    path: str,
    handler: Any,
    scope: str,
    summary: str,
    kind: EventKind,
    response: Mapping[str, Any],
) -> Route:
    one = schema_of(kind, ("recommendation_id",) if "{" in path else ())
    return Route(
        "POST",
        path,
        handler,
        scope,
        summary,
        takes=_EVENTS,
        request={"anyOf": [one, {"type": "array", "items": one}]},
        response=response,
        statuses=(207, 422, 503),
        key_in_query=True,
    )


def _gif(status: int, headers: HeaderPairs = ()) -> Reply:
    return Reply(status, _GIF, b"image/gif", (*_NO_STORE, *headers))


def _check_count(request: Request, count: int) -> None:
    """Raises Problem (413)."""
    most = request.limits.events
    if count > most:
        raise Problem(413, f"list expected at most {most} events, got {count}")


def _record_key(request: Request) -> bytes | None:
    text = request.query.get("record_key") or request.header(b"x-record-key")
    return None if text is None else text.encode("utf-8", "replace")


def _checked_id(text: str | None) -> str | None:
    """Raises Problem (422)."""
    if text is not None and not 0 < len(text.encode()) <= EVENT_ID_BYTES:
        raise Problem(422, f"header idempotency-key expected 1 to {EVENT_ID_BYTES} bytes")
    return text


__all__ = ["Ingress"]
