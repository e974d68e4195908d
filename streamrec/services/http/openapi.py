"""What a service answers, as OpenAPI 3.1 has it, made from its routes."""

from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any

from streamrec.services.http.problems import TITLES

if TYPE_CHECKING:
    from streamrec.services.http.routes import Route

_PROBLEM = {
    "type": "object",
    "required": ["title", "status", "detail"],
    "properties": {
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "field": {"type": "string"},
        "place": {"type": "string"},
    },
}
_OF_ALL = (429, 500)
_OF_KEYS = (401, 403)
_OF_BODIES = (400, 408, 413, 415)


def described(title: str, routes: Iterable["Route"]) -> dict[str, Any]:
    """The description, as an object."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path.replace("*}", "}"), {})[route.method.lower()] = _operation(
            route
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": metadata.version("streamrec")},
        "paths": paths,
        "components": {
            "schemas": {"Problem": _PROBLEM},
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _operation(route: "Route") -> dict[str, Any]:
    statuses = [*route.statuses, *_OF_ALL]
    if route.scope is not None:
        statuses += _OF_KEYS
    if route.takes:
        statuses += _OF_BODIES
    found: dict[str, Any] = {
        "summary": route.summary,
        "operationId": _operation_id(route),
        "parameters": _parameters(route),
        "responses": {"200": _answer(route.response), **_problems(sorted(set(statuses)))},
    }
    if route.scope is not None:
        found["security"] = [{"key": []}, {"bearer": []}]
        found["description"] = f"A key needs the scope `{route.scope}`."
    if route.takes:
        schema = route.request or {}
        content = {kind: {"schema": schema} for kind in route.takes}
        found["requestBody"] = {"required": True, "content": content}
    return found


def _operation_id(route: "Route") -> str:
    words = "".join(c if c.isalnum() else " " for c in route.path).split()
    return "_".join([route.method.lower(), *words])


def _parameters(route: "Route") -> list[dict[str, Any]]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in route.params
    ]
    in_query = [
        {"name": name, "in": "query", "description": told, "schema": {"type": "string"}}
        for name, told in route.query.items()
    ]
    return [*in_path, *in_query]


def _answer(schema: Mapping[str, Any] | None) -> dict[str, Any]:
    found: dict[str, Any] = {"description": "done"}
    if schema is not None:
        found["content"] = {"application/json": {"schema": schema}}
    return found


def _problems(statuses: list[int]) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        str(status): {"description": TITLES.get(status, "see the detail"), "content": content}
        for status in statuses
    }


__all__ = ["described"]
