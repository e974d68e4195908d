"""Events as clients say them, checked by schema and rules, and made records of the log."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamrec.connectors.log import Headers, Outgoing
from streamrec.dataflows.job.topics import CLICKS, IMPRESSIONS, OUTCOMES, Topic
from streamrec.dataflows.steps.click_rules import MAX_ID_BYTES
from streamrec.dataflows.steps.click_rules import RULES as CLICK_RULES
from streamrec.dataflows.steps.rules import Between, EventTime, Rule, TextLength, settled, unit_of
from streamrec.schemas.json_codec import JsonEncoder, MisfitError
from streamrec.services.http.problems import Problem
from streamrec.services.ingress.event_ids import EVENT_ID, EVENT_ID_BYTES, Id

ITEMS_MAX = 1_000  # shown at once
_KIND_BYTES = 64
_GOT = re.compile(r"[-0-9.e+]{1,40}|nothing|also .{0,200}")  # what a message may show


@dataclass(frozen=True, slots=True)
class EventKind:
    """One kind of event: its topic's row, what is valid beyond the schema, and the fields of an
    event of which each gets what the request says where the client leaves it out."""

    topic: Topic
    rules: tuple[Rule, ...]

    @property
    def key_field(self) -> str:
        assert self.topic.key_field is not None
        return self.topic.key_field


KINDS = (
    CLICK := EventKind(CLICKS, CLICK_RULES),
    IMPRESSION := EventKind(
        IMPRESSIONS,
        (
            TextLength("recommendation_id", 1, MAX_ID_BYTES),
            TextLength("user_id", 1, MAX_ID_BYTES),
            EventTime("timestamp"),
        ),
    ),
    OUTCOME := EventKind(
        OUTCOMES,
        (
            TextLength("recommendation_id", 1, MAX_ID_BYTES),
            TextLength("user_id", 0, MAX_ID_BYTES),
            TextLength("item_id", 0, MAX_ID_BYTES),
            TextLength("kind", 1, _KIND_BYTES),
            Between("weight", 0.0, 1e308),
            EventTime("timestamp"),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Context:
    """What a request says about all of its events."""

    now_ms: int
    headers: Headers  # of each record
    user_id: str | None = None  # of an event that has none, from a cookie
    hidden_as: str | None = None  # whoever it says it is: who asks not to be tracked
    event_id: str | None = None  # of the one event
    fields: Mapping[str, Any] | None = None  # that each event has, as from the path


@dataclass(frozen=True, slots=True)
class Event:
    """One that is ready to be written."""

    topic: str
    message: Outgoing
    event_id: str | None

    @property
    def id(self) -> Id | None:
        """By which it is known when it comes again."""
        return None if self.event_id is None else (self.topic, self.message.key, self.event_id)


class EventMaker:
    """Makes records of one kind of events. Not before its schema is known."""

    def __init__(self, kind: EventKind, topic: str, schema_id: int, max_ahead_s: int) -> None:
        self._kind = kind
        self._topic = topic
        self._key_field = kind.key_field
        self._encoder = JsonEncoder(kind.topic.schema, schema_id)
        self._rules = settled(kind.rules, max_ahead_s)
        self._has_user = any(rule.field == "user_id" for rule in kind.rules)

    def make(self, value: Any, context: Context) -> Event:
        """Of one value, which is changed. Raises Problem (422)."""
        if not isinstance(value, dict):
            raise Problem(422, f"event expected an object, got {told(value)}")
        event_id = value.pop("event_id", None)
        if event_id is None:
            event_id = context.event_id
        elif not isinstance(event_id, str):
            raise _misfit("event_id", f"expected a string, got {told(event_id)}")
        own_id = None if event_id is None else event_id.encode("utf-8", "replace")
        if own_id is not None and not 0 < len(own_id) <= EVENT_ID_BYTES:
            raise _misfit("event_id", f"expected 1 to {EVENT_ID_BYTES} bytes, got {len(own_id)}")
        self._fill(value, context)
        try:
            encoded = self._encoder.encode(value)
        except MisfitError as error:
            raise misfit_problem(error) from None
        for rule in self._rules:
            if which := rule.judge(value.get(rule.field), context.now_ms):
                raise _broken(rule, which, value.get(rule.field))
        if self._kind is IMPRESSION and not 0 < len(value["items"]) <= ITEMS_MAX:
            raise _misfit("items", f"expected 1 to {ITEMS_MAX} items, got {len(value['items'])}")
        headers = context.headers
        if own_id is not None:
            headers = [*headers, (EVENT_ID, own_id)]
        key = value[self._key_field].encode()
        return Event(self._topic, Outgoing(key, encoded, headers or None), event_id)

    def _fill(self, value: dict[str, Any], context: Context) -> None:
        """What the client left out, and what the request says of each."""
        if "timestamp" not in value:
            value["timestamp"] = context.now_ms
        if context.fields:
            for name, own in context.fields.items():
                if value.setdefault(name, own) != own:
                    raise _misfit(name, "expected what the path says, got another")
        if self._has_user:
            if context.hidden_as is not None:
                value["user_id"] = context.hidden_as
            elif context.user_id is not None and "user_id" not in value:
                value["user_id"] = context.user_id


def misfit_problem(error: MisfitError) -> Problem:
    """What a client is told of a value that does not fit its schema."""
    return Problem(422, _without_values(str(error)), field=error.field or None)


def told(value: Any) -> str:
    """A value in a message that must not show it: a number as it is, of anything else its kind.

    >>> told("u-personal"), told(17), told([1])
    ('a string', '17', 'a list')
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        text = repr(value)
        return text if len(text) <= 40 else "a number"
    kinds: dict[type, str] = {str: "a string", list: "a list", dict: "an object"}
    return kinds.get(type(value), "another")


def _without_values(message: str) -> str:
    """A message of the codec without what it got, which may be personal, but for numbers."""
    expected, _, got = message.partition(", got ")
    if _GOT.fullmatch(got):
        return message
    kinds = {"'": "a string", '"': "a string", "[": "a list", "{": "an object"}
    kind = kinds.get(got[:1]) or {"None": "null", "True": "true", "False": "false"}.get(
        got, "another"
    )
    return f"{expected}, got {kind}"


def _broken(rule: Rule, which: int, got: Any) -> Problem:
    hint = ""
    is_time = isinstance(rule, EventTime) and isinstance(got, int)
    if is_time and (unit := unit_of(got)):
        hint = f", which looks like {unit}"
    if isinstance(got, str):
        size = len(got.encode())
        return _misfit(rule.field, f"expected {rule.expected[which - 1]}, got {size} bytes")
    return _misfit(rule.field, f"expected {rule.expected[which - 1]}, got {told(got)}{hint}")


def _misfit(field: str, message: str) -> Problem:
    return Problem(422, f"field {field} {message}", field=field)


def schema_of(kind: EventKind, in_path: Sequence[str] = ()) -> dict[str, Any]:
    """A JSON schema of what a client says, for OpenAPI."""

    avro = json.loads(kind.topic.schema)
    fields = [each for each in avro["fields"] if each["name"] not in in_path]
    left_out = {"timestamp"}
    return {
        "type": "object",
        "required": [f["name"] for f in fields if "default" not in f and f["name"] not in left_out],
        "properties": {
            **{f["name"]: {**_json_type(f["type"]), "description": f["doc"]} for f in fields},
            "event_id": {
                "type": "string",
                "description": f"counts once, however often sent; 1 to {EVENT_ID_BYTES} bytes",
            },
        },
        "additionalProperties": False,
    }


def _json_type(kind: Any) -> dict[str, Any]:
    names = {"string": "string", "long": "integer", "int": "integer", "double": "number"}
    if isinstance(kind, list):
        inner = _json_type(next(each for each in kind if each != "null"))
        return {**inner, "type": [inner["type"], "null"]}
    if isinstance(kind, str):
        return {"type": names[kind]}
    if kind["type"] == "enum":
        return {"type": "string", "enum": kind["symbols"]}
    if kind["type"] == "array":
        return {"type": "array", "items": _json_type(kind["items"])}
    return _json_type(kind["type"])


__all__ = [
    "CLICK",
    "IMPRESSION",
    "KINDS",
    "OUTCOME",
    "Context",
    "Event",
    "EventKind",
    "EventMaker",
    "misfit_problem",
    "schema_of",
    "told",
]
