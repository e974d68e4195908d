"""Rows of records that a shard holds: found by key, called when they are due, saved as they change.

A row is one of many that a key may have. It has an id (ever growing, never used again), the 128-bit
hash of its key, a time at which it is due or none, four order words, and what its holder declares:
words (int64) and parts (bytes). All operations take and give arrays and are one kernel call (one
more for each part), so that a row costs well under a microsecond; a kernel of one's own may do all
at once, see `models.keyed.kernels`.

- Two keys that share all 128 bits would be one (at 10^9 keys the chance is about 10^-21).
- Rows that are due come in the order (due_ms, the four order words, id), whatever was added when.
- Saved is what was added, altered or removed since it was saved last; what comes back has the same
  ids, and so the same order in each key and among what is due at the same time.
- Bytes of parts lie in one arena, which is written at its end only. What was removed from it is
  left out when the arena is full and half of it is garbage.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamrec.models.keyed import kernels
from streamrec.models.keyed.kernels import NEVER_MS, RowArrays
from streamrec.schemas.columns import Bytes

_GROWTH = 1.5
_FIRST_CAPACITY = 256
_FIRST_ARENA = 4_096
_LINE_BYTES = 64  # of the processor's caches
_ORDER = tuple(f"order_{i}" for i in range(4))
_OWN = ("id", "hash_high", "hash_low", "due_ms", *_ORDER, "gone")  # columns of every saved table


class KeyedRows:
    """Rows of one shard. Not safe for use by several threads at once.

    Hashes are (n, 2) int64, the low half first, as `schemas.hashing.hash128` gives them. A slot
    (int64) is a row's until it is removed, but not beyond `settle`, `changed` and `restore`, which
    may number them anew.
    """

    def __init__(self, words: tuple[str, ...], parts: tuple[str, ...]) -> None:
        """Raises ValueError for a name that is taken."""
        names = [*_OWN, *words, *parts]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                f"names of words and parts expected each once and none of {', '.join(_OWN)}, "
                f"got {', '.join(twice)} again"
            )
        self._words = words
        self._parts = parts
        self.rows = self._empty(_FIRST_CAPACITY)

    def __len__(self) -> int:
        """Rows held."""
        return int(self.rows.counters[kernels.N_ROWS])

    @property
    def words(self) -> NDArray[np.int64]:
        """(slots, W), to be read and written in place; say `note_changed` of what was written.
        Another array after rows were added."""
        return self.rows.words

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, with the room in them that is free."""
        return sum(array.nbytes for array in self.rows)

    @property
    def held_bytes(self) -> int:
        """Bytes of what is held: the rows' share of the arrays, and their parts."""
        rows = self.rows
        arrays = (
            rows.fixed,
            rows.words,
            rows.spans,
            rows.links,
            rows.places,
            rows.state,
            rows.heap,
        )
        per_row = sum(array.nbytes // len(array) for array in arrays) + 2 * rows.table.itemsize
        return len(self) * per_row + int(rows.counters[kernels.BYTES_LIVE])

    def add(
        self,
        hashes: NDArray[np.int64],
        due_ms: NDArray[np.int64],
        order: NDArray[np.int64],
        words: NDArray[np.int64],
        parts: Mapping[str, Bytes] | None = None,
    ) -> NDArray[np.int64]:
        """Add n rows in order: hashes (n, 2), due_ms (n,) (NEVER_MS: not due), order (n, 4), words
        (n, W); a part that is not given is empty. Returns their slots (n,)."""
        parts = parts or {}
        self.reserve(len(hashes))
        slots = kernels.add(
            self.rows, _matrix(hashes, 2), _flat(due_ms), _matrix(order, 4), self._as_words(words)
        )
        for name, column in parts.items():
            self._put_part(name, slots, column)
        return slots

    def due(self, before_ms: int) -> NDArray[np.int64]:
        """Slots (n,) of all rows that are due before that time, in the order (due_ms, the four
        order words, id). They are held on, and not due any more."""
        return kernels.due(self.rows, before_ms)

    def next_due_ms(self) -> int:
        """When the first row is due; NEVER_MS: none is."""
        n_due = int(self.rows.counters[kernels.N_DUE])
        return int(self.rows.heap[0, 0]) if n_due else NEVER_MS

    def set_due(self, slots: NDArray[np.int64], due_ms: NDArray[np.int64]) -> None:
        """Let rows (n,) be due at other times (n,), or NEVER_MS."""
        self._expect_held(slots)
        kernels.set_due(self.rows, _flat(slots), _flat(due_ms))

    def remove(self, slots: NDArray[np.int64]) -> None:
        """Remove rows (n,), each once."""
        removed = kernels.remove(self.rows, _flat(slots))
        assert removed == len(slots), f"{len(slots) - removed} of the slots are not held"

    def remove_keys(self, hashes: NDArray[np.int64]) -> None:
        """Remove all rows of these keys, hashes (n, 2), if there are any."""
        kernels.remove_keys(self.rows, _matrix(hashes, 2))

    def drop_due(self, before_ms: int) -> int:
        """Remove all rows that are due before that time; returns how many they were."""
        return int(kernels.drop_due(self.rows, before_ms))

    def of_key(self, high: int, low: int) -> NDArray[np.int64]:
        """Slots of a key's rows, in the order in which they were added."""
        return self.chains(np.array([[low, high]], np.int64))[1]

    def first(self, hashes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Slots (n,) of the oldest row of each key, hashes (n, 2); -1: none."""
        return kernels.first(self.rows, _matrix(hashes, 2))

    def chains(self, hashes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Of each key, hashes (n, 2), the rows in the order in which they were added: bounds
        (n + 1,) and slots (total,)."""
        return kernels.chains(self.rows, _matrix(hashes, 2))

    def ids_at(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """The ids (n,) of rows."""
        ids: NDArray[np.int64] = self.rows.fixed[slots, kernels.ID]
        return ids

    def words_at(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """A copy of rows' words, (n, W)."""
        return self.rows.words[slots]

    def note_changed(self, slots: NDArray[np.int64]) -> None:
        """The words of these rows (n,) were written in place."""
        self._expect_held(slots)
        self.rows.state[slots] |= kernels.CHANGED

    def part(self, name: str, slots: NDArray[np.int64]) -> Bytes:
        """A part of rows (n,), in a buffer of its own."""
        self._expect_held(slots)
        at = self._parts.index(name)
        data, starts, lengths = kernels.gather(self.rows, at, _flat(slots))
        if len(lengths) and lengths.min() < 0:
            return Bytes(data, starts, np.maximum(lengths, 0), lengths >= 0)
        return Bytes(data, starts, lengths)

    def set_part(self, name: str, slots: NDArray[np.int64], column: Bytes) -> None:
        """Replace a part of rows (n,), each once."""
        self._expect_held(slots)
        self._put_part(name, _flat(slots), column)
        self.rows.state[slots] |= kernels.CHANGED

    def reserve(self, rows: int, part_bytes: int = 0) -> None:
        """Make room for so many rows more, and for so many bytes of parts. Slots stay; `rows` is
        another tuple of arrays afterwards."""
        needed = len(self) + rows
        if needed > len(self.rows.state):
            capacity = max(needed, int(len(self.rows.state) * _GROWTH))
            self._resize(np.arange(self.rows.counters[kernels.FRESH]), capacity, renumber=False)
        used, live = self._bytes()
        if used + part_bytes > len(self.rows.arena):
            if used > 2 * live:
                self._move_parts(2 * (live + part_bytes))
            else:
                arena = np.empty(int(_GROWTH * (used + part_bytes)), np.uint8)
                arena[:used] = self.rows.arena[:used]
                self.rows = self.rows._replace(arena=arena)

    def settle(self) -> None:
        """Give memory back when most of it is free, for which rows are given other slots. To be
        called between batches; `changed` does."""
        capacity, arena_bytes = len(self.rows.state), len(self.rows.arena)
        if 4 * len(self) < capacity and capacity > _FIRST_CAPACITY:
            held = np.flatnonzero(self.rows.state)
            self._resize(held, max(_FIRST_CAPACITY, int(len(held) * _GROWTH)), renumber=True)
        live = self._bytes()[1]
        if 4 * live < arena_bytes and arena_bytes > _FIRST_ARENA:
            self._move_parts(2 * live)

    def changed(self, whole: bool) -> pa.Table:
        """What was added, altered or removed since the last call, or all that is held.

        One row an id, in order: id, hash_high, hash_low, due_ms, order_0 to order_3, gone, the
        words by name (all int64, gone a boolean) and the parts (large_binary). Of a row that is
        gone all but the id is zero or null. The largest id ever given is told even when it is gone,
        so that what comes back never gives it again.
        """
        rows, counters = self.rows, self.rows.counters
        slots = np.flatnonzero(rows.state if whole else rows.state & kernels.CHANGED)
        slots = slots[np.argsort(rows.fixed[slots, kernels.ID])]
        gone = np.zeros(0, np.int64) if whole else np.sort(rows.gone[: counters[kernels.N_GONE]])
        newest = counters[kernels.NEXT_ID] - 1
        if newest > (-1 if whole else counters[kernels.LAST_SAVED_ID]) and not (
            len(slots) and rows.fixed[slots[-1], kernels.ID] == newest
        ):
            gone = np.append(gone, newest)
        table = self._table(slots, gone)
        rows.state[slots] |= kernels.SAVED
        rows.state[slots] &= ~np.uint8(kernels.CHANGED)
        counters[kernels.LAST_SAVED_ID] = newest
        self._begin_gone()
        self.settle()
        return table

    def restore(self, tables: Sequence[pa.Table]) -> None:
        """Become what said these tables, oldest first: of an id that stands in several the last row
        holds. Raises ValueError for tables of other words or parts."""
        names = [*_OWN, *self._words, *self._parts]
        for table in tables:
            if sorted(table.column_names) != sorted(names):
                raise ValueError(
                    f"saved rows expected columns {', '.join(sorted(names))}, "
                    f"got {', '.join(sorted(table.column_names))}"
                )
        saved = pa.concat_tables([table.select(names) for table in tables]) if tables else None
        ids = _ints(saved, "id") if saved is not None else np.zeros(0, np.int64)
        order = np.argsort(ids, kind="stable")
        is_last = np.append(ids[order][1:] != ids[order][:-1], True)[: len(ids)]
        chosen = order[is_last]
        if saved is not None:
            chosen = chosen[~saved["gone"].to_numpy()[chosen]]
        count = len(chosen)
        self.rows = self._empty(max(_FIRST_CAPACITY, count))
        counters = self.rows.counters
        counters[kernels.NEXT_ID] = ids.max(initial=-1) + 1
        counters[kernels.LAST_SAVED_ID] = ids.max(initial=-1)
        if saved is None:
            return
        fixed = self.rows.fixed[:count]
        for column, name in enumerate(("hash_high", "hash_low", "id", "due_ms", *_ORDER)):
            fixed[:, column] = _ints(saved, name)[chosen]
        for column, name in enumerate(self._words):
            self.rows.words[:count, column] = _ints(saved, name)[chosen]
        counters[kernels.N_ROWS] = counters[kernels.FRESH] = count
        self.rows.state[:count] = kernels.HELD | kernels.SAVED
        kernels.index(self.rows, count)
        for name in self._parts:
            self._put_part(name, np.arange(count), _taken(saved[name], chosen))
        self._begin_gone()

    def _table(self, slots: NDArray[np.int64], gone: NDArray[np.int64]) -> pa.Table:
        fixed, none = self.rows.fixed[slots], np.zeros(len(gone), np.int64)
        ids = np.concatenate([fixed[:, kernels.ID], gone])
        columns = {"id": pa.array(ids)}
        for column, name in enumerate(("hash_high", "hash_low", "id", "due_ms", *_ORDER)):
            if name != "id":
                columns[name] = pa.array(np.concatenate([fixed[:, column], none]))
        columns["gone"] = pa.array(np.arange(len(ids)) >= len(slots))
        for column, name in enumerate(self._words):
            columns[name] = pa.array(np.concatenate([self.rows.words[slots, column], none]))
        for name in self._parts:
            columns[name] = _large_binary(self.part(name, slots), len(gone))
        return pa.table(columns)

    def _put_part(self, name: str, slots: NDArray[np.int64], column: Bytes) -> None:
        lengths = column.lengths
        if column.valid is not None:
            lengths = np.where(column.valid, lengths, kernels.NULL)
        self.reserve(0, int(np.maximum(lengths, 0).sum()))
        # A kernel takes only arrays that can be written to.
        data = column.data if column.data.flags.writeable else column.data.copy()
        at = self._parts.index(name)
        kernels.put_part(self.rows, at, slots, data, _flat(column.starts), _flat(lengths))

    def _as_words(self, words: NDArray[np.int64]) -> NDArray[np.int64]:
        return _matrix(words, len(self._words))

    def _expect_held(self, slots: NDArray[np.int64]) -> None:
        held = slots.min(initial=0) >= 0 and bool(self.rows.state[slots].all())
        assert held, "some of the slots are not held"

    def _bytes(self) -> tuple[int, int]:
        """Of the arena: used, and live of these."""
        used, live = self.rows.counters[[kernels.BYTES_USED, kernels.BYTES_LIVE]].tolist()
        return used, live

    def _begin_gone(self) -> None:
        """Room for the ids of all that is held: what kernels remove is never more."""
        self.rows = self.rows._replace(gone=np.empty(len(self), np.int64))
        self.rows.counters[kernels.N_GONE] = 0

    def _move_parts(self, capacity: int) -> None:
        arena = np.empty(max(_FIRST_ARENA, capacity), np.uint8)
        kernels.move_parts(self.rows, arena)
        self.rows = self.rows._replace(arena=arena)

    def _empty(self, capacity: int) -> RowArrays:
        counters = np.zeros(kernels.COUNTERS, np.int64)
        counters[kernels.FREE] = counters[kernels.LAST_SAVED_ID] = -1
        return RowArrays(
            fixed=_aligned(capacity, kernels.FIXED_COLUMNS),
            words=np.zeros((capacity, len(self._words)), np.int64),
            spans=np.zeros((capacity, 2 * len(self._parts)), np.int64),
            links=np.zeros((capacity, kernels.LINK_COLUMNS), np.int32),
            places=np.zeros(capacity, np.int32),
            state=np.zeros(capacity, np.uint8),
            table=np.full(_table_size(capacity), -1, np.int64),
            heap=_aligned(capacity, 2, first=1),
            gone=np.zeros(0, np.int64),
            arena=np.empty(_FIRST_ARENA, np.uint8),
            counters=counters,
        )

    def _resize(self, slots: NDArray[np.int64], capacity: int, renumber: bool) -> None:
        """Arrays of another size with what stands in some slots: all that were ever used, which
        stay what they are, or those held, which are numbered anew."""
        old = self.rows
        count = len(slots)
        new = self._empty(capacity)._replace(gone=old.gone, arena=old.arena, counters=old.counters)
        chosen: NDArray[np.int64] | slice = slots if renumber else slice(count)
        new.fixed[:count] = old.fixed[chosen]
        new.words[:count] = old.words[chosen]
        new.spans[:count] = old.spans[chosen]
        new.links[:count] = old.links[chosen]
        new.places[:count] = old.places[chosen]
        new.state[:count] = old.state[chosen]
        n_due = int(old.counters[kernels.N_DUE])
        new.heap[:n_due] = old.heap[:n_due]
        new_slots = np.zeros(0, np.int64)
        if renumber:
            new_slots = np.full(len(old.state), -1, np.int64)
            new_slots[slots] = np.arange(count)
            new.heap[:n_due, 1] = new_slots[old.heap[:n_due, 1]]
            for column in (kernels.NEXT, kernels.PREVIOUS):
                linked = new.links[:count, column]
                new.links[:count, column] = np.where(linked < 0, -1, new_slots[linked])
            new.counters[kernels.FREE], new.counters[kernels.FRESH] = -1, count
        kernels.move_table(old.table, new.table, new_slots)
        self.rows = new


def _aligned(rows: int, columns: int, first: int = 0) -> NDArray[np.int64]:
    """Zeros of which row `first` begins at a cache line: the children of a place of the heap lie
    in one, then."""
    block = np.zeros(rows * columns + _LINE_BYTES // 8, np.int64)
    start = (-block.ctypes.data // 8 - first * columns) % (_LINE_BYTES // 8)
    return block[start : start + rows * columns].reshape(rows, columns)


def _table_size(capacity: int) -> int:
    size = 1
    while size < 2 * capacity:
        size *= 2
    return size


def _matrix(values: NDArray[np.int64], columns: int) -> NDArray[np.int64]:
    """As a kernel takes it."""
    values = np.require(values, np.int64, ["C", "W"])
    assert values.ndim == 2 and values.shape[1] == columns, f"{values.shape} has not {columns}"
    return values


def _flat(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """As a kernel takes it."""
    return np.require(values, np.int64, ["C", "W"])


def _ints(table: pa.Table, name: str) -> NDArray[np.int64]:
    values: NDArray[np.int64] = table[name].to_numpy()
    return values


def _large_binary(column: Bytes, nulls: int) -> pa.Array:
    """A column whose spans fill its data, and nulls behind it."""
    n = len(column)
    offsets = np.full(n + nulls + 1, len(column.data), np.int64)
    offsets[:n] = column.starts
    valid = np.zeros(n + nulls, np.bool_)
    valid[:n] = True if column.valid is None else column.valid
    bitmap = pa.py_buffer(np.packbits(valid, bitorder="little"))
    buffers = [bitmap, pa.py_buffer(offsets), pa.py_buffer(column.data)]
    return pa.Array.from_buffers(pa.large_binary(), n + nulls, buffers)


def _taken(column: pa.ChunkedArray, rows: NDArray[np.int64]) -> Bytes:
    array = column.cast(pa.large_binary()).take(pa.array(rows)).combine_chunks()
    _, offset_buffer, data_buffer = array.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64)[array.offset : array.offset + len(array) + 1]
    data = np.zeros(0, np.uint8) if data_buffer is None else np.frombuffer(data_buffer, np.uint8)
    valid = None if array.null_count == 0 else array.is_valid().to_numpy(zero_copy_only=False)
    return Bytes(data, offsets[:-1], np.diff(offsets), valid)


__all__ = ["NEVER_MS", "KeyedRows"]
