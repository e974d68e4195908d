"""The usual question, a user's items and nothing else, answered from the bytes of the store."""

import json
from typing import Any

import numpy as np
import orjson

from streamrec.connectors.log import SchemaRegistry
from streamrec.schemas.header_ids import HEADER_BYTES
from streamrec.services.api.answer_kernel import (
    ASKED_MS,
    EXPERIMENT,
    ID,
    MODEL,
    OFFSET,
    PARTITION,
    REFUSED,
    SPANS,
    TOPIC,
    TOTAL,
    VARIANT,
    VERSION,
    items_as_json,
)
from streamrec.services.api.answers import of_click

_OUT_BYTES = 1 << 16
# What `answer_kernel` reads: fields and types, in their order.
_LAYOUT = [
    ("user_id", "string"),
    ("source_topic", "string"),
    ("source_partition", "int"),
    ("source_offset", "long"),
    ("requested_at", "long"),
    ("item_id", "string"),
    ("items", ["array", [("item_id", "string"), ("score", "float"), ("methods", "int")]]),
    ("model_name", "string"),
    ("model_version", "string"),
    ("method_names", "string"),
    ("feature_set", "string"),
    ("features", ["array", "float"]),
    ("recommendation_id", ["null", "string"]),
    ("experiment", ["null", "string"]),
    ("variant", ["null", "string"]),
    ("propensity", ["null", "double"]),
    ("mode", "string"),
]


class QuickAnswers:
    """Says what `answers.of_record` says, scores to nine digits. Used by one thread."""

    def __init__(self, registry: SchemaRegistry) -> None:
        self._registry = registry
        self._is_ours: dict[bytes, bool] = {}  # by the header of a record
        self._out = np.empty(_OUT_BYTES, np.uint8)
        self._floats = np.zeros(1, np.float32)
        self._bits = self._floats.view(np.uint32)
        self._spans = np.zeros(SPANS, np.int64)

    def answer(self, user_id: str, record: bytes, n: int, now_ms: int) -> bytes | None:
        """The answer as JSON; None: the general way must make it, for the record was written
        otherwise, cannot be read, or holds fewer items. Raises SchemaError,
        RegistryUnavailableError."""
        header = record[:HEADER_BYTES]
        is_ours = self._is_ours.get(header)
        if is_ours is None:
            is_ours = self._look_at(header)
        if not is_ours:
            return None
        size = items_as_json(id(record), n, self._out, self._floats, self._bits, self._spans)
        if size == REFUSED:
            return None
        spans = self._spans.tolist()
        if spans[TOTAL] < n:
            return None

        def text(place: int) -> str | None:
            begin, end = spans[place], spans[place + 1]
            return None if begin < 0 else record[begin:end].decode()

        record_fields = {
            "recommendation_id": text(ID),
            "model_name": text(MODEL),
            "model_version": text(VERSION),
            "source_topic": text(TOPIC),
            "source_partition": spans[PARTITION],
            "source_offset": spans[OFFSET],
            "requested_at": spans[ASKED_MS],
        }
        beside: dict[str, Any] = {
            "user_id": user_id,
            "kind": "user",
            "next": n,
            **of_click(record_fields, now_ms),
        }
        if spans[EXPERIMENT] >= 0:
            beside["experiment"] = text(EXPERIMENT)
            beside["variant"] = text(VARIANT)
        items = self._out[:size].tobytes()
        return b'{"items":[%b],%b' % (items, orjson.dumps(beside)[1:])

    def _look_at(self, header: bytes) -> bool:
        if len(header) < HEADER_BYTES or header[0]:
            return False
        schema = json.loads(self._registry.by_id(int.from_bytes(header[1:], "big")))
        found = self._is_ours[header] = bool(_shape_of(schema) == _LAYOUT)
        return found


def _shape_of(schema: Any) -> Any:
    """What of a schema says how bytes lie."""
    if isinstance(schema, dict):
        if schema.get("type") == "record":
            return [(field["name"], _shape_of(field["type"])) for field in schema["fields"]]
        if schema.get("type") == "array":
            return ["array", _shape_of(schema["items"])]
        return _shape_of(schema["type"])
    return [_shape_of(branch) for branch in schema] if isinstance(schema, list) else schema


__all__ = ["QuickAnswers"]
