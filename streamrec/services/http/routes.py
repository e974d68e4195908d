"""Routes: what a service answers, under which scope, described once for machines and people."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from streamrec.services.http.problems import Problem
from streamrec.services.http.replies import Reply
from streamrec.services.http.requests import Request

Handler = Callable[[Request], Awaitable[Reply]]
_Shape = tuple[str | None, ...]  # segments; None: any
_PARAM = re.compile(r"\{([a-z_]+)\*?\}")


@dataclass(frozen=True)
class Route:
    """One method of one path.

    `path` may have `{params}`, each one segment; the last may be `{param*}`, all segments that are
    left. `scope` is what a key must be allowed, with the
    same params (`topics/{name}`); None: open to everybody. `takes` are the content types of the
    body, the first for one that says none; empty: there is no body; `*/*`: any.
    `key_in_query` lets keys stand in the query, for what browsers cannot give headers; such a route
    must only write.
    """

    method: str
    path: str
    handler: Handler
    scope: str | None
    summary: str
    takes: Sequence[str] = ()
    request: Mapping[str, Any] | None = None  # a JSON schema of the body
    response: Mapping[str, Any] | None = None  # of the answer
    query: Mapping[str, str] = field(default_factory=dict)  # what each field of the query says
    statuses: Sequence[int] = ()  # beside 200 and those that every route may answer
    key_in_query: bool = False
    problem: Callable[[Problem], Reply] = Problem.reply  # how this route says what is wrong

    @property
    def params(self) -> list[str]:
        """Names in the path."""
        return _PARAM.findall(self.path)

    def scope_for(self, params: Mapping[str, str]) -> str | None:
        """The scope of one request."""
        if self.scope is None or not params:
            return self.scope
        return _PARAM.sub(lambda found: params[found[1]], self.scope)


class Router:
    """Finds the route of a request: by one look for a path without params, else by its segments."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._fixed: dict[str, dict[str, Route]] = {}
        self._shaped: dict[int, list[tuple[_Shape, dict[str, Route]]]] = {}
        self._open: list[tuple[_Shape, dict[str, Route]]] = []  # that take all that is left
        for route in routes:
            if route.params:
                self._add_shaped(route)
            else:
                self._fixed.setdefault(route.path, {})[route.method] = route

    def _add_shaped(self, route: Route) -> None:
        shape = tuple(None if _PARAM.fullmatch(s) else s for s in route.path.split("/"))
        ends_open = route.path.endswith("*}")
        alike = self._open if ends_open else self._shaped.setdefault(len(shape), [])
        for known, methods in alike:
            if known == shape:
                methods[route.method] = route
                return
        alike.append((shape, {route.method: route}))

    def find(self, path: str, raw_path: bytes | None = None) -> Mapping[str, Route]:
        """The routes of a path, by method; empty: there is none."""
        found = self._fixed.get(path)
        if found is not None:
            return found
        segments = _segments(path, raw_path)
        for shape, methods in [*self._shaped.get(len(segments), []), *self._open]:
            if len(segments) >= len(shape) and all(
                s is None or s == t for s, t in zip(shape, segments, strict=False)
            ):
                return methods
        return {}


def params_of(route: Route, path: str, raw_path: bytes | None = None) -> dict[str, str]:
    """What the params of a route are in a path that fits it."""
    if "{" not in route.path:
        return {}
    templates, segments = route.path.split("/"), _segments(path, raw_path)
    if route.path.endswith("*}"):
        last = len(templates) - 1
        segments = [*segments[:last], "/".join(segments[last:])]
    pairs = zip(templates, segments, strict=True)
    return {template.strip("{*}"): found for template, found in pairs if template[:1] == "{"}


def _segments(path: str, raw_path: bytes | None) -> list[str]:
    """A `/` that is escaped, `%2F`, belongs to its segment."""
    if raw_path is None or b"%" not in raw_path:
        return path.split("/")
    plain = raw_path.partition(b"?")[0].decode("latin-1")
    return [unquote(segment, errors="replace") for segment in plain.split("/")]


__all__ = ["Handler", "Route", "Router", "params_of"]
