"""Answers as JSON objects, made of what the store and the index hold; the time is handed in.

Every answer says by which `model` and `version`, of which `source` (the click that asked, or how
far the index has read) and how old that is (`age_ms`, by event time).
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from streamrec.models.contract import ModelInfo
from streamrec.models.users.features import Feature
from streamrec.services.api.asking import Asking
from streamrec.services.api.live import ReadSoFar, ScoredItem
from streamrec.services.api.words import FILLED, method_names, reasons
from streamrec.services.store.users import PastClick, UserValue

Json = dict[str, Any]


def of_record(
    record: Json,
    asking: Asking,
    popular: Iterable[ScoredItem],
    now_ms: int,
    features: Sequence[Feature] | None = None,
) -> Json:
    """A user's recommendation, as decoded, filled up from what is popular. `features` are those of
    its declaration; None: it is another."""
    exclude, items = asking.exclude, record["items"]
    if exclude:
        items = [item for item in items if item["item_id"] not in exclude]
    end = asking.first + asking.n
    page: list[Json]
    if asking.explain:
        names = record["method_names"].split(",")
        page = [
            explained(item["item_id"], item["score"], method_names(item["methods"], names))
            for item in items[asking.first : end]
        ]
    else:
        page = [
            {"item_id": item["item_id"], "score": item["score"]}
            for item in items[asking.first : end]
        ]
    if len(items) < end:
        known = {item["item_id"] for item in items} | exclude
        left = (each for each in popular if each.item_id not in known)
        begin = max(0, asking.first - len(items))
        page += [filled(each, asking.explain) for each in islice(left, begin, end - len(items))]
    answer: Json = {
        "user_id": record["user_id"],
        "kind": "user",
        "items": page,
        "next": end if len(page) == asking.n else None,
        **of_click(record, now_ms),
    }
    if record["experiment"] is not None:
        answer["experiment"] = record["experiment"]
        answer["variant"] = record["variant"]
    if asking.explain:
        answer["asked_at"] = record["item_id"]
        answer["features"] = _told(record["features"], features)
    return answer


def of_click(record: Json, now_ms: int) -> Json:
    """What a recommendation says of itself: who made it, for which click, how long ago."""
    return {
        "recommendation_id": record["recommendation_id"],
        "model": record["model_name"],
        "version": record["model_version"],
        "source": {
            "topic": record["source_topic"],
            "partition": record["source_partition"],
            "offset": record["source_offset"],
        },
        "age_ms": max(0, now_ms - record["requested_at"]),
    }


def of_everybody(
    kind: str,
    found: Sequence[ScoredItem],
    asking: Asking,
    info: ModelInfo,
    learned: ReadSoFar,
    sessions_topic: str,
    now_ms: int,
    fill: Sequence[ScoredItem] = (),
    **more: Any,
) -> Json:
    """What the index says: a session's answer, neighbours, what is popular or new. `fill` is what
    comes behind it until the page is full."""
    end = asking.first + asking.n
    left = [each for each in found if each.item_id not in asking.exclude]
    page = [scored(each, info, asking.explain) for each in left[asking.first : end]]
    if len(left) < end and fill:
        known = {each.item_id for each in left} | asking.exclude
        behind = (each for each in fill if each.item_id not in known)
        begin = max(0, asking.first - len(left))
        page += [filled(each, asking.explain) for each in islice(behind, begin, end - len(left))]
    return {
        **more,
        "kind": kind,
        "items": page,
        "next": end if len(page) == asking.n else None,
        **of_index(info, learned, sessions_topic, now_ms),
    }


def of_index(info: ModelInfo, learned: ReadSoFar, sessions_topic: str, now_ms: int) -> Json:
    """What an answer of the index says of itself."""
    offsets = {str(partition): at for partition, at in sorted(learned.offsets.items())}
    return {
        "model": info.name,
        "version": info.version,
        "source": {"topic": sessions_topic, "offsets": offsets},
        "age_ms": max(0, now_ms - learned.newest_ms) if learned.newest_ms else None,
    }


def of_user(
    user_id: str,
    value: UserValue,
    record: Json,
    features: Sequence[Feature] | None,
    gap_ms: int,
    now_ms: int,
) -> Json:
    """What is known of a user. `features` as in `of_record`."""
    values: Any = record["features"]
    if features is not None:
        values = {each.name: value for each, value in zip(features, values, strict=True)}
    return {
        "user_id": user_id,
        "features": values,
        "feature_set": record["feature_set"],
        "session": [_event(event) for event in session_of(value.history, gap_ms)],
        "history": [_event(event) for event in value.history],
        **of_click(record, now_ms),
    }


def session_of(history: Sequence[PastClick], gap_ms: int) -> list[PastClick]:
    """The newest events between which there is no silence longer than the gap; newest first."""
    session: list[PastClick] = []
    for event in history:
        if session and session[-1].time_ms - event.time_ms > gap_ms:
            break
        session.append(event)
    return session


def explained(item_id: str, score: float, methods: Sequence[str]) -> Json:
    """An item with its reasons."""
    return {
        "item_id": item_id,
        "score": score,
        "methods": list(methods),
        "because": list(reasons(methods)),
    }


def scored(item: ScoredItem, info: ModelInfo, explain: bool) -> Json:
    """An item of the index."""
    if explain:
        return explained(item.item_id, item.score, method_names(item.methods, info.methods))
    return {"item_id": item.item_id, "score": item.score}


def filled(item: ScoredItem, explain: bool) -> Json:
    """An item that fills a list up: it has no score among the others."""
    found: Json = {"item_id": item.item_id, "score": None}
    if explain:
        found |= {"methods": ["popular"], "because": [FILLED]}
    return found


def _told(values: Sequence[float], features: Sequence[Feature] | None) -> list[Json]:
    """The features behind an answer, but for those that are 0, in words."""
    if features is None:
        return []
    return [
        {"name": each.name, "value": value, "meaning": each.meaning, "unit": each.unit}
        for each, value in zip(features, values, strict=True)
        if value
    ]


def _event(event: PastClick) -> Json:
    return {"item_id": event.item_id, "timestamp": event.time_ms}


__all__ = [
    "explained",
    "of_click",
    "of_everybody",
    "of_index",
    "of_record",
    "of_user",
    "session_of",
]
