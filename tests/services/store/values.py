"""Values of users as tests make them, and what they are taken for when they come back."""

import random
from collections.abc import Sequence
from typing import NamedTuple

from streamrec.services.store.users import HISTORY_MAX, PastClick, packed, unpacked


class Put(NamedTuple):
    """One recommendation, as the flow puts it."""

    user: bytes
    time_ms: int
    partition: int
    offset: int
    item: bytes

    @property
    def value(self) -> bytes:
        record = b"\0record %d/%d at %d" % (self.partition, self.offset, self.time_ms)
        return packed(self.time_ms, self.partition, self.offset, self.item, record)


def some_puts(rng: random.Random, count: int, users: int = 3) -> list[Put]:
    """Puts of few users, whose times clash often."""
    return [
        Put(
            b"u%d" % rng.randrange(users),
            rng.randrange(1, 40),
            rng.randrange(2),
            offset,
            b"i%d" % rng.randrange(8),
        )
        for offset in range(count)
    ]


def expected(puts: Sequence[Put]) -> dict[bytes, tuple[tuple[int, int, int], list[PastClick]]]:
    """By user the newest place and the history, the plain way."""
    found = {}
    for user in {put.user for put in puts}:
        own = [put for put in puts if put.user == user]
        newest = max((put.time_ms, put.partition, put.offset) for put in own)
        seen = sorted({(put.time_ms, put.item) for put in own}, reverse=True)[:HISTORY_MAX]
        found[user] = newest, [PastClick(time_ms, item.decode()) for time_ms, item in seen]
    return found


def told(value: bytes | None) -> tuple[tuple[int, int, int], list[PastClick]] | None:
    """What a value says, in the same form; the record must be that of the place."""
    if value is None:
        return None
    asked, history, record = unpacked(value)
    assert record == b"\0record %d/%d at %d" % (asked.partition, asked.offset, asked.time_ms)
    return (asked.time_ms, asked.partition, asked.offset), history
