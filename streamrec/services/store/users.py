"""What the store keeps of a user: the newest recommendation as it came, and what was clicked last.

    value = order | bytes of history, 2 | history | recommendation (wire format, as on the topic)
    order = event time, Unix ms, 8 | partition, 4 | offset, 8    of the click that asked
    history = events, newest first: time, 8 | item id | bytes of the item id, 2

All numbers are big-endian and not negative, so that bytes compare as they do. Newer is by event
time, then by partition and offset. The history is the set of (time, item) of the recommendations
that were seen, cut to the newest 20: whatever came in whatever order, and twice, leaves the same.
"""

import struct
from hashlib import sha256
from typing import NamedTuple

from streamrec.services.store.contract import Space

HISTORY_MAX = 20
ITEM_BYTES_MAX = 1_024  # of a longer id the history keeps nothing

_HEAD = struct.Struct(">QIQH")
_BODY = _HEAD.size
_ORDER_BYTES = _BODY - 2
_KEY_BYTES_MAX = 256
_TAIL = 2  # bytes of an event behind its item
_EVENT_BYTES = 8 + _TAIL
_SIZES = [size.to_bytes(_TAIL, "big") for size in range(ITEM_BYTES_MAX + 1)]


def asked_ms(value: bytes) -> int:
    """Event time of the click that a value's recommendation answers, Unix ms."""
    return int.from_bytes(value[:8], "big")


class AskedAt(NamedTuple):
    """Which click a recommendation answers, and when that was."""

    time_ms: int  # event time, Unix ms
    partition: int
    offset: int


class PastClick(NamedTuple):
    """A click of the history."""

    time_ms: int
    item_id: str


class UserValue(NamedTuple):
    """A value, taken apart."""

    asked: AskedAt
    history: list[PastClick]  # newest first
    record: bytes  # the recommendation, in wire format


def user_key(user_id: bytes) -> bytes:
    """The key of a user. Ids that are longer than a store takes are hashed."""
    return user_id if len(user_id) <= _KEY_BYTES_MAX else b"\0" + sha256(user_id).digest()


def packed(time_ms: int, partition: int, offset: int, item_id: bytes, record: bytes) -> bytes:
    """The value that one recommendation makes. Numbers must not be negative."""
    size = len(item_id)
    if size > ITEM_BYTES_MAX:
        return _HEAD.pack(time_ms, partition, offset, 0) + record
    head = _HEAD.pack(time_ms, partition, offset, size + _EVENT_BYTES)
    return b"".join((head, head[:8], item_id, _SIZES[size], record))


def unpacked(value: bytes) -> UserValue:
    """The inverse, of a merged value too."""
    time_ms, partition, offset, size = _HEAD.unpack_from(value)
    history = [
        PastClick(int.from_bytes(event[:8], "big"), event[8:-_TAIL].decode("utf-8", "replace"))
        for event in _events(value[_BODY : _BODY + size])
    ]
    return UserValue(AskedAt(time_ms, partition, offset), history, value[_BODY + size :])


def record_of(value: bytes) -> bytes:
    """The recommendation alone."""
    return value[_BODY + int.from_bytes(value[_BODY - 2 : _BODY], "big") :]


def merged(one: bytes, other: bytes) -> bytes:
    """What is left of two values of a user."""
    older, newer = one, other
    if one[:_ORDER_BYTES] > other[:_ORDER_BYTES]:
        older, newer = other, one
    elif one[:_ORDER_BYTES] == other[:_ORDER_BYTES] and record_of(one) > record_of(other):
        older, newer = other, one  # the same click, answered twice in two ways: one of them, always
    old_end = _BODY + int.from_bytes(older[_BODY - 2 : _BODY], "big")
    new_end = _BODY + int.from_bytes(newer[_BODY - 2 : _BODY], "big")
    old_history, new_history = older[_BODY:old_end], newer[_BODY:new_end]
    if old_history == new_history:
        history = new_history
    else:
        union = {*_events(old_history), *_events(new_history)}
        history = b"".join(sorted(union, key=_newest_last, reverse=True)[:HISTORY_MAX])
    head = newer[:_ORDER_BYTES] + len(history).to_bytes(2, "big")
    return head + history + newer[new_end:]


def _newest_last(event: bytes) -> tuple[bytes, bytes]:
    return event[:8], event[8:-_TAIL]


def _events(history: bytes) -> list[bytes]:
    """Its events, newest first; they are told apart from the end, where their sizes stand."""
    found = []
    end = len(history)
    while end > 0:
        size = (history[end - 2] << 8) + history[end - 1]
        start = end - size - _EVENT_BYTES
        found.append(history[start:end])
        end = start
    found.reverse()
    return found


USERS = Space("users", merged)

__all__ = [
    "HISTORY_MAX",
    "USERS",
    "AskedAt",
    "PastClick",
    "UserValue",
    "merged",
    "packed",
    "record_of",
    "unpacked",
    "user_key",
]
