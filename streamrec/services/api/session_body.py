"""Sessions and items in the bodies of requests."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from streamrec.services.api.asking import checked_id
from streamrec.services.http.problems import Problem

SESSION_MAX = 200  # clicks, of which models look at the newest
RANKED_MAX = 1_000


class Session(NamedTuple):
    """Clicks of one visit, oldest first."""

    items: list[str]
    times_ms: list[int]  # event times, Unix ms; 0: not known
    user_id: str | None = None


def session_of_body(body: Mapping[str, Any]) -> Session:
    """Of `session`, a list of item ids or of `{"item_id", "timestamp"}`, oldest first, and
    `user_id`. Raises Problem (422)."""
    user_id = None
    if body.get("user_id") is not None:
        user_id = checked_id(body["user_id"], "user_id")
    clicks = body.get("session", [])
    if not isinstance(clicks, list):
        raise Problem(422, "field session expected a list of clicks", field="session")
    if len(clicks) > SESSION_MAX:
        raise Problem(
            422,
            f"field session expected at most {SESSION_MAX} clicks, got {len(clicks)}",
            field="session",
        )
    items, times_ms = [], []
    for row, click in enumerate(clicks):
        place = f"session[{row}]"
        item, time_ms = click, 0
        if isinstance(click, dict):
            item, time_ms = click.get("item_id"), click.get("timestamp", 0)
            place = f"{place}.item_id"
        items.append(checked_id(item, place))
        if type(time_ms) is not int or not 0 <= time_ms < 1 << 53:
            field = f"session[{row}].timestamp"
            raise Problem(422, f"field {field} expected Unix milliseconds", field=field)
        times_ms.append(time_ms)
    return Session(items, times_ms, user_id)


def items_of(body: Mapping[str, Any]) -> list[str]:
    """The items that are to be ranked, each once. Raises Problem (422)."""
    items = body.get("items")
    if not isinstance(items, list) or not 1 <= len(items) <= RANKED_MAX:
        raise Problem(422, f"field items expected a list of 1 to {RANKED_MAX} ids", field="items")
    return list(dict.fromkeys(checked_id(item, f"items[{row}]") for row, item in enumerate(items)))


__all__ = ["RANKED_MAX", "SESSION_MAX", "Session", "items_of", "session_of_body"]
