"""A request as handlers see it."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from streamrec.services.http.access import Caller
from streamrec.services.http.json_bodies import parse_body
from streamrec.services.http.limits import Deadlines, Receive, RequestLimits, read_body
from streamrec.services.http.problems import Problem

_QUERY_FIELDS = 100


class Request:
    """One request. Its parts are looked at when they are asked for."""

    __slots__ = (
        "_deadlines",
        "_headers",
        "_query",
        "_receive",
        "caller",
        "limits",
        "method",
        "params",
        "scope",
        "traceparent",
    )

    def __init__(
        self, scope: Any, receive: Receive, limits: RequestLimits, deadlines: Deadlines
    ) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.limits = limits
        self.params: Mapping[str, str] = {}  # of the route's template
        self.caller: Caller | None = None  # None: the route is open to everybody
        self.traceparent: str | None = None  # of its span; None: it has none
        self._receive = receive
        self._deadlines = deadlines
        self._headers: dict[bytes, bytes] | None = None
        self._query: dict[str, str] | None = None

    @property
    def headers(self) -> dict[bytes, bytes]:
        """By names in lower case; of a name that stands twice the last."""
        found = self._headers
        if found is None:
            found = self._headers = dict(self.scope["headers"])
        return found

    def header(self, name: bytes) -> str | None:
        """The text of one header."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def query(self) -> dict[str, str]:
        """Of a name that stands twice the last. Raises Problem (400)."""
        if self._query is None:
            text: bytes = self.scope["query_string"]
            self._query = _parsed_query(text) if text else {}
        return self._query

    @property
    def address(self) -> str:
        """Of the client, as the connection has it."""
        client = self.scope.get("client")
        return client[0] if client else ""

    @property
    def content_type(self) -> str:
        """Without parameters, in lower case; empty where there is none."""
        found = self.headers.get(b"content-type")
        return "" if found is None else media_type(found)

    async def body(self) -> bytes:
        """The whole body. Raises Problem (400, 408, 413)."""
        announced = self.headers.get(b"content-length")
        return await read_body(self._receive, self.limits, announced, self._deadlines)

    async def json(self) -> Any:
        """The body's one JSON value. Raises Problem (400, 408, 413)."""
        return parse_body(await self.body(), self.limits.json_depth)


def media_type(header: bytes) -> str:
    """
    >>> media_type(b"Application/JSON; charset=utf-8")
    'application/json'
    """
    return header.partition(b";")[0].strip().lower().decode("latin-1")


def _parsed_query(text: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            text.decode("latin-1"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_QUERY_FIELDS,
        )
    except ValueError:  # UnicodeDecodeError is one
        raise Problem(
            400, f"query expected at most {_QUERY_FIELDS} fields of UTF-8, escaped by %"
        ) from None
    return dict(pairs)


__all__ = ["Request", "media_type"]
