"""Tables, lists and what was seen, by key, against slow references in plain Python."""

from typing import Protocol

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from streamrec.models.keyed.columns import Values
from streamrec.models.keyed.lists import KeyedLists
from streamrec.models.keyed.seen import Seen
from streamrec.models.keyed.table import KeyedTable

COLUMNS: dict[str, np.dtype[np.generic]] = {
    "score": np.dtype(np.float32),
    "item": np.dtype(np.int64),
    "is_new": np.dtype(np.bool_),
    "flags": np.dtype(np.uint64),
}
EXPIRE_MS = 50
KEYS = 25
Record = tuple[object, ...]


class Saving(Protocol):
    def changed(self, whole: bool) -> pa.Table: ...
    def restore(self, tables: list[pa.Table]) -> None: ...


def hashes_of(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of which half share the low word with another."""
    return np.stack([keys // 2, keys % 2], axis=1)


def some_values(rng: np.random.Generator, n: int) -> Values:
    return {
        "score": rng.normal(size=n).astype(np.float32),
        "item": rng.integers(-(2**63), 2**63 - 1, n),
        "is_new": rng.random(n) < 0.5,
        "flags": rng.integers(0, 2**64 - 1, n, np.uint64),
    }


def records_of(values: Values) -> list[Record]:
    return list(zip(*(values[name].tolist() for name in COLUMNS), strict=True))


class Snapshots:
    """Saves now and then what changed, or all; makes the shard anew from it, rolled back or not."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._tables: list[pa.Table] = []

    def save(self, shard: Saving) -> None:
        whole = not self._tables or self._rng.random() < 0.2
        self._tables = [shard.changed(True)] if whole else [*self._tables, shard.changed(False)]

    def into(self, shard: Saving) -> None:
        shard.restore(self._tables)


@pytest.mark.parametrize("seed", range(5))
def test_a_table_has_the_newest_record_of_each_key(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table, reference = KeyedTable(COLUMNS, EXPIRE_MS), dict[int, tuple[int, Record]]()
    snapshots = Snapshots(rng)
    snapshots.save(table)
    then = dict(reference)
    for now_ms in range(0, 1_000, 10):
        n = int(rng.integers(0, 30))
        keys, times_ms = rng.integers(0, KEYS, n), now_ms + rng.integers(-80, 20, n)
        values = some_values(rng, n)
        table.put(hashes_of(keys), values, times_ms)
        records = records_of(values)
        for key, time_ms, record in zip(keys.tolist(), times_ms.tolist(), records, strict=True):
            if key not in reference or time_ms >= reference[key][0]:
                reference[key] = (time_ms, record)
        if rng.random() < 0.3:
            removed = rng.integers(0, KEYS, 3)
            table.remove(hashes_of(removed))
            for key in removed.tolist():
                reference.pop(key, None)
        if rng.random() < 0.3:
            table.forget(now_ms)
            reference = {k: r for k, r in reference.items() if r[0] + EXPIRE_MS >= now_ms}
        if rng.random() < 0.3:
            snapshots.save(table)
            then = dict(reference)
        if rng.random() < 0.1:
            table, reference = KeyedTable(COLUMNS, EXPIRE_MS), dict(then)
            snapshots.into(table)

        asked = rng.permutation(KEYS)
        found, got = table.get(hashes_of(asked))
        assert [got[name].dtype for name in COLUMNS] == list(COLUMNS.values())
        assert found.tolist() == [key in reference for key in asked.tolist()]
        nothing = (0.0, 0, False, 0)
        wanted = [reference[k][1] if k in reference else nothing for k in asked.tolist()]
        assert records_of(got) == wanted
        asked_ms = now_ms + rng.integers(0, 60, KEYS)
        found = table.get(hashes_of(asked), asked_ms)[0]
        assert found.tolist() == [
            key in reference and reference[key][0] >= time_ms - EXPIRE_MS
            for key, time_ms in zip(asked.tolist(), asked_ms.tolist(), strict=True)
        ]
        assert len(table) == len(reference)


@pytest.mark.parametrize("longest", [1, 3, 40])
@pytest.mark.parametrize("expire_ms", [None, EXPIRE_MS])
def test_lists_have_the_last_records_of_each_key(longest: int, expire_ms: int | None) -> None:
    rng = np.random.default_rng(longest)
    lists = KeyedLists(COLUMNS, longest, expire_ms)
    reference: dict[int, list[tuple[int, Record]]] = {key: [] for key in range(KEYS)}
    snapshots = Snapshots(rng)
    snapshots.save(lists)
    then = dict(reference)
    for now_ms in range(0, 1_500, 10):
        n = int(rng.integers(0, 60))
        keys, times_ms = rng.integers(0, KEYS, n), now_ms + rng.integers(-80, 20, n)
        values = some_values(rng, n)
        lists.append(hashes_of(keys), values, times_ms)
        records = records_of(values)
        for key, time_ms, record in zip(keys.tolist(), times_ms.tolist(), records, strict=True):
            reference[key] = [*reference[key], (time_ms, record)][-longest:]
        if rng.random() < 0.2:
            removed = rng.integers(0, KEYS, 3)
            lists.remove(hashes_of(removed))
            reference |= {key: [] for key in removed.tolist()}
        if rng.random() < 0.3:
            lists.forget(now_ms)
            if expire_ms is not None:
                reference = {
                    key: [record for record in records if record[0] + expire_ms >= now_ms]
                    for key, records in reference.items()
                }
        if rng.random() < 0.3:
            snapshots.save(lists)
            then = dict(reference)
        if rng.random() < 0.1:
            lists, reference = KeyedLists(COLUMNS, longest, expire_ms), dict(then)
            snapshots.into(lists)

        asked = rng.permutation(KEYS + 3)  # three that never come
        bounds, got = lists.get(hashes_of(asked))
        everything = records_of(got)
        for i, key in enumerate(asked.tolist()):
            wanted = [record for _, record in reference.get(key, [])]
            assert everything[bounds[i] : bounds[i + 1]] == wanted
        assert len(lists) == sum(map(len, reference.values()))


@pytest.mark.parametrize("seed", range(5))
def test_seen_is_what_was_new_within_a_window_whatever_the_batches(seed: int) -> None:
    rng = np.random.default_rng(seed)
    window_ms = int(rng.choice([0, 5, 40]))
    seen, reference = Seen(window_ms), list[tuple[int, int]]()  # key and time of what was new
    snapshots = Snapshots(rng)
    snapshots.save(seen)
    then = list(reference)
    for now_ms in range(0, 1_000, 10):
        n = int(rng.choice([0, 1, 30]))
        keys, times_ms = rng.integers(0, KEYS, n), now_ms + rng.integers(-60, 20, n)
        wanted = []
        for key, time_ms in zip(keys.tolist(), times_ms.tolist(), strict=True):
            new = all(k != key or abs(t - time_ms) > window_ms for k, t in reference)
            if new:
                reference.append((key, time_ms))
            wanted.append(new)
        assert seen.first_seen(hashes_of(keys), times_ms).tolist() == wanted
        if rng.random() < 0.5:
            seen.forget(now_ms - 60)
            reference = [(k, t) for k, t in reference if t + window_ms >= now_ms - 60]
        assert len(seen) == len(reference)
        if rng.random() < 0.3:
            snapshots.save(seen)
            then = list(reference)
        if rng.random() < 0.1:
            seen, reference = Seen(window_ms), list(then)
            snapshots.into(seen)


def test_a_record_that_comes_twice_in_one_batch_is_new_once() -> None:
    seen = Seen(window_ms=10)
    keys = hashes_of(np.array([1, 2, 1, 1, 1]))
    times_ms = np.array([100, 100, 110, 111, 90])
    # 111 is beyond the window of 100 and begins its own; 90 is within that of 100.
    assert seen.first_seen(keys, times_ms).tolist() == [True, True, False, True, False]
    seen.forget(112)
    assert len(seen) == 1


def test_memory_of_what_was_seen_follows_the_window() -> None:
    seen = Seen(window_ms=1_000)
    sizes = []
    for round_ in range(100):
        keys = np.arange(1_000) + round_ * 1_000
        assert seen.first_seen(hashes_of(keys), np.full(1_000, round_ * 100)).all()
        seen.forget(round_ * 100)
        sizes.append(seen.rows.nbytes)
    assert len(seen) == 11_000
    assert max(sizes[30:]) <= max(sizes[:30])
    seen.forget(10**9)
    assert seen.rows.nbytes < min(sizes) / 2


def test_a_table_saves_what_changed() -> None:
    table = KeyedTable({"item": np.dtype(np.int64)})
    keys = np.arange(5_000)
    table.put(hashes_of(keys), {"item": keys}, np.zeros(5_000, np.int64))
    assert len(table.changed(True)) == 5_000
    table.put(hashes_of(keys[:7]), {"item": keys[:7]}, np.ones(7, np.int64))
    table.put(hashes_of(keys[7:9]), {"item": keys[:2]}, np.full(2, -1))  # older: no change
    assert len(table.changed(False)) == 7


def test_columns_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"column name expected a boolean, .*, got <U5$"):
        KeyedTable({"name": np.dtype("U5")})
    with pytest.raises(ValueError, match="longest expected >= 1, got 0"):
        KeyedLists({}, 0)
    with pytest.raises(ValueError, match="window_ms expected >= 0, got -1"):
        Seen(-1)
    table = KeyedTable({"item": np.dtype(np.int64)})
    one, now = hashes_of(np.array([1])), np.zeros(1, np.int64)
    with pytest.raises(ValueError, match="columns expected item, got price"):
        table.put(one, {"price": now}, now)
    with pytest.raises(ValueError, match=r"column item expected 1 values, got \(2,\)"):
        table.put(one, {"item": np.zeros(2)}, now)
    other = KeyedTable({"item": np.dtype(np.float64)})
    with pytest.raises(ValueError, match=r"item\.float64, .*, got .*item\.int64"):
        other.restore([table.changed(True)])
