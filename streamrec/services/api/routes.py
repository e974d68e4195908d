"""What the API serves, described for machines and people."""

from collections.abc import Mapping
from typing import Any

from streamrec.services.api.asking import DOCS
from streamrec.services.api.handlers import Handlers
from streamrec.services.http.routes import Route

RECOMMENDATIONS, USERS = "recommendations", "users"  # scopes
_JSON = ("application/json",)

_TEXT: Mapping[str, Any] = {"type": "string"}
_WHOLE: Mapping[str, Any] = {"type": "integer"}
_ITEM = {
    "type": "object",
    "properties": {
        "item_id": _TEXT,
        "score": {
            "type": ["number", "null"],
            "description": "comparable within the answer; null: it fills the list up",
        },
        "methods": {"type": "array", "items": _TEXT, "description": "with explain"},
        "because": {"type": "array", "items": _TEXT, "description": "with explain: in words"},
    },
}
_OF_ALL = {
    "model": _TEXT,
    "version": _TEXT,
    "source": {
        "type": "object",
        "description": "the click that asked; of the index: how far it has read",
        "properties": {
            "topic": _TEXT,
            "partition": _WHOLE,
            "offset": _WHOLE,
            "offsets": {"type": "object", "additionalProperties": _WHOLE},
        },
    },
    "age_ms": {"type": ["integer", "null"], "description": "since the newest click behind it"},
}
_ITEMS = {
    "type": "object",
    "properties": {
        "kind": {
            "enum": ["user", "popular", "session", "rank", "neighbours", "latest"],
            "description": "what the answer is made from",
        },
        "user_id": {"type": ["string", "null"]},
        "items": {"type": "array", "items": _ITEM},
        "next": {"type": ["integer", "null"], "description": "`from` of the next page"},
        "recommendation_id": {"type": ["string", "null"]},
        "asked_at": {"type": "string", "description": "with explain: the item of the click"},
        "features": {
            "type": "array",
            "description": "with explain: what is known of the user, but for what is 0",
            "items": {
                "type": "object",
                "properties": {
                    "name": _TEXT,
                    "value": {"type": "number"},
                    "meaning": _TEXT,
                    "unit": _TEXT,
                },
            },
        },
        "impression": {"type": ["object", "null"], "description": "with seen: where it stands"},
        **_OF_ALL,
    },
}
_CLICK = {
    "anyOf": [
        _TEXT,
        {"type": "object", "properties": {"item_id": _TEXT, "timestamp": _WHOLE}},
    ]
}
_SESSION = {
    "session": {
        "type": "array",
        "items": _CLICK,
        "description": "item ids, or clicks with times (Unix ms), oldest first",
    },
    "user_id": {"type": "string", "description": "whose session it is, where none is given"},
}
_ASKING = {
    "n": _WHOLE,
    "from": _WHOLE,
    "exclude": {"type": "array", "items": _TEXT},
    "explain": {"type": "boolean"},
    "seen": {"type": "boolean"},
}
_SESSION_BODY = {"type": "object", "properties": {**_SESSION, **_ASKING}}
_RANK_BODY = {
    "type": "object",
    "required": ["items"],
    "properties": {
        "items": {"type": "array", "items": _TEXT},
        **_SESSION,
        "explain": _ASKING["explain"],
        "seen": _ASKING["seen"],
    },
}
_EVENTS = {
    "type": "array",
    "items": {"type": "object", "properties": {"item_id": _TEXT, "timestamp": _WHOLE}},
}
_USER = {
    "type": "object",
    "properties": {
        "user_id": _TEXT,
        "features": {"type": ["object", "array"], "description": "after the newest click"},
        "feature_set": _TEXT,
        "session": _EVENTS,
        "history": _EVENTS,
        **_OF_ALL,
    },
}
_PAGE = {name: DOCS[name] for name in ("n", "from", "exclude", "explain", "seen")}


def routes_of(handlers: Handlers) -> list[Route]:
    """The routes, whose handlers these are."""
    return [
        Route(
            "GET",
            "/recommendations/{user}",
            handlers.of_user,
            RECOMMENDATIONS,
            "The newest recommendation of a user; of one who is not known, what is popular.",
            response=_ITEMS,
            query=_PAGE,
            statuses=(422, 503),
        ),
        Route(
            "POST",
            "/recommendations",
            handlers.of_session,
            RECOMMENDATIONS,
            "What comes next in a session that the request tells; nobody need be known.",
            takes=_JSON,
            request=_SESSION_BODY,
            response=_ITEMS,
            statuses=(422, 503),
        ),
        Route(
            "POST",
            "/rank",
            handlers.rank,
            RECOMMENDATIONS,
            "Given items, best first, for a session or a user.",
            takes=_JSON,
            request=_RANK_BODY,
            response=_ITEMS,
            statuses=(422, 503),
        ),
        Route(
            "GET",
            "/items/{item}/neighbours",
            handlers.neighbours,
            RECOMMENDATIONS,
            "What is clicked in the sessions that hold an item.",
            response=_ITEMS,
            query=_PAGE,
            statuses=(404, 422, 503),
        ),
        Route(
            "GET",
            "/popular",
            handlers.popular,
            RECOMMENDATIONS,
            "What many click now.",
            response=_ITEMS,
            query=_PAGE,
            statuses=(422, 503),
        ),
        Route(
            "GET",
            "/latest",
            handlers.latest,
            RECOMMENDATIONS,
            "Items that were clicked for the first time, newest first.",
            response=_ITEMS,
            query=_PAGE,
            statuses=(422, 503),
        ),
        Route(
            "GET",
            "/users/{user}",
            handlers.user,
            USERS,
            "Features, session and history of a user.",
            response=_USER,
            statuses=(404, 422, 503),
        ),
    ]


__all__ = ["RECOMMENDATIONS", "USERS", "routes_of"]
