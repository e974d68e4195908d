"""How large records are, as a topic's limit counts them: key, value, and names and values of
headers."""

from collections.abc import Iterable, Sequence
from itertools import chain
from operator import itemgetter

from streamrec.connectors.log import Headers


def size_of(key: bytes | None, value: bytes | None, headers: Headers | None) -> int:
    """Bytes of one record."""
    size = len(key or b"") + len(value or b"")
    for name, content in headers or ():
        size += len(name) + len(content or b"")
    return size


def surely_fit(
    limit: int,
    keys: Sequence[bytes | None],
    values: Sequence[bytes | None],
    headers: Sequence[Headers] | None = None,
) -> bool:
    """Whether no record can be larger than the limit, by the largest of each of their parts. False
    only says: look at each. Some 50 ns a record, and as much a header.

    >>> surely_fit(100, [None], [b"value"], [[("name", b"content")]])
    True
    >>> surely_fit(10, [b"k"], [b"ten bytes!"])
    False
    """
    size = _longest(keys) + _longest(values)
    if headers is not None:
        pairs = list(chain.from_iterable(headers))
        if pairs:
            names = set(map(itemgetter(0), pairs))
            widest = max(map(len, names)) + _longest(map(itemgetter(1), pairs))
            size += widest * max(map(len, headers))
    return size <= limit


def _longest(parts: Iterable[bytes | None]) -> int:
    return max(map(len, filter(None, parts)), default=0)


__all__ = ["size_of", "surely_fit"]
