"""What a handler answers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

HeaderPairs = Sequence[tuple[bytes, bytes]]

JSON_TYPE = b"application/json"

_encode = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")
).encode


@dataclass(slots=True)
class Reply:
    """A status, a body, what it is, and further headers (lower case)."""

    status: int = 200
    body: bytes = b""
    content_type: bytes = JSON_TYPE
    headers: HeaderPairs = ()


def json_bytes(value: Any) -> bytes:
    """JSON, small; half a surrogate pair, which UTF-8 cannot say, as its escape. Raises ValueError
    for what JSON has no word for."""
    return _encode(value).encode(errors="backslashreplace")


def json_reply(value: Any, status: int = 200, headers: HeaderPairs = ()) -> Reply:
    """A value as JSON."""
    return Reply(status, json_bytes(value), JSON_TYPE, headers)


__all__ = ["JSON_TYPE", "HeaderPairs", "Reply", "json_bytes", "json_reply"]
