"""`ItemTable`: which dense number an item has, kept for the items seen most recently.

Every array of a model is indexed by item number, so numbers are small and are used again: when
`items_max` items are known, the least recently seen one gives its number to the next new one.
"""

from collections.abc import Callable
from typing import TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

from streamrec.compiling import kernel
from streamrec.schemas.columns import Bytes

_FIRST_CAPACITY = 1_024
_NO_TEXT = -1  # as a length: the caller gave no id string, the key is the id

_Scalar = TypeVar("_Scalar", bound=np.generic)

# Places in `counters`, int64.
USED, NEWEST, OLDEST, TEXT_END, TEXT_WASTE = range(5)


@kernel(numba.int64(numba.int64, numba.int64))
def home_of(key: int, mask: int) -> int:
    """Where a key's probe starts (Fibonacci hashing: sequential ids spread)."""
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    return int(mixed >> np.uint64(20)) & mask


@kernel(
    "void(int32[::1], int64[::1], int32[:, ::1], int64[:, ::1], uint8[::1], int64[::1], int64[::1],"
    " uint8[::1], int64[::1], int64[::1], int64, boolean, int32[::1], int64[::1], int32[::1])",
)
def _numbers(
    table: NDArray[np.int32],
    item_keys: NDArray[np.int64],
    links: NDArray[np.int32],
    spans: NDArray[np.int64],
    text: NDArray[np.uint8],
    counters: NDArray[np.int64],
    keys: NDArray[np.int64],
    ids: NDArray[np.uint8],
    id_starts: NDArray[np.int64],
    id_lengths: NDArray[np.int64],
    items_max: int,
    add: bool,
    out: NDArray[np.int32],
    n_dropped: NDArray[np.int64],
    dropped: NDArray[np.int32],
) -> None:
    """Look up each key; with `add`, number the new ones and move each seen one to the front.

    `links` (capacity, 2) is the list of items by recency: [:, 0] the next newer, [:, 1] the next
    older number. `spans` (capacity, 2) is where an id lies in `text`: start and length.
    """
    mask = len(table) - 1
    for row in range(len(keys)):
        key = keys[row]
        place = home_of(key, mask)
        number = -1
        while table[place] >= 0:
            if item_keys[table[place]] == key:
                number = table[place]
                break
            place = (place + 1) & mask
        if not add:
            out[row] = number
            continue
        if number < 0:
            if counters[USED] < items_max:
                number = counters[USED]
                counters[USED] += 1
            else:
                number = counters[OLDEST]
                counters[OLDEST] = links[number, 0]
                links[counters[OLDEST], 1] = -1
                if spans[number, 1] > 0:
                    counters[TEXT_WASTE] += spans[number, 1]
                dropped[n_dropped[0]] = number
                n_dropped[0] += 1
                # Deletion by shifting back what probed past the hole, so no tombstones gather.
                hole = home_of(item_keys[number], mask)
                while table[hole] != number:
                    hole = (hole + 1) & mask
                probe = (hole + 1) & mask
                while table[probe] >= 0:
                    home = home_of(item_keys[table[probe]], mask)
                    if ((probe - home) & mask) >= ((probe - hole) & mask):
                        table[hole] = table[probe]
                        hole = probe
                    probe = (probe + 1) & mask
                table[hole] = -1
                place = home_of(key, mask)
                while table[place] >= 0:
                    place = (place + 1) & mask
            table[place] = number
            item_keys[number] = key
            spans[number, 1] = -1
            if len(id_starts) > 0:
                start = counters[TEXT_END]
                length = id_lengths[row]
                for letter in range(length):  # a slice would cost a second of compiling
                    text[start + letter] = ids[id_starts[row] + letter]
                spans[number, 0] = start
                spans[number, 1] = length
                counters[TEXT_END] += length
            links[number, 0] = -1
            links[number, 1] = -1
        elif counters[NEWEST] == number:
            out[row] = number
            continue
        else:
            newer = links[number, 0]
            older = links[number, 1]
            links[newer, 1] = older
            if older >= 0:
                links[older, 0] = newer
            else:
                counters[OLDEST] = newer
        links[number, 0] = -1
        links[number, 1] = counters[NEWEST]
        if counters[NEWEST] >= 0:
            links[counters[NEWEST], 0] = number
        counters[NEWEST] = number
        if counters[OLDEST] < 0:
            counters[OLDEST] = number
        out[row] = number


@kernel("void(int32[::1], int64[::1], int64)")
def _index_keys(table: NDArray[np.int32], item_keys: NDArray[np.int64], used: int) -> None:
    mask = len(table) - 1
    for number in range(used):
        place = home_of(item_keys[number], mask)
        while table[place] >= 0:
            place = (place + 1) & mask
        table[place] = number


class ItemTable:
    """64-bit item keys to dense numbers and back; used by one thread.

    >>> table = ItemTable(items_max=1_000)
    >>> table.numbers(np.array([900, 17, 900]), None, add=True)
    array([0, 1, 0], dtype=int32)
    >>> table.numbers(np.array([17, 5]), None, add=False)
    array([ 1, -1], dtype=int32)

    State: 37 bytes an item and its id string; at most `items_max` items. `on_drop` is called with
    the numbers of dropped items before `numbers` returns them for new ones; whoever keeps arrays by
    item number must forget them there. A batch of more than `items_max` new keys is an error of the
    setting: one number would stand for two of them.
    """

    def __init__(
        self, items_max: int, on_drop: Callable[[NDArray[np.int32]], None] | None = None
    ) -> None:
        if not 2 <= items_max <= 2**30:
            raise ValueError(f"items_max expected 2 to {2**30}, got {items_max!r}")
        self.items_max = items_max
        self.on_drop = on_drop
        capacity = min(_FIRST_CAPACITY, items_max)
        self._keys = np.zeros(capacity, np.int64)
        self._links = np.zeros((capacity, 2), np.int32)
        self._spans = np.zeros((capacity, 2), np.int64)
        self._text = np.zeros(16 * capacity, np.uint8)
        self._counters = np.array([0, -1, -1, 0, 0], np.int64)
        self._table = np.full(4 * _FIRST_CAPACITY, -1, np.int32)

    def __len__(self) -> int:
        """One more than the largest number in use."""
        return int(self._counters[USED])

    def numbers(self, keys: NDArray[np.int64], ids: Bytes | None, add: bool) -> NDArray[np.int32]:
        """Numbers of n items, (n,) int32; -1: unknown, which only happens without `add`.

        `keys` (n,) int64 and `ids`, n strings or None where the key itself is the id. With `add`,
        new items get a number and every item counts as seen now; without, nothing changes.
        """
        out = np.empty(len(keys), np.int32)
        n_dropped = np.zeros(1, np.int64)
        dropped = np.empty(len(keys) if add else 0, np.int32)
        if add:
            self._make_room(len(keys), 0 if ids is None else int(ids.lengths.sum()))
        _numbers(
            self._table,
            self._keys,
            self._links,
            self._spans,
            self._text,
            self._counters,
            np.ascontiguousarray(keys),
            _NO_BYTES if ids is None else ids.data,
            _NO_INTS if ids is None else ids.starts,
            _NO_INTS if ids is None else ids.lengths,
            self.items_max,
            add,
            out,
            n_dropped,
            dropped,
        )
        if n_dropped[0] > 0 and self.on_drop is not None:
            self.on_drop(dropped[: n_dropped[0]])
        return out

    def keys(self, numbers: NDArray[np.int32]) -> NDArray[np.int64]:
        """The keys of numbers that are in use, (n,)."""
        return self._keys[numbers]

    def ids(self, numbers: NDArray[np.int32]) -> Bytes:
        """The id strings of numbers that are in use; the key in decimal where none was given."""
        starts = self._spans[numbers, 0]
        lengths = self._spans[numbers, 1]
        without = lengths == _NO_TEXT
        if not without.any():
            return Bytes(self._text, starts, lengths)
        texts = [str(key).encode() for key in self._keys[numbers[without]]]
        starts[without] = len(self._text) + np.cumsum([0, *map(len, texts)])[:-1]
        lengths[without] = [len(text) for text in texts]
        data = np.concatenate([self._text, np.frombuffer(b"".join(texts), np.uint8)])
        return Bytes(data, starts, lengths)

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Everything, as arrays without objects."""
        used = len(self)
        return {
            "items_max": np.array([self.items_max], np.int64),
            "counters": self._counters.copy(),
            "keys": self._keys[:used].copy(),
            "links": self._links[:used].copy(),
            "spans": self._spans[:used].copy(),
            "text": self._text[: self._counters[TEXT_END]].copy(),
        }

    def restore(self, state: dict[str, NDArray[np.generic]]) -> None:
        """Become the table whose `state()` this is; `items_max` comes with it."""
        self.items_max = int(state["items_max"][0])
        self._counters = state["counters"].astype(np.int64)
        self._keys = state["keys"].astype(np.int64)
        self._links = state["links"].astype(np.int32)
        self._spans = state["spans"].astype(np.int64)
        self._text = state["text"].astype(np.uint8)
        self._reindex()

    @property
    def bytes_used(self) -> int:
        """Memory of the arrays, in bytes."""
        arrays = (self._keys, self._links, self._spans, self._text, self._table)
        return sum(array.nbytes for array in arrays)

    def _make_room(self, n_new: int, text_bytes: int) -> None:
        needed = min(len(self) + n_new, self.items_max)
        if needed > len(self._keys):
            capacity = min(max(needed, 2 * len(self._keys)), self.items_max)
            self._keys = grown(self._keys, capacity)
            self._links = grown(self._links, capacity)
            self._spans = grown(self._spans, capacity)
        if 2 * len(self._keys) > len(self._table):
            self._reindex()
        end = int(self._counters[TEXT_END])
        if end + text_bytes > len(self._text):
            if self._counters[TEXT_WASTE] > end // 2:
                end = self._drop_dead_text()
            # A new array, never in place: columns handed out by `ids` still look at the old one.
            self._text = grown(self._text[:end], max(end + text_bytes, 2 * end))

    def _drop_dead_text(self) -> int:
        used = len(self)
        lengths = np.maximum(self._spans[:used, 1], 0)
        ends = np.cumsum(lengths)
        starts = ends - lengths
        index = np.repeat(self._spans[:used, 0] - starts, lengths) + np.arange(lengths.sum())
        self._text = self._text[index]
        self._spans[:used, 0] = starts
        self._counters[TEXT_END] = len(index)
        self._counters[TEXT_WASTE] = 0
        return len(index)

    def _reindex(self) -> None:
        size = 4 * _FIRST_CAPACITY
        while size < 2 * len(self._keys):
            size *= 2
        self._table = np.full(size, -1, np.int32)
        _index_keys(self._table, self._keys, len(self))


def grown(array: NDArray[_Scalar], capacity: int) -> NDArray[_Scalar]:
    """A copy with zeros after it, `capacity` long."""
    larger = np.zeros((capacity, *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger


_NO_BYTES = np.zeros(0, np.uint8)
_NO_INTS = np.zeros(0, np.int64)
