"""The compiled loop behind `models.users.state`: one pass over a batch, state in place."""

import numpy as np
from numpy.typing import NDArray

from streamrec.compiling import helper, kernel
from streamrec.models.users.watermarks import (
    CANDIDATES_MAX,
    DUE_MS,
    FOUNDED,
    LIMIT_MS,
    WATERMARK_MS,
    weigh,
)

# Rows of the click matrix, int64: what the kernel needs to know of each click.
HASH_HIGH, HASH_LOW, ITEM, SESSION, TIME_MS, PRICE_CENTS, EVENT_TYPE, PARTITION = range(8)
CLICK_ROWS = 8
NO_PRICE = -1
NO_SESSION = 0

# Columns of `words`, int64, one row a user. The last items follow, then their times.
HIGH, LOW, NEWEST_MS, SESSION_ID, SESSION_KEY, SESSION_START_MS = range(6)
SESSION_CLICKS, SESSION_DISTINCT, SESSION_CENTS, LAST_PARTITION, IN_USE = range(6, 11)
FIRST_ITEM = 11

ACCEPTED, TOO_LATE = 0, 1

BLOCK = 64  # clicks taken in at a time: what they touch stays in the first-level cache
_ANEW_ROOM = 64  # users that begin anew in a block; it ends where there might be more

# Of `counters`. SWEEP_DUE: some watermark has passed its DUE_MS. The last keeps the compiler from
# leaving out reads made for the cache alone.
FREE_SLOTS, NEW_USERS, SWEEP_DUE, TOUCHED = range(4)
SESSION_GAP_MS, LONGEST_MS, KEPT_ITEMS, IDLE_MS = range(4)  # of `options`

BEGUN_ANEW = 0  # as a user's newest time: nothing of it counts, its next click is its first
HELD, UNSAVED_ANEW = 1, 2  # in IN_USE; 2: it has begun anew since it was saved


# Rows of `cells`, int32: the running sums, one for each count, then the buckets of all windows as
# uint16, two in a cell. A bucket counts no further than BUCKET_MAX.
BUCKET_MAX = 65_535

# A place of the hash table, int64: 31 bits of the user's hash, then the slot; -1 when empty. With
# those bits a place says whose it is without a look at the user's row, which may be far away.
_SLOT_BITS = 32
_SLOT_MASK = (1 << _SLOT_BITS) - 1


@helper(inline="always")
def _entry(low: int, slot: int | np.int64) -> np.int64:
    tag = np.uint64(low) >> np.uint64(33)
    return np.int64(tag << np.uint64(_SLOT_BITS)) | np.int64(slot)


@kernel("int64(int64[::1], int64[:, ::1], int64, int64)")
def find(table: NDArray[np.int64], words: NDArray[np.int64], high: int, low: int) -> int:
    """Slot of the user with this hash; -1 when there is none."""
    mask = len(table) - 1
    place = low & mask
    while table[place] >= 0:
        slot = table[place] & _SLOT_MASK
        if words[slot, LOW] == low and words[slot, HIGH] == high:
            return int(slot)
        place = (place + 1) & mask
    return -1


@kernel("int64(int64[::1], int64[:, ::1], int32[::1])")
def build_table(table: NDArray[np.int64], words: NDArray[np.int64], free: NDArray[np.int32]) -> int:
    """Index the users in use (`table` all -1), list the free slots; returns how many are free."""
    mask = len(table) - 1
    n_free = 0
    for slot in range(len(words) - 1, -1, -1):
        if words[slot, IN_USE] == 0:
            free[n_free] = slot
            n_free += 1
            continue
        place = words[slot, LOW] & mask
        while table[place] >= 0:
            place = (place + 1) & mask
        table[place] = _entry(words[slot, LOW], slot)
    return n_free


@kernel("int64[::1](int64[:, ::1], int64[:, ::1], int64, int64)")
def idle_slots(
    words: NDArray[np.int64], marks: NDArray[np.int64], idle_ms: int, step_ms: int
) -> NDArray[np.int64]:
    """Slots of users idle for longer than `idle_ms` before the watermark of their partition, where
    it is founded: else it may go back. Not those that have begun anew since they were saved.
    They are due again when one has moved by `step_ms`."""
    for partition in range(len(marks)):
        if marks[partition, FOUNDED] == 1:
            marks[partition, DUE_MS] = marks[partition, WATERMARK_MS] + step_ms
    found = np.empty(len(words), np.int64)
    count = 0
    for slot in range(len(words)):
        partition = words[slot, LAST_PARTITION]
        if (
            words[slot, IN_USE] == HELD
            and words[slot, NEWEST_MS] < marks[partition, WATERMARK_MS] - idle_ms
            and marks[partition, FOUNDED] == 1
        ):
            found[count] = slot
            count += 1
    return found[:count].copy()


@helper(inline="always")
def _mix(a: int, b: int) -> np.int64:
    """A 64-bit hash of two words (the finaliser of splitmix64)."""
    x = np.uint64(a) ^ (np.uint64(b) * np.uint64(0x9E3779B97F4A7C15))
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int64(x ^ (x >> np.uint64(31)))


@helper(inline="always")
def _floor_divide(value: int | np.int64, divisor: int, inverse: float) -> np.int64:
    """value // divisor by a multiplication: a 64-bit division costs ten times as much.

    `inverse` is 1 / divisor as float64. Exact for 0 <= value < 2**53: the product is off by at most
    one, which the two comparisons mend.
    """
    quotient = np.int64(value * inverse)
    if quotient * divisor > value:
        quotient -= 1
    elif (quotient + 1) * divisor <= value:
        quotient += 1
    return quotient


@helper
def _place(
    clicks: NDArray[np.int64],
    rows: NDArray[np.int64],
    first: int,
    last: int,
    words: NDArray[np.int64],
    table: NDArray[np.int64],
    free: NDArray[np.int32],
    counters: NDArray[np.int64],
    marks: NDArray[np.int64],
    options: NDArray[np.int64],
    status: NDArray[np.int8],
    new_users: NDArray[np.int64],
    placed: NDArray[np.int64],
    accepted: int,
    anew: NDArray[np.int64],
) -> tuple[int, int, int]:
    """Find or make the slot of each of some clicks that is not too late; returns `accepted` and
    how many those are, how many users begin anew, and where it has come to.

    Writes rows and slots of these clicks to `placed` (3, m); the third row says 1 for a new user.
    `anew` (k, 3) gets the users that begin anew: before which of `placed`, their slots, and the
    newest time that is refuted; before, it has room for the hashes and times of one click.
    """
    longest_ms, idle_ms = options[LONGEST_MS], options[IDLE_MS]
    n_anew = 0
    mask = len(table) - 1
    total = np.int64(0)
    for i in range(first, last):  # decides on nothing, so that the misses overlap; see _touch
        total += table[clicks[HASH_LOW, rows[i]] & mask]
    counters[TOUCHED] = total
    for i in range(first, last):
        row = rows[i]
        time_ms = clicks[TIME_MS, row]
        partition = clicks[PARTITION, row]
        high, low = clicks[HASH_HIGH, row], clicks[HASH_LOW, row]
        if time_ms > marks[partition, LIMIT_MS]:
            if n_anew + CANDIDATES_MAX + 1 > _ANEW_ROOM:
                last = i
                break
            refuted = anew[n_anew:]
            found = weigh(marks, partition, time_ms, high, low, longest_ms, idle_ms, refuted)
            if found < 0:
                status[row] = TOO_LATE
                continue
            for i_anew in range(n_anew, n_anew + found):
                slot = np.int64(find(table, words, anew[i_anew, 1], anew[i_anew, 2]))
                anew[i_anew, 2] = anew[i_anew, 0]
                anew[i_anew, 1] = slot
                anew[i_anew, 0] = accepted
            n_anew += found
        elif time_ms < marks[partition, WATERMARK_MS] - longest_ms:
            status[row] = TOO_LATE
            continue
        elif time_ms > marks[partition, WATERMARK_MS]:
            marks[partition, WATERMARK_MS] = time_ms
            marks[partition, LIMIT_MS] = time_ms + idle_ms
        if marks[partition, WATERMARK_MS] > marks[partition, DUE_MS]:
            counters[SWEEP_DUE] = 1
        status[row] = ACCEPTED
        at = low & mask
        tag = _entry(low, 0)
        slot = np.int64(-1)
        while table[at] >= 0:
            if table[at] & ~_SLOT_MASK == tag:
                candidate = table[at] & _SLOT_MASK
                if words[candidate, LOW] == low and words[candidate, HIGH] == high:
                    slot = candidate
                    break
            at = (at + 1) & mask
        placed[2, accepted] = 0
        if slot < 0:
            counters[FREE_SLOTS] -= 1
            slot = np.int64(free[counters[FREE_SLOTS]])
            table[at] = _entry(low, slot)
            new_users[0, counters[NEW_USERS]] = slot
            new_users[1, counters[NEW_USERS]] = row
            counters[NEW_USERS] += 1
            words[slot, HIGH] = high
            words[slot, LOW] = low
            words[slot, IN_USE] = HELD
            words[slot, NEWEST_MS] = time_ms
            placed[2, accepted] = 1
        placed[0, accepted] = row
        placed[1, accepted] = slot
        accepted += 1
    return accepted, n_anew, last


@helper
def _touch(
    placed: NDArray[np.int64],
    first: int,
    last: int,
    words: NDArray[np.int64],
    cells: NDArray[np.int32],
    kept: int,
) -> np.int64:
    """Read every cache line that `_update` will need, so that the misses overlap.

    The rows of a batch lie anywhere in memory. `_update` waits for each miss in turn, since it
    decides on what it reads; this loop decides on nothing, so the processor has a dozen misses
    under way at once: at 100,000 users it halves the time of a batch.
    """
    total = np.int64(0)
    for i in range(first, last):
        slot = placed[1, i]
        for column in range(0, FIRST_ITEM + kept, 8):
            total += words[slot, column]
        for column in range(0, cells.shape[1], 16):
            total += cells[slot, column]
    return total


@helper
def _begin_anew(
    words: NDArray[np.int64],
    cells: NDArray[np.int32],
    dirty: NDArray[np.bool_],
    slot: int,
    refuted_ms: int,
) -> None:
    """Forget a user's clicks, unless they have come to a newer one by another partition."""
    if slot >= 0 and words[slot, NEWEST_MS] == refuted_ms:
        dirty[slot] = True
        cells[slot] = 0
        words[slot, IN_USE] = UNSAVED_ANEW
        for column in range(words.shape[1]):
            if column != HIGH and column != LOW and column != IN_USE and column != LAST_PARTITION:
                words[slot, column] = 0


@helper(error_model="numpy")
def _update(
    clicks: NDArray[np.int64],
    placed: NDArray[np.int64],
    first: int,
    last: int,
    total: int,
    words: NDArray[np.int64],
    cells: NDArray[np.int32],
    dirty: NDArray[np.bool_],
    windows: NDArray[np.int64],
    inverses: NDArray[np.float64],
    masks: NDArray[np.int64],
    measures: NDArray[np.int64],
    ratios: NDArray[np.int64],
    options: NDArray[np.int64],
    history_items: int,
    features: NDArray[np.float32],
    after: NDArray[np.int64],
    bounds: NDArray[np.int64],
    history: NDArray[np.int64],
    anew: NDArray[np.int64],
    n_anew: int,
) -> int:
    """Take in placed clicks one by one, after the users have begun anew that do so before them.

    Arrays are indexed whole, not through views of a row: a view costs two atomic counts.
    """
    next_anew = 0
    session_gap_ms, longest_ms = options[SESSION_GAP_MS], options[LONGEST_MS]
    kept = options[KEPT_ITEMS]
    n_counts, n_measures = len(masks), len(measures)
    buckets_of = cells.view(np.uint16)
    first_bucket = 2 * n_counts
    for j in range(first, last):
        while next_anew < n_anew and anew[next_anew, 0] == j:
            _begin_anew(words, cells, dirty, anew[next_anew, 1], anew[next_anew, 2])
            next_anew += 1
        row, slot, is_new = placed[0, j], placed[1, j], placed[2, j] == 1
        time_ms = clicks[TIME_MS, row]
        dirty[slot] = True
        newest_before = words[slot, NEWEST_MS]
        if newest_before == BEGUN_ANEW:
            is_new = True
            newest_before = time_ms
        newest = max(newest_before, time_ms)

        # Windows: advance to the newest time, then count the event in its own bucket.
        event_bit = np.int64(1) << clicks[EVENT_TYPE, row]
        for w in range(len(windows)):
            width, buckets = windows[w, 0], windows[w, 1]
            first_count, counts = windows[w, 2], windows[w, 3]
            first_cell = first_bucket + windows[w, 4]
            bucket = _floor_divide(time_ms, width, inverses[w, 0])
            newest_bucket = bucket
            if newest > newest_before:
                old = _floor_divide(newest_before, width, inverses[w, 0])
                if bucket - old >= buckets:
                    for i in range(first_cell, first_cell + buckets * counts):
                        buckets_of[slot, i] = 0
                    for i in range(first_count, first_count + counts):
                        cells[slot, i] = 0
                elif bucket > old:
                    at = old - buckets * _floor_divide(old, buckets, inverses[w, 1])
                    for _ in range(bucket - old):
                        at = at + 1 if at + 1 < buckets else 0
                        for i in range(counts):
                            expired = buckets_of[slot, first_cell + at * counts + i]
                            if expired != 0:
                                cells[slot, first_count + i] -= np.int32(expired)
                                buckets_of[slot, first_cell + at * counts + i] = 0
            elif newest > time_ms:
                newest_bucket = _floor_divide(newest, width, inverses[w, 0])
            if bucket > newest_bucket - buckets:
                at = bucket - buckets * _floor_divide(bucket, buckets, inverses[w, 1])
                for i in range(counts):
                    cell = first_cell + at * counts + i
                    if masks[first_count + i] & event_bit and buckets_of[slot, cell] < BUCKET_MAX:
                        buckets_of[slot, cell] += np.uint16(1)
                        cells[slot, first_count + i] += 1

        # Session: the site's own id tells it; without one, the gap of the user does. After a
        # silence that lets a user be dropped, a new one starts even under the same id.
        session_id = clicks[SESSION, row]
        gap_ms = session_gap_ms
        if session_id != NO_SESSION:
            gap_ms = max(session_gap_ms, longest_ms)
        starts = is_new or session_id != words[slot, SESSION_ID] or time_ms - newest_before > gap_ms
        if starts:
            words[slot, SESSION_ID] = session_id
            words[slot, SESSION_KEY] = _mix(
                words[slot, HIGH] ^ words[slot, LOW],
                session_id if session_id != NO_SESSION else time_ms,
            )
            words[slot, SESSION_START_MS] = time_ms
            words[slot, SESSION_CLICKS] = 0
            words[slot, SESSION_DISTINCT] = 0
            words[slot, SESSION_CENTS] = 0
        words[slot, NEWEST_MS] = newest
        words[slot, LAST_PARTITION] = clicks[PARTITION, row]
        clicks_before = words[slot, SESSION_CLICKS]
        item = clicks[ITEM, row]
        seen = False
        for i in range(FIRST_ITEM, FIRST_ITEM + min(clicks_before, kept)):
            if words[slot, i] == item:
                seen = True
                break
        if not seen:
            words[slot, SESSION_DISTINCT] += 1
        if clicks[PRICE_CENTS, row] != NO_PRICE:
            words[slot, SESSION_CENTS] += clicks[PRICE_CENTS, row]
        at = clicks_before % kept
        words[slot, FIRST_ITEM + at] = item
        words[slot, FIRST_ITEM + kept + at] = time_ms
        words[slot, SESSION_CLICKS] = clicks_before + 1

        # Features: counts, then measures, then ratios of these.
        for i in range(n_counts):
            features[row, i] = cells[slot, i]
        for i in range(n_measures):
            measure = measures[i]
            if measure == 0:
                value = np.float64(words[slot, SESSION_CLICKS])
            elif measure == 1:
                value = np.float64(words[slot, SESSION_DISTINCT])
            elif measure == 2:
                value = max(newest - words[slot, SESSION_START_MS], 0) / 1000.0
            elif measure == 3:
                value = np.float64(words[slot, SESSION_CENTS])
            elif measure == 4:
                since_ms = longest_ms if is_new else max(time_ms - newest_before, 0)
                value = min(since_ms, longest_ms) / 1000.0
            else:
                value = np.float64(clicks[PRICE_CENTS, row])
            features[row, n_counts + i] = value
        for i in range(len(ratios)):
            divisor = features[row, ratios[i, 1]]
            quotient = features[row, ratios[i, 0]] / divisor if divisor != 0 else np.float32(0)
            features[row, n_counts + n_measures + i] = quotient

        if history_items > 0:
            count = clicks_before + 1
            held = min(count, history_items)
            for i in range(held):
                at = (count - held + i) % kept
                history[0, total + i] = words[slot, FIRST_ITEM + at]
                history[1, total + i] = words[slot, FIRST_ITEM + kept + at]
            total += held
            bounds[j + 1] = total
            after[0, j] = words[slot, SESSION_KEY]
            after[1, j] = count
    return total


_SIGNATURE = (
    "int64(int64[:, ::1], int64[::1], int64[:, ::1], int32[:, ::1], boolean[::1], int64[::1],"
    " int32[::1], int64[::1], int64[:, ::1], int64[:, ::1], float64[:, ::1], int64[::1],"
    " int64[::1], int64[:, ::1], int64[::1], int64, float32[:, ::1], int8[::1], int64[:, ::1],"
    " int64[::1], int64[:, ::1])"
)


@kernel(_SIGNATURE)
def take_in(
    clicks: NDArray[np.int64],
    rows: NDArray[np.int64],
    words: NDArray[np.int64],
    cells: NDArray[np.int32],
    dirty: NDArray[np.bool_],
    table: NDArray[np.int64],
    free: NDArray[np.int32],
    counters: NDArray[np.int64],
    marks: NDArray[np.int64],
    windows: NDArray[np.int64],
    inverses: NDArray[np.float64],
    masks: NDArray[np.int64],
    measures: NDArray[np.int64],
    ratios: NDArray[np.int64],
    options: NDArray[np.int64],
    history_items: int,
    features: NDArray[np.float32],
    status: NDArray[np.int8],
    scratch: NDArray[np.int64],
    bounds: NDArray[np.int64],
    history: NDArray[np.int64],
) -> int:
    """Take in the clicks of one shard; returns how many were accepted. See `UserState.update`.

    One kernel for all three passes, since a call costs about 0.1 us for each array.
    """
    counters[NEW_USERS] = 0
    accepted = 0
    total = 0
    anew = np.empty((_ANEW_ROOM, 3), np.int64)
    first = 0
    while first < len(rows):
        start = accepted
        accepted, n_anew, first = _place(
            clicks,
            rows,
            first,
            min(first + BLOCK, len(rows)),
            words,
            table,
            free,
            counters,
            marks,
            options,
            status,
            scratch[3:5],
            scratch,
            accepted,
            anew,
        )
        counters[TOUCHED] = _touch(scratch, start, accepted, words, cells, options[KEPT_ITEMS])
        total = _update(
            clicks,
            scratch,
            start,
            accepted,
            total,
            words,
            cells,
            dirty,
            windows,
            inverses,
            masks,
            measures,
            ratios,
            options,
            history_items,
            features,
            scratch[5:7],
            bounds,
            history,
            anew,
            n_anew,
        )
    return accepted


@kernel(
    "UniTuple(int64, 2)(int64[:, ::1], uint16[:, :], int64[::1], int64, int64, int64[:, ::1])",
)
def measure_users(
    words: NDArray[np.int64],
    buckets_of: NDArray[np.uint16],
    slots: NDArray[np.int64],
    kept: int,
    n_buckets: int,
    bounds: NDArray[np.int64],
) -> tuple[int, int]:
    """Where the full buckets and the kept items of each user end: fills `bounds` (2, m + 1)."""
    bounds[0, 0] = 0
    bounds[1, 0] = 0
    for i in range(len(slots)):
        full = 0
        for place in range(n_buckets):
            full += buckets_of[slots[i], place] != 0
        bounds[0, i + 1] = bounds[0, i] + full
        bounds[1, i + 1] = bounds[1, i] + min(words[slots[i], SESSION_CLICKS], kept)
    return bounds[0, len(slots)], bounds[1, len(slots)]


@kernel(
    "void(int64[:, ::1], uint16[:, :], int64[::1], int64, int64, int64[:, ::1], uint16[::1],"
    " int32[::1], int64[:, ::1])",
)
def pack_users(
    words: NDArray[np.int64],
    buckets_of: NDArray[np.uint16],
    slots: NDArray[np.int64],
    kept: int,
    n_buckets: int,
    bounds: NDArray[np.int64],
    places: NDArray[np.uint16],
    counts: NDArray[np.int32],
    items: NDArray[np.int64],
) -> None:
    """Write the full buckets (place, count) and kept items (item, time), oldest first."""
    for i in range(len(slots)):
        slot = slots[i]
        at = bounds[0, i]
        for place in range(n_buckets):
            if buckets_of[slot, place] != 0:
                places[at] = place
                counts[at] = buckets_of[slot, place]
                at += 1
        clicks = words[slot, SESSION_CLICKS]
        held = min(clicks, kept)
        for j in range(held):
            from_column = (clicks - held + j) % kept
            items[0, bounds[1, i] + j] = words[slot, FIRST_ITEM + from_column]
            items[1, bounds[1, i] + j] = words[slot, FIRST_ITEM + kept + from_column]


@kernel(
    "void(int64[:, ::1], int32[:, ::1], uint16[:, :], int64[:, ::1], int64[:, :, ::1],"
    " uint16[::1], int32[::1], int64[:, ::1], int64[:, ::1], int64)",
)
def unpack_users(
    words: NDArray[np.int64],
    cells: NDArray[np.int32],
    buckets_of: NDArray[np.uint16],
    fixed: NDArray[np.int64],
    bounds: NDArray[np.int64],
    places: NDArray[np.uint16],
    counts: NDArray[np.int32],
    items: NDArray[np.int64],
    windows: NDArray[np.int64],
    kept: int,
) -> None:
    """The inverse of `pack_users` into the first rows of zeroed arrays; sums are added up anew.

    `bounds` is (2, 2, m): starts and ends, of cells and of items.
    """
    for i in range(len(fixed)):
        for column in range(FIRST_ITEM):
            words[i, column] = fixed[i, column]
        for at in range(bounds[0, 0, i], bounds[1, 0, i]):
            buckets_of[i, places[at]] = counts[at]
            for w in range(len(windows)):
                inside = places[at] - windows[w, 4]
                if 0 <= inside < windows[w, 1] * windows[w, 3]:
                    cells[i, windows[w, 2] + inside % windows[w, 3]] += counts[at]
        clicks = fixed[i, SESSION_CLICKS]
        first = bounds[0, 1, i]
        held = bounds[1, 1, i] - first
        for j in range(held):
            to_column = (clicks - held + j) % kept
            words[i, FIRST_ITEM + to_column] = items[0, first + j]
            words[i, FIRST_ITEM + kept + to_column] = items[1, first + j]
