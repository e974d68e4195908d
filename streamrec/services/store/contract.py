"""The contract of a store: values by key in spaces, of which only what is newest is kept.

Two methods, `get` and `put`. A put does not replace: it merges, by the rule of the space, what is
there with what comes. The rule is a function of two values that asks neither for their order nor
for how often they come (commutative, associative, idempotent), so that records which are written
late, twice, or by two processes at once leave the same value, and nothing goes back in time.

Two back ends keep it, LMDB (`store.lmdb_file`) and Redis or Valkey (`store.redis_server`); one
contract suite (`tests/services/store/test_store_contract.py`) runs on both.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

Merge = Callable[[bytes, bytes], bytes]
Item = tuple[bytes, bytes]  # key and value


class Space(NamedTuple):
    """Values of one kind. `merge` says what is left of two values of a key, in any order."""

    name: str
    merge: Merge


class StoreError(Exception):
    """The store could not do what was asked; the message says where, what, and what to try."""


class StoreFullError(StoreError):
    """There is no room; nothing of what was to be put is there."""


class StoreAwayError(StoreError):
    """No answer from the store: the same may succeed later."""


class ValueStore(Protocol):
    """Values by key. Safe for use by several threads and processes at once."""

    def get(self, space: Space, keys: Sequence[bytes]) -> list[bytes | None]:
        """The value of each key; None: there is none. Raises StoreError."""

    def put(self, space: Space, items: Iterable[Item]) -> None:
        """Merge values into what is there; a key may come several times. Readers see it when this
        returns, and a process that is killed afterwards takes nothing of it back. Raises
        StoreError, after which a part of it may be there (on LMDB none)."""

    def sync(self) -> None:
        """Wait until what was put survives a power cut, as far as the back end can promise it.
        Raises StoreError."""

    def close(self) -> None: ...


def folded(merge: Merge, items: Iterable[Item]) -> list[Item]:
    """One item for each key, sorted by key: what follows touches each page of a tree once.

    >>> folded(max, [(b"b", b"1"), (b"a", b"2"), (b"b", b"3")])
    [(b'a', b'2'), (b'b', b'3')]
    """
    found: dict[bytes, bytes] = {}
    for key, value in items:
        if key in found:
            value = merge(found[key], value)
        found[key] = value
    return sorted(found.items())


__all__ = [
    "Item",
    "Merge",
    "Space",
    "StoreAwayError",
    "StoreError",
    "StoreFullError",
    "ValueStore",
    "folded",
]
