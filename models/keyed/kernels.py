"""The arrays behind `models.keyed.rows`, and what compiled code does with them.

`RowArrays` is what every helper takes first. A kernel of one's own (a join, a window) takes it as
its argument, in its signature `ROWS_TYPE`, and does all of its work on a batch in one call:

    @kernel(types.int64(ROWS_TYPE, types.int64[:, ::1], ...))
    def join(rows: RowArrays, hashes: NDArray[np.int64], ...) -> int:
        for i in range(len(hashes)):
            slot = first_of(rows, hashes[i, 1], hashes[i, 0])
            while slot >= 0:
                ...
                slot = next_of(rows, slot)

Nothing here makes room: `KeyedRows.reserve` does, before the call, for the rows and bytes that the
kernel may add. A kernel that writes `words` says so by `note_change`. It takes the arrays that it
needs itself out of `rows` before its loop.

Helpers are compiled without Numba's counts of references (`_nrt=False`): they allocate nothing, and
what they are given is held by their caller. With the counts, two atomic additions for each array at
each call, a row cost five to ten times as much.
"""

from typing import NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from streamrec.compiling import helper, kernel

NEVER_MS = 1 << 62  # as a row's due time: it is not due by itself

# Columns of `fixed`: what every row has, in one cache line.
HIGH, LOW, ID, DUE_MS, FIRST_ORDER = range(5)
FIXED_COLUMNS = 8

# Columns of `links`. The rows of a key are chained by NEXT, -1 at the end, in the order in which
# they were added. PREVIOUS of the first is the last, and CHAINED of the first is how many they are.
# Of a free row NEXT is the next free one.
NEXT, PREVIOUS, CHAINED = range(3)
LINK_COLUMNS = 4  # one more, so that a row lies in one cache line

# Bits of `state`; a free row has none.
HELD, CHANGED, SAVED = 1, 2, 4  # changed since it was saved; what was saved has a row of this id

# Of `counters`. FRESH: the slots from here on were never used. LAST_SAVED_ID: the largest id that
# what was saved knows of. The last keeps the compiler from leaving out reads made for the cache.
N_ROWS, FREE, FRESH, NEXT_ID, N_DUE, N_GONE, BYTES_USED, BYTES_LIVE = range(8)
LAST_SAVED_ID, TOUCHED = 8, 9
COUNTERS = 10

NULL = -1  # as the length of a span

# A place of `table`: the low 31 bits of the hash, then the slot of the key's first row; -1 when
# empty. The bits say where the place would best be, so that the table is mended, and made anew in
# another size, without a look at the rows.
_SLOT_BITS = 32
_SLOT_MASK = (1 << _SLOT_BITS) - 1
_TAG_MASK = (1 << 31) - 1

_CHILDREN = 4  # of a place of the heap: half the levels of a heap of two, four in a cache line


class RowArrays(NamedTuple):
    """`c` slots; W words and P parts a row."""

    fixed: NDArray[np.int64]  # (c, FIXED_COLUMNS)
    words: NDArray[np.int64]  # (c, W)
    spans: NDArray[np.int64]  # (c, 2 P): start and length in `arena` of each part
    links: NDArray[np.int32]  # (c, LINK_COLUMNS)
    places: NDArray[np.int32]  # (c,) in `heap`; -1: not due
    state: NDArray[np.uint8]  # (c,)
    table: NDArray[np.int64]  # (a power of two, at least 2 c)
    heap: NDArray[np.int64]  # (c, 2): due_ms and slot of the rows that are due at some time
    gone: NDArray[np.int64]  # (as many rows as were saved): ids of those removed since
    arena: NDArray[np.uint8]  # bytes of parts; is written at its end only
    counters: NDArray[np.int64]  # (COUNTERS,)


_FLAT, _MATRIX, _BYTES = types.int64[::1], types.int64[:, ::1], types.uint8[::1]
_TWO_FLAT = types.Tuple((_FLAT, _FLAT))  # type: ignore[no-untyped-call]  # numba has no types here
_SPANS = types.Tuple((_BYTES, _FLAT, _FLAT))  # type: ignore[no-untyped-call]  # as above
ROWS_TYPE = types.NamedTuple(  # type: ignore[no-untyped-call]  # numba has no types here
    [
        _MATRIX,
        _MATRIX,
        _MATRIX,
        types.int32[:, ::1],
        types.int32[::1],
        _BYTES,
        _FLAT,
        _MATRIX,
        _FLAT,
        _BYTES,
        _FLAT,
    ],
    RowArrays,
)


# Keys.


@helper(_nrt=False)
def _place_of(rows: RowArrays, high: int, low: int) -> int:
    """Where the key stands in `table`, or would."""
    table, fixed = rows.table, rows.fixed
    mask = len(table) - 1
    tag = low & _TAG_MASK
    at = tag & mask
    while table[at] >= 0:
        if table[at] >> _SLOT_BITS == tag:
            slot = table[at] & _SLOT_MASK
            if fixed[slot, LOW] == low and fixed[slot, HIGH] == high:
                break
        at = (at + 1) & mask
    return at


@helper(_nrt=False)
def first_of(rows: RowArrays, high: int, low: int) -> int:
    """Slot of the oldest row of a key; -1: none."""
    entry = rows.table[_place_of(rows, high, low)]
    return -1 if entry < 0 else entry & _SLOT_MASK


@helper(_nrt=False)
def next_of(rows: RowArrays, slot: int) -> int:
    """Slot of the row of the same key that was added next; -1: none."""
    return int(rows.links[slot, NEXT])


@helper(_nrt=False)
def last_of(rows: RowArrays, first: int) -> int:
    """Slot of the newest row of the key whose oldest row is at `first`."""
    return int(rows.links[first, PREVIOUS])


@helper(_nrt=False)
def count_of(rows: RowArrays, first: int) -> int:
    """How many rows the key has whose oldest row is at `first`."""
    return int(rows.links[first, CHAINED])


@helper(_nrt=False)
def _chain(rows: RowArrays, slot: int) -> None:
    """Put a row behind the others of its key."""
    fixed, links, table = rows.fixed, rows.links, rows.table
    low = fixed[slot, LOW]
    at = _place_of(rows, fixed[slot, HIGH], low)
    links[slot, NEXT] = -1
    if table[at] < 0:
        table[at] = (low & _TAG_MASK) << _SLOT_BITS | slot
        links[slot, PREVIOUS] = slot
        links[slot, CHAINED] = 1
        return
    first = table[at] & _SLOT_MASK
    last = links[first, PREVIOUS]
    links[last, NEXT] = slot
    links[slot, PREVIOUS] = last
    links[first, PREVIOUS] = slot
    links[first, CHAINED] += 1


@helper(_nrt=False)
def _unchain(rows: RowArrays, slot: int) -> None:
    fixed, links, table = rows.fixed, rows.links, rows.table
    low = fixed[slot, LOW]
    at = _place_of(rows, fixed[slot, HIGH], low)
    first = table[at] & _SLOT_MASK
    following, previous = links[slot, NEXT], links[slot, PREVIOUS]
    if slot != first:
        links[first, CHAINED] -= 1
        links[previous, NEXT] = following
        links[following if following >= 0 else first, PREVIOUS] = previous
    elif following >= 0:
        links[following, PREVIOUS] = previous
        links[following, CHAINED] = links[slot, CHAINED] - 1
        table[at] = (low & _TAG_MASK) << _SLOT_BITS | following
    else:
        _vacate(table, at)


@helper(_nrt=False)
def _vacate(table: NDArray[np.int64], at: int) -> None:
    """Empty a place and move up those behind it that would not be found any more."""
    mask = len(table) - 1
    hole = at
    at = (at + 1) & mask
    while table[at] >= 0:
        home = (table[at] >> _SLOT_BITS) & mask
        if (at - home) & mask >= (at - hole) & mask:
            table[hole] = table[at]
            hole = at
        at = (at + 1) & mask
    table[hole] = -1


# Due times: a heap that knows where each row stands in it, so that nothing in it is ever stale.


@helper(_nrt=False)
def _is_before(rows: RowArrays, due_ms: int, slot: int, other_ms: int, other: int) -> bool:
    """In the order (due_ms, the four order words, id)."""
    if due_ms != other_ms:
        return bool(due_ms < other_ms)
    fixed = rows.fixed
    for column in range(FIRST_ORDER, FIXED_COLUMNS):
        if fixed[slot, column] != fixed[other, column]:
            return bool(fixed[slot, column] < fixed[other, column])
    return bool(fixed[slot, ID] < fixed[other, ID])


@helper(_nrt=False)
def _rise(rows: RowArrays, at: int, due_ms: int, slot: int) -> int:
    """Make room for an entry at a place or above it, and put it there; returns where."""
    heap, places = rows.heap, rows.places
    while at > 0:
        parent = (at - 1) // _CHILDREN
        parent_ms, parent_slot = heap[parent, 0], heap[parent, 1]
        if not _is_before(rows, due_ms, slot, parent_ms, parent_slot):
            break
        heap[at, 0] = parent_ms
        heap[at, 1] = parent_slot
        places[parent_slot] = at
        at = parent
    heap[at, 0] = due_ms
    heap[at, 1] = slot
    places[slot] = at
    return at


@helper(_nrt=False)
def _sink(rows: RowArrays, at: int, due_ms: int, slot: int) -> None:
    """Make room for an entry at a place or below it, and put it there."""
    heap, places = rows.heap, rows.places
    n_due = rows.counters[N_DUE]
    total = np.int64(0)
    while _CHILDREN * at + 1 < n_due:
        child = _CHILDREN * at + 1
        next_child = _CHILDREN * child + 1
        if next_child + 12 < n_due:  # fetched while this level is decided on
            total += heap[next_child, 0] + heap[next_child + 4, 0]
            total += heap[next_child + 8, 0] + heap[next_child + 12, 0]
        end = min(child + _CHILDREN, n_due)
        # By times alone, without a branch that would be guessed wrong, unless two are the same.
        least, least_ms, is_tie = child, heap[child, 0], False
        for other in range(child + 1, end):
            other_ms = heap[other, 0]
            is_tie |= other_ms == least_ms
            least = other if other_ms < least_ms else least
            least_ms = min(other_ms, least_ms)
        if is_tie:
            least = child
            for other in range(child + 1, end):
                if _is_before(rows, heap[other, 0], heap[other, 1], heap[least, 0], heap[least, 1]):
                    least = other
        least_slot = heap[least, 1]
        if not _is_before(rows, least_ms, least_slot, due_ms, slot):
            break
        heap[at, 0] = least_ms
        heap[at, 1] = least_slot
        places[least_slot] = at
        at = least
    heap[at, 0] = due_ms
    heap[at, 1] = slot
    places[slot] = at
    rows.counters[TOUCHED] = total


@helper(_nrt=False)
def _take_out(rows: RowArrays, at: int) -> None:
    """Take the entry at a place out of the heap; the last one takes its place."""
    heap, counters = rows.heap, rows.counters
    rows.places[heap[at, 1]] = -1
    counters[N_DUE] -= 1
    last = counters[N_DUE]
    if at < last:
        due_ms, slot = heap[last, 0], heap[last, 1]
        if _rise(rows, at, due_ms, slot) == at:
            _sink(rows, at, due_ms, slot)


@helper(_nrt=False)
def put_due(rows: RowArrays, slot: int, due_ms: int) -> None:
    """Let a row be due at another time, or never. Not said to be changed: see `note_change`."""
    fixed, places, counters = rows.fixed, rows.places, rows.counters
    due_ms = min(due_ms, NEVER_MS)
    fixed[slot, DUE_MS] = due_ms
    at = int(places[slot])
    if due_ms == NEVER_MS:
        if at >= 0:
            _take_out(rows, at)
        return
    if at < 0:
        at = int(counters[N_DUE])
        counters[N_DUE] += 1
    if _rise(rows, at, due_ms, slot) == at:
        _sink(rows, at, due_ms, slot)


@helper(_nrt=False)
def pop_due(rows: RowArrays, before_ms: int) -> int:
    """Slot of the row that is due first, if before that time; -1: none. It is held on, and not due
    any more, which is a change."""
    if rows.counters[N_DUE] == 0 or rows.heap[0, 0] >= before_ms:
        return -1
    slot = int(rows.heap[0, 1])
    _take_out(rows, 0)
    rows.fixed[slot, DUE_MS] = NEVER_MS
    rows.state[slot] |= CHANGED
    return slot


# Rows.


@helper(_nrt=False)
def add_row(
    rows: RowArrays, high: int, low: int, due_ms: int, order: NDArray[np.int64], at: int
) -> int:
    """Add a row with the order words of `order[at]`; returns its slot. Its words are to be written,
    its parts are empty."""
    fixed, links, spans, counters = rows.fixed, rows.links, rows.spans, rows.counters
    slot = int(counters[FREE])
    if slot >= 0:
        counters[FREE] = links[slot, NEXT]
    else:
        slot = int(counters[FRESH])
        counters[FRESH] += 1
    fixed[slot, HIGH] = high
    fixed[slot, LOW] = low
    fixed[slot, ID] = counters[NEXT_ID]
    for column in range(FIXED_COLUMNS - FIRST_ORDER):
        fixed[slot, FIRST_ORDER + column] = order[at, column]
    for column in range(spans.shape[1]):
        spans[slot, column] = 0
    counters[NEXT_ID] += 1
    counters[N_ROWS] += 1
    rows.state[slot] = HELD | CHANGED
    rows.places[slot] = -1
    _chain(rows, slot)
    put_due(rows, slot, due_ms)
    return slot


@helper(_nrt=False)
def free_row(rows: RowArrays, slot: int) -> None:
    """Remove a row that is held."""
    links, spans, counters = rows.links, rows.spans, rows.counters
    _unchain(rows, slot)
    if rows.places[slot] >= 0:
        _take_out(rows, int(rows.places[slot]))
    if rows.state[slot] & SAVED:
        rows.gone[counters[N_GONE]] = rows.fixed[slot, ID]
        counters[N_GONE] += 1
    for column in range(1, spans.shape[1], 2):
        counters[BYTES_LIVE] -= max(spans[slot, column], 0)
    rows.state[slot] = 0
    links[slot, NEXT] = counters[FREE]
    counters[FREE] = slot
    counters[N_ROWS] -= 1


@helper(_nrt=False)
def note_change(rows: RowArrays, slot: int) -> None:
    """Its words or its due time are not those that were saved."""
    rows.state[slot] |= CHANGED


@helper(_nrt=False)
def _touch_keys(rows: RowArrays, hashes: NDArray[np.int64]) -> None:
    """Read where the keys stand in the table. This decides on nothing, so that the misses overlap;
    what comes after would wait for each in turn."""
    table = rows.table
    mask = len(table) - 1
    total = 0
    for i in range(len(hashes)):
        total += table[hashes[i, 0] & _TAG_MASK & mask]
    rows.counters[TOUCHED] = total


@helper(_nrt=False)
def _touch_rows(rows: RowArrays, slots: NDArray[np.int64]) -> None:
    """Read the rows, then where their keys stand in the table, as above."""
    fixed, table, links, spans, state = rows.fixed, rows.table, rows.links, rows.spans, rows.state
    mask = len(table) - 1
    total = np.int64(0)
    for i in range(len(slots)):
        total += fixed[slots[i], LOW] + links[slots[i], NEXT] + state[slots[i]]
        for column in range(0, spans.shape[1], 8):
            total += spans[slots[i], column]
    for i in range(len(slots)):
        total += table[fixed[slots[i], LOW] & _TAG_MASK & mask]
    rows.counters[TOUCHED] = total


@kernel(types.int64[::1](ROWS_TYPE, _MATRIX, _FLAT, _MATRIX, _MATRIX))
def add(
    rows: RowArrays,
    hashes: NDArray[np.int64],
    due_ms: NDArray[np.int64],
    order: NDArray[np.int64],
    words: NDArray[np.int64],
) -> NDArray[np.int64]:
    """See `KeyedRows.add`; without the parts."""
    slots = np.empty(len(hashes), np.int64)
    _touch_keys(rows, hashes)
    for i in range(len(hashes)):
        slot = add_row(rows, hashes[i, 1], hashes[i, 0], due_ms[i], order, i)
        for column in range(words.shape[1]):
            rows.words[slot, column] = words[i, column]
        slots[i] = slot
    return slots


@kernel(types.int64[::1](ROWS_TYPE, types.int64))
def due(rows: RowArrays, before_ms: int) -> NDArray[np.int64]:
    """See `KeyedRows.due`."""
    slots = np.empty(rows.counters[N_DUE], np.int64)
    count = 0
    slot = pop_due(rows, before_ms)
    while slot >= 0:
        slots[count] = slot
        count += 1
        slot = pop_due(rows, before_ms)
    return slots[:count].copy()


@kernel(types.int64(ROWS_TYPE, types.int64))
def drop_due(rows: RowArrays, before_ms: int) -> int:
    """Remove the rows that are due before that time; returns how many they were."""
    count = 0
    slot = pop_due(rows, before_ms)
    while slot >= 0:
        free_row(rows, slot)
        count += 1
        slot = pop_due(rows, before_ms)
    return count


@kernel(types.void(ROWS_TYPE, _FLAT, _FLAT))
def set_due(rows: RowArrays, slots: NDArray[np.int64], due_ms: NDArray[np.int64]) -> None:
    """See `KeyedRows.set_due`."""
    for i in range(len(slots)):
        put_due(rows, slots[i], due_ms[i])
        note_change(rows, slots[i])


@kernel(types.int64(ROWS_TYPE, _FLAT))
def remove(rows: RowArrays, slots: NDArray[np.int64]) -> int:
    """Remove those of the rows that are held; returns how many they were."""
    state = rows.state
    for i in range(len(slots)):
        if not 0 <= slots[i] < len(state):
            return 0
    _touch_rows(rows, slots)
    count = 0
    for i in range(len(slots)):
        if state[slots[i]]:
            free_row(rows, slots[i])
            count += 1
    return count


@kernel(types.int64(ROWS_TYPE, _MATRIX))
def remove_keys(rows: RowArrays, hashes: NDArray[np.int64]) -> int:
    """Remove all rows of these keys; returns how many they were."""
    count = 0
    for i in range(len(hashes)):
        slot = first_of(rows, hashes[i, 1], hashes[i, 0])
        while slot >= 0:
            following = next_of(rows, slot)
            free_row(rows, slot)
            count += 1
            slot = following
    return count


@kernel(types.int64[::1](ROWS_TYPE, _MATRIX))
def first(rows: RowArrays, hashes: NDArray[np.int64]) -> NDArray[np.int64]:
    """See `KeyedRows.first`."""
    slots = np.empty(len(hashes), np.int64)
    _touch_keys(rows, hashes)
    for i in range(len(hashes)):
        slots[i] = first_of(rows, hashes[i, 1], hashes[i, 0])
    return slots


@kernel(_TWO_FLAT(ROWS_TYPE, _MATRIX))
def chains(
    rows: RowArrays, hashes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Bounds (n + 1,) and slots of the rows of each key, in the order of insertion."""
    bounds = np.zeros(len(hashes) + 1, np.int64)
    firsts = np.empty(len(hashes), np.int64)
    for i in range(len(hashes)):
        firsts[i] = first_of(rows, hashes[i, 1], hashes[i, 0])
        bounds[i + 1] = bounds[i] + (count_of(rows, firsts[i]) if firsts[i] >= 0 else 0)
    slots = np.empty(bounds[-1], np.int64)
    for i in range(len(hashes)):
        slot = firsts[i]
        for at in range(bounds[i], bounds[i + 1]):
            slots[at] = slot
            slot = next_of(rows, slot)
    return bounds, slots


# Bytes of parts.


@kernel(types.void(ROWS_TYPE, types.int64, _FLAT, _BYTES, _FLAT, _FLAT))
def put_part(
    rows: RowArrays,
    part: int,
    slots: NDArray[np.int64],
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
) -> None:
    """Write a part of some rows; a length of NULL is kept as it is."""
    spans, arena, counters = rows.spans, rows.arena, rows.counters
    for i in range(len(slots)):
        slot, length = slots[i], lengths[i]
        used = counters[BYTES_USED]
        counters[BYTES_LIVE] += max(length, 0) - max(spans[slot, 2 * part + 1], 0)
        spans[slot, 2 * part] = used
        spans[slot, 2 * part + 1] = length
        for at in range(length):
            arena[used + at] = data[starts[i] + at]
        counters[BYTES_USED] = used + max(length, 0)


@kernel(_SPANS(ROWS_TYPE, types.int64, _FLAT))
def gather(
    rows: RowArrays, part: int, slots: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Data, starts and lengths of a part of some rows, in a buffer of their own."""
    spans, arena = rows.spans, rows.arena
    starts, lengths = np.empty(len(slots), np.int64), np.empty(len(slots), np.int64)
    total = 0
    for i in range(len(slots)):
        starts[i] = total
        lengths[i] = spans[slots[i], 2 * part + 1]
        total += max(lengths[i], 0)
    data = np.empty(total, np.uint8)
    for i in range(len(slots)):
        start = spans[slots[i], 2 * part]
        for at in range(lengths[i]):
            data[starts[i] + at] = arena[start + at]
    return data, starts, lengths


@kernel(types.void(ROWS_TYPE, _BYTES))
def move_parts(rows: RowArrays, arena: NDArray[np.uint8]) -> None:
    """Copy what is live of the bytes to another arena."""
    spans, state = rows.spans, rows.state
    used = 0
    for slot in range(rows.counters[FRESH]):
        if state[slot] == 0:
            continue
        for column in range(0, spans.shape[1], 2):
            start, length = spans[slot, column], spans[slot, column + 1]
            for at in range(length):
                arena[used + at] = rows.arena[start + at]
            spans[slot, column] = used
            used += max(length, 0)
    rows.counters[BYTES_USED] = used


# Anew in another size, or from what was saved.


@kernel(types.void(_FLAT, _FLAT, _FLAT))
def move_table(
    old: NDArray[np.int64], table: NDArray[np.int64], new_slots: NDArray[np.int64]
) -> None:
    """Fill an empty table with the keys of another. `new_slots` (c,) says which slot each old one
    has become; empty: the slots are the same."""
    mask = len(table) - 1
    for place in range(len(old)):
        if old[place] < 0:
            continue
        tag, slot = old[place] >> _SLOT_BITS, old[place] & _SLOT_MASK
        if len(new_slots):
            slot = new_slots[slot]
        at = tag & mask
        while table[at] >= 0:
            at = (at + 1) & mask
        table[at] = tag << _SLOT_BITS | slot


@kernel(types.void(ROWS_TYPE, types.int64))
def index(rows: RowArrays, count: int) -> None:
    """Chain the rows in the first slots, in the order of their slots, and let them be due."""
    for slot in range(count):
        rows.places[slot] = -1
        _chain(rows, slot)
        put_due(rows, slot, rows.fixed[slot, DUE_MS])
