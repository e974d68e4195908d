"""Error records as the main job writes them, for tests of what reads them."""

from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import Any

from streamrec.connectors.log import Log, Outgoing
from streamrec.connectors.making_topics import subject_of
from streamrec.dataflows.job.topics import ERRORS
from streamrec.schemas.json_codec import JsonEncoder

FAILED_AT_MS = 1_767_225_600_000  # 2026-01-01


def error(offset: int, partition: int = 0, **changed: Any) -> dict[str, Any]:
    return {
        "exception": "InvalidValueError",
        "message": "field price_cents expected >= 0, got -1",
        "topic": "clicks",
        "partition": partition,
        "offset": offset,
        "reason": "invalid_value",
        "dataflow": "recommender",
        "stage": "decode",
        "key": f"u{offset}",
        "value": f"\x00\x00value {offset}",
        "headers": [{"name": "trace", "value": "t1"}],
        "timestamp": FAILED_AT_MS - 1000,
        "failed_at": FAILED_AT_MS,
        **changed,
    }


def write_errors(log: Log, errors: Iterable[Mapping[str, Any]], topic: str = ERRORS.name) -> None:
    with closing(log.registry()) as registry:
        registered = registry.latest(subject_of(topic))
    encoder = JsonEncoder(registered.schema, registered.id)
    with closing(log.writer()) as writer:
        writer.write(
            topic,
            [Outgoing(e["key"].encode(), encoder.encode(e), partition=0) for e in errors],
        )
