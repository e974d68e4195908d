"""The state of users in one shard: windows, session and last items, in arrays behind a hash table.

Users are rows of two arrays, so that a batch is one call of a compiled kernel and a user's state is
one stretch of memory. A row is found by the 128-bit hash of the user id; two ids that share all 128
bits would share a row (at 10^9 users the chance is about 10^-21).

Watermarks, one a source partition, are `models.users.watermarks`: one wrong clock moves none.

A user whose newest event is older than `idle_ms` before the watermark of its partition is dropped:
by then no window and no session could still hold anything of it, for any event that is not too
late. Dropping therefore changes no feature, whenever it happens, and who is dropped need not be
dropped from what was saved: it may come back from there. Not so a user that has begun anew, whose
saved row still holds what was refuted: it stays until it is saved.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from streamrec.models.users import kernels, watermarks
from streamrec.models.users.features import FeatureSet
from streamrec.schemas.columns import Bytes

_GROWTH = 1.5
_FIRST_CAPACITY = 256
_SWEEPS_PER_HORIZON = 8
_LINE_BYTES = 64  # of the processor's caches


@dataclass(frozen=True, slots=True)
class SessionsAfter:
    """The sessions of accepted clicks, each as it stands right after its click; m clicks."""

    rows: NDArray[np.int64]  # (m,) row of the click in its batch
    keys: NDArray[np.int64]  # (m,) which session
    items: NDArray[np.int64]  # (total,) item keys, oldest first
    times_ms: NDArray[np.int64]  # (total,)
    bounds: NDArray[np.int64]  # (m + 1,)
    positions: NDArray[np.int32]  # (m,) clicks in the session so far


@dataclass(frozen=True, slots=True)
class UserTable:
    """m users as they are saved: what is zero is left out, and sums are not kept."""

    user_ids: list[bytes]
    fixed: NDArray[np.int64]  # (m, FIRST_ITEM) as models.users.kernels names the columns
    bounds: NDArray[np.int64]  # (2, m + 1) of each user's cells and items below
    cell_places: NDArray[np.uint16]  # (cells,)
    cell_counts: NDArray[np.int32]  # (cells,)
    items: NDArray[np.int64]  # (2, items): item key and event time, oldest first

    def __len__(self) -> int:
        return len(self.user_ids)


class UserState:
    """Users of one shard. Not safe for use by several threads at once."""

    def __init__(
        self, features: FeatureSet, session_gap_ms: int = 30 * 60_000, kept_items: int = 32
    ) -> None:
        self.features = features
        self.session_gap_ms = session_gap_ms
        self.kept_items = kept_items
        self.idle_ms = features.longest_ms + max(features.longest_ms, session_gap_ms)
        self.words = _aligned(_FIRST_CAPACITY, kernels.FIRST_ITEM + 2 * kept_items, np.int64)
        self._n_buckets = features.cells - len(features.masks)
        width = len(features.masks) + (self._n_buckets + 1) // 2
        self.cells = _aligned(_FIRST_CAPACITY, width, np.int32)  # see models.users.kernels
        self.dirty = np.zeros(_FIRST_CAPACITY, np.bool_)
        self.user_ids: list[bytes] = [b""] * _FIRST_CAPACITY
        self._marks = watermarks.no_marks(0)  # one row a source partition
        self._table = np.full(_table_size(_FIRST_CAPACITY), -1, np.int64)
        self._free = np.arange(_FIRST_CAPACITY - 1, -1, -1, dtype=np.int32)
        self._counters = np.array([_FIRST_CAPACITY, 0, 0, 0], np.int64)  # see models.users.kernels
        options = [session_gap_ms, features.longest_ms, kept_items, self.idle_ms]
        self._options = np.array(options, np.int64)
        self._swept_ms = 0
        self._unswept = 0  # clicks since the last sweep
        self._is_saved = False  # what is dropped may come back

    def __len__(self) -> int:
        """Users held."""
        return len(self.words) - int(self._counters[kernels.FREE_SLOTS])

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays; the ids as Python objects come on top."""
        return self.words.nbytes + self.cells.nbytes + self._table.nbytes + self._free.nbytes

    @property
    def watermarks_ms(self) -> NDArray[np.int64]:
        """(partitions,) of each source partition; 0 where nothing was seen of it."""
        return self._marks[:, watermarks.WATERMARK_MS]

    @property
    def doubts(self) -> dict[str, list[int]]:
        """What is being weighed beside the watermarks, to be saved with them."""
        return watermarks.doubts_of(self._marks)

    def update(
        self,
        clicks: NDArray[np.int64],
        rows: NDArray[np.int64],
        user_ids: Bytes,
        features: NDArray[np.float32],
        status: NDArray[np.int8],
        partitions: int,
        with_sessions: bool = True,
    ) -> SessionsAfter | None:
        """Take in the clicks of this shard, in order.

        `clicks` is (CLICK_ROWS, n), with partitions below `partitions`; `rows` (m,) says which of
        its columns are this shard's. Writes, for these rows only, `status` (n,) (ACCEPTED or
        TOO_LATE) and `features` (n, len(FeatureSet)).
        Too late clicks change nothing. Returns the sessions of accepted clicks if asked for.
        """
        m = len(rows)
        self._reserve(m)
        if partitions > len(self._marks):
            more = watermarks.no_marks(partitions - len(self._marks))
            self._marks = np.concatenate([self._marks, more])
        kept = self.kept_items if with_sessions else 0
        scratch = np.empty(
            (7, m), np.int64
        )  # rows, slots, is new, new slots, their rows, key, clicks
        bounds = np.zeros(m + 1, np.int64)
        history = np.empty((2, m * kept), np.int64)
        declared = self.features
        accepted = kernels.take_in(
            clicks,
            rows,
            self.words,
            self.cells,
            self.dirty,
            self._table,
            self._free,
            self._counters,
            self._marks,
            declared.windows,
            declared.inverses,
            declared.masks,
            declared.measures,
            declared.ratios,
            self._options,
            kept,
            features,
            status,
            scratch,
            bounds,
            history,
        )
        new_users = int(self._counters[kernels.NEW_USERS])
        if new_users:
            for slot, row in zip(*scratch[3:5, :new_users].tolist(), strict=True):
                self.user_ids[slot] = user_ids.bytes_at(row)
        self._unswept += m
        if self._counters[kernels.SWEEP_DUE]:
            self._sweep_when_due()
        if not with_sessions:
            return None
        total = int(bounds[accepted])
        return SessionsAfter(
            rows=scratch[0, :accepted],
            keys=scratch[5, :accepted],
            items=history[0, :total],
            times_ms=history[1, :total],
            bounds=bounds[: accepted + 1],
            positions=scratch[6, :accepted].astype(np.int32),
        )

    def find(self, high: int, low: int) -> int:
        """Slot of a user by its 128-bit hash; -1 when not held."""
        return int(kernels.find(self._table, self.words, high, low))

    def sweep(self) -> int:
        """Drop every user idle for longer than `idle_ms`; returns how many were dropped."""
        step_ms = self.idle_ms // _SWEEPS_PER_HORIZON
        if not self._is_saved:
            self._forget_who_began_anew()
        dropped = kernels.idle_slots(self.words, self._marks, self.idle_ms, step_ms)
        if len(dropped):
            self.words[dropped] = 0
            self.cells[dropped] = 0
            self.dirty[dropped] = False
            for slot in dropped.tolist():
                self.user_ids[slot] = b""
            held = np.flatnonzero(self.words[:, kernels.IN_USE])
            self._compact(held)
        return len(dropped)

    def changed(self) -> NDArray[np.int64]:
        """Slots written since `clear_changes`."""
        return np.flatnonzero(self.dirty)

    def clear_changes(self) -> None:
        """What was changed is saved."""
        self.dirty[:] = False
        self._forget_who_began_anew()
        self._is_saved = True

    def _forget_who_began_anew(self) -> None:
        in_use = self.words[:, kernels.IN_USE]
        np.minimum(in_use, 1, out=in_use)

    def held(self) -> NDArray[np.int64]:
        """Slots in use."""
        return np.flatnonzero(self.words[:, kernels.IN_USE])

    def export(self, slots: NDArray[np.int64]) -> UserTable:
        """The users in some slots, as they are saved."""
        buckets = self._buckets_of(self.cells)
        bounds = np.empty((2, len(slots) + 1), np.int64)
        n_cells, n_items = kernels.measure_users(
            self.words, buckets, slots, self.kept_items, self._n_buckets, bounds
        )
        places, counts = np.empty(n_cells, np.uint16), np.empty(n_cells, np.int32)
        items = np.empty((2, n_items), np.int64)
        kernels.pack_users(
            self.words,
            buckets,
            slots,
            self.kept_items,
            self._n_buckets,
            bounds,
            places,
            counts,
            items,
        )
        return UserTable(
            user_ids=[self.user_ids[slot] for slot in slots.tolist()],
            fixed=self.words[slots, : kernels.FIRST_ITEM],
            bounds=bounds,
            cell_places=places,
            cell_counts=counts,
            items=items,
        )

    def restore(
        self,
        tables: Sequence[UserTable],
        watermarks_ms: NDArray[np.int64],
        doubts: dict[str, list[int]],
    ) -> None:
        """Take over saved users in place of what is held; of a user saved twice, the later one."""
        fixed = np.concatenate(
            [table.fixed for table in tables] or [np.empty((0, kernels.FIRST_ITEM), np.int64)]
        )
        wanted = _last_of_each(fixed[:, [kernels.HIGH, kernels.LOW]])
        capacity = max(_FIRST_CAPACITY, int(wanted.sum()))
        self.words = _aligned(capacity, self.words.shape[1], np.int64)
        self.cells = _aligned(capacity, self.cells.shape[1], np.int32)
        self.user_ids = []
        self.dirty = np.zeros(capacity, np.bool_)
        start = 0
        for table in tables:
            chosen = wanted[start : start + len(table)]
            start += len(table)
            self._unpack(table, np.flatnonzero(chosen))
        self.user_ids += [b""] * (capacity - len(self.user_ids))
        self._marks = watermarks.marks_of(watermarks_ms, doubts, self.idle_ms)
        self._is_saved = True
        self._index()

    def _buckets_of(self, cells: NDArray[np.int32]) -> NDArray[np.uint16]:
        """(n, buckets of all windows): a view of the cells."""
        return cells.view(np.uint16)[:, 2 * len(self.features.masks) :]

    def _unpack(self, table: UserTable, rows: NDArray[np.int64]) -> None:
        held = len(self.user_ids)
        kernels.unpack_users(
            self.words[held:],
            self.cells[held:],
            self._buckets_of(self.cells)[held:],
            np.ascontiguousarray(table.fixed[rows]),
            np.ascontiguousarray(np.stack([table.bounds[:, rows], table.bounds[:, rows + 1]])),
            table.cell_places,
            table.cell_counts,
            table.items,
            self.features.windows,
            self.kept_items,
        )
        self.user_ids += [table.user_ids[row] for row in rows.tolist()]

    def _reserve(self, users: int) -> None:
        if int(self._counters[kernels.FREE_SLOTS]) >= users:
            return
        needed = len(self) + users
        self._resize(np.arange(len(self.words)), max(needed, int(len(self.words) * _GROWTH)))

    def _compact(self, held: NDArray[np.int64]) -> None:
        """Shrink when three quarters are empty, else only give the slots back."""
        if len(held) * 4 < len(self.words) and len(self.words) > _FIRST_CAPACITY:
            self._resize(held, max(_FIRST_CAPACITY, int(len(held) * _GROWTH)))
        else:
            self._index()

    def _resize(self, slots: NDArray[np.int64], capacity: int) -> None:
        words = _aligned(capacity, self.words.shape[1], np.int64)
        cells = _aligned(capacity, self.cells.shape[1], np.int32)
        dirty = np.zeros(capacity, np.bool_)
        for new, old in ((words, self.words), (cells, self.cells), (dirty, self.dirty)):
            new[: len(slots)] = old[slots] if len(slots) < len(old) else old
        self.words, self.cells, self.dirty = words, cells, dirty
        kept = [self.user_ids[slot] for slot in slots.tolist()]
        self.user_ids = kept + [b""] * (capacity - len(kept))
        self._index()

    def _index(self) -> None:
        self._table = np.full(_table_size(len(self.words)), -1, np.int64)
        self._free = np.empty(len(self.words), np.int32)
        self._counters[kernels.FREE_SLOTS] = kernels.build_table(
            self._table, self.words, self._free
        )

    def _sweep_when_due(self) -> None:
        """Some watermark has come an eighth of the horizon further since the last sweep.

        Read unevenly, as in a backlog, any partition may be the one that moves, and with many of
        them one is due at every batch: then a sweep waits until it costs less than the clicks did,
        with at most a third more users held than were active.
        """
        newest_ms = watermarks.newest_founded_ms(self._marks)
        step_ms = self.idle_ms // _SWEEPS_PER_HORIZON
        if newest_ms - self._swept_ms >= step_ms or 4 * self._unswept >= len(self):
            self._swept_ms = newest_ms
            self._unswept = 0
            self._counters[kernels.SWEEP_DUE] = 0
            self.sweep()


Number = TypeVar("Number", np.int64, np.int32)


def _aligned(rows: int, columns: int, dtype: type[Number]) -> NDArray[Number]:
    """Zeros whose rows begin at cache lines, with columns added for it: a row that begins within
    one is read as a line more."""
    per_line = _LINE_BYTES // np.dtype(dtype).itemsize
    columns = -(-columns // per_line) * per_line
    block = np.zeros(rows * columns + per_line, dtype)
    start = -block.ctypes.data % _LINE_BYTES // block.itemsize
    return block[start : start + rows * columns].reshape(rows, columns)


def _table_size(capacity: int) -> int:
    size = 1
    while size < 2 * capacity:
        size *= 2
    return size


def _last_of_each(hashes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n, 2) to (n,): whether no later row has the same two words."""
    order = np.lexsort((np.arange(len(hashes)), hashes[:, 0], hashes[:, 1]))
    ordered = hashes[order]
    last = np.ones(len(hashes), np.bool_)
    last[:-1] = (ordered[1:] != ordered[:-1]).any(axis=1)
    wanted = np.empty(len(hashes), np.bool_)
    wanted[order] = last
    return wanted
