"""Rows by key against slow references in plain Python."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from streamrec.connectors.state_files import StateFiles
from streamrec.models.keyed import kernels
from streamrec.models.keyed.rows import NEVER_MS, KeyedRows
from streamrec.schemas.columns import Bytes, strings

WORDS = ("price", "count")
PARTS = ("key", "value")


@dataclass
class ReferenceRow:
    id: int
    key: tuple[int, int]  # low, high
    due_ms: int
    order: tuple[int, ...]
    words: list[int]
    parts: dict[str, bytes | None]


@dataclass
class ReferenceRows:
    rows: dict[int, ReferenceRow] = field(default_factory=dict)
    next_id: int = 0

    def due(self, before_ms: int) -> list[int]:
        found = [row for row in self.rows.values() if row.due_ms < before_ms]
        found.sort(key=lambda row: (row.due_ms, row.order, row.id))
        for row in found:
            row.due_ms = NEVER_MS
        return [row.id for row in found]

    def of_key(self, key: tuple[int, int]) -> list[int]:
        return sorted(row.id for row in self.rows.values() if row.key == key)

    def copy(self) -> "ReferenceRows":
        rows = {
            row.id: ReferenceRow(
                row.id, row.key, row.due_ms, row.order, list(row.words), dict(row.parts)
            )
            for row in self.rows.values()
        }
        return ReferenceRows(rows, self.next_id)


def hashes_of(keys: list[tuple[int, int]]) -> NDArray[np.int64]:
    return np.array(keys, np.int64).reshape(-1, 2)


def slots_of(rows: KeyedRows, ids: list[int]) -> NDArray[np.int64]:
    """In the order of the ids, found without any of what is tested."""
    held = np.flatnonzero(rows.rows.state)
    by_id = dict(zip(rows.ids_at(held).tolist(), held.tolist(), strict=True))
    return np.array([by_id[each] for each in ids], np.int64)


def texts_of(column: Bytes) -> list[bytes | None]:
    valid = np.ones(len(column), np.bool_) if column.valid is None else column.valid
    return [column.bytes_at(i) if valid[i] else None for i in range(len(column))]


def expect_same(rows: KeyedRows, reference: ReferenceRows, keys: list[tuple[int, int]]) -> None:
    assert len(rows) == len(reference.rows)
    ids = sorted(reference.rows)
    slots = slots_of(rows, ids)
    assert rows.words_at(slots).tolist() == [reference.rows[each].words for each in ids]
    for name in PARTS:
        assert texts_of(rows.part(name, slots)) == [reference.rows[i].parts[name] for i in ids]
    due_ms = rows.rows.fixed[slots, kernels.DUE_MS].tolist()
    assert due_ms == [reference.rows[each].due_ms for each in ids]
    assert rows.next_due_ms() == min(due_ms, default=NEVER_MS)
    for low, high in keys:
        chain = rows.of_key(high, low)
        assert rows.ids_at(chain).tolist() == reference.of_key((low, high))
    firsts = rows.first(hashes_of(keys))
    for key, slot in zip(keys, firsts.tolist(), strict=True):
        chained = reference.of_key(key)
        assert (rows.ids_at(np.array([slot])).tolist() == chained[:1]) if chained else slot == -1
    live = sum(len(part or b"") for row in reference.rows.values() for part in row.parts.values())
    rows_alone = len(rows) * _bytes_of_a_row()
    assert rows.held_bytes == rows_alone + live


def _bytes_of_a_row() -> int:
    one = KeyedRows(WORDS, PARTS)
    one.add(*plain_rows(1, 0))
    return one.held_bytes


def plain_rows(
    n: int, due_ms: int, words: int = 2
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Hashes, due times, order and words of n rows, each of a key of its own."""
    rng = np.random.default_rng(due_ms)
    hashes = rng.integers(-(2**63), 2**63 - 1, (n, 2))
    return hashes, np.full(n, due_ms), np.zeros((n, 4), np.int64), np.ones((n, words), np.int64)


class Pair:
    """Rows and their reference, which undergo the same."""

    def __init__(self, rng: np.random.Generator, keys: list[tuple[int, int]]) -> None:
        self.rng, self.keys = rng, keys
        self.rows, self.reference = KeyedRows(WORDS, PARTS), ReferenceRows()

    def texts(self, n: int) -> list[bytes | None]:
        sizes = self.rng.integers(-1, 60, n).tolist()
        return [None if size < 0 else self.rng.bytes(size) for size in sizes]

    def times(self, n: int) -> list[int]:
        never = self.rng.random(n) < 0.2
        times: list[int] = np.where(never, NEVER_MS, self.rng.integers(-20, 60, n)).tolist()
        return times

    def some(self, share: float) -> list[int]:
        ids = np.array(sorted(self.reference.rows), np.int64)
        chosen: list[int] = self.rng.permutation(ids)[: int(len(ids) * share)].tolist()
        return chosen

    def add(self, n: int) -> None:
        chosen = [self.keys[i] for i in self.rng.integers(0, len(self.keys), n).tolist()]
        due_ms, order = self.times(n), self.rng.integers(-2, 2, (n, 4))
        words = self.rng.integers(-(2**63), 2**63 - 1, (n, 2))
        parts = {name: self.texts(n) for name in PARTS}
        if self.rng.random() < 0.2:
            del parts["value"]
        columns = {name: strings(texts) for name, texts in parts.items()}
        slots = self.rows.add(hashes_of(chosen), np.array(due_ms), order, words, columns)
        first = self.reference.next_id
        assert self.rows.ids_at(slots).tolist() == list(range(first, first + n))
        for i in range(n):
            texts = {name: parts[name][i] if name in parts else b"" for name in PARTS}
            row = ReferenceRow(
                first + i,
                chosen[i],
                due_ms[i],
                tuple(order[i].tolist()),
                words[i].tolist(),
                texts,
            )
            self.reference.rows[row.id] = row
        self.reference.next_id += n

    def due(self) -> None:
        before_ms = int(self.rng.integers(-20, 50))
        found = self.rows.ids_at(self.rows.due(before_ms)).tolist()
        assert found == self.reference.due(before_ms)

    def set_due(self) -> None:
        ids = self.some(0.3)
        due_ms = self.times(len(ids))
        self.rows.set_due(slots_of(self.rows, ids), np.array(due_ms, np.int64))
        for each, time_ms in zip(ids, due_ms, strict=True):
            self.reference.rows[each].due_ms = time_ms

    def remove(self, share: float) -> None:
        ids = self.some(share)
        self.rows.remove(slots_of(self.rows, ids))
        for each in ids:
            del self.reference.rows[each]

    def write(self) -> None:
        ids = self.some(0.2)
        slots, texts = slots_of(self.rows, ids), self.texts(len(ids))
        self.rows.words[slots, 1] = 7
        self.rows.note_changed(slots)
        self.rows.set_part("key", slots, strings(texts))
        for each, text in zip(ids, texts, strict=True):
            self.reference.rows[each].words[1] = 7
            self.reference.rows[each].parts["key"] = text

    def step(self) -> None:
        match int(self.rng.integers(0, 7)):
            case 0 | 1:
                self.add(int(self.rng.integers(0, 200)))
            case 2:
                self.due()
            case 3:
                self.set_due()
            case 4:
                self.remove(float(self.rng.choice([0.1, 0.5, 0.98, 1.0])))
            case 5:
                self.write()
            case 6:
                self.rows.settle()


@pytest.mark.parametrize("seed", range(5))
def test_rows_do_what_a_list_of_them_does_across_snapshots_and_rollbacks(seed: int) -> None:
    """`keys` share low words, high words, or all the bits that place them in the table."""
    rng = np.random.default_rng(seed)
    keys = [(i % 9, i // 9) for i in range(40)]
    keys += [(i << 33, -i) for i in range(30)] + [(-1, -1), (-(2**63), 2**63 - 1)]
    pair = Pair(rng, keys)
    saved: list[pa.Table] = []  # the last base, and the changes since
    then = ReferenceRows()
    for _ in range(120):
        pair.step()
        expect_same(pair.rows, pair.reference, keys)
        if rng.random() < 0.3:
            whole = not saved or rng.random() < 0.2
            table = pair.rows.changed(whole)
            saved = [table] if whole else [*saved, table]
            then = pair.reference.copy()
            expect_same(pair.rows, pair.reference, keys)
        if rng.random() < 0.1:  # what was done since is undone
            pair.rows, pair.reference = KeyedRows(WORDS, PARTS), then.copy()
            pair.rows.restore(saved)
            expect_same(pair.rows, pair.reference, keys)
            fresh = KeyedRows(WORDS, PARTS)
            fresh.restore([pair.rows.changed(True)])
            saved = [fresh.changed(True)]
            assert saved[0].equals(pair.rows.changed(True))


def test_what_is_saved_is_in_proportion_to_what_changed() -> None:
    rows = KeyedRows(WORDS, PARTS)
    slots = rows.add(*plain_rows(10_000, 1))
    rows.set_part("value", slots, strings(["x" * 100] * 10_000))
    base = rows.changed(True)
    assert len(base) == 10_000
    assert len(rows.changed(False)) == 0

    rows.remove(slots[:50])
    rows.set_due(slots[50:80], np.full(30, 9))
    rows.remove(rows.add(*plain_rows(20, 2)))  # never saved, so that nobody need hear of them
    change = rows.changed(False)

    assert change["gone"].to_pylist().count(True) == 50 + 1  # and the newest id ever given
    assert len(change) == 50 + 30 + 1
    assert change.nbytes < base.nbytes / 80
    assert len(rows.changed(False)) == 0


def test_ids_are_not_given_again_after_a_restart() -> None:
    rows = KeyedRows((), ())
    saved = [rows.changed(True)]
    rows.remove(rows.add(*plain_rows(5, 1, words=0)))
    saved.append(rows.changed(False))
    for tables in (saved, [rows.changed(True)]):
        back = KeyedRows((), ())
        back.restore(tables)
        assert len(back) == 0
        assert back.ids_at(back.add(*plain_rows(1, 1, words=0))).tolist() == [5]


def test_memory_follows_the_rows_held_and_the_bytes_of_their_parts() -> None:
    rows = KeyedRows(WORDS, PARTS)
    sizes = []
    for round_ in range(60):
        slots = rows.add(*plain_rows(1_000, round_))
        rows.set_part("value", slots, strings(["v" * 200] * 1_000))
        rows.remove(rows.due(round_ - 3))  # three rounds before this one are held, and it
        sizes.append(rows.nbytes)
        assert rows.nbytes < 4 * 5_000 * (_bytes_of_a_row() + 200)
    assert len(rows) == 4_000
    assert max(sizes[20:]) <= max(sizes[:20]), sizes

    rows.remove(rows.due(57))
    assert len(rows) == 3_000
    rows.remove(rows.due(60))
    rows.settle()
    assert rows.nbytes < 60_000, "most of the memory is given back"


def test_parts_that_are_replaced_leave_no_garbage_behind() -> None:
    rows = KeyedRows((), ("value",))
    slots = rows.add(*plain_rows(100, 1, words=0))
    for i in range(300):
        rows.set_part("value", slots, strings([f"{i:05d}" * 20] * 100))
    assert len(rows.rows.arena) < 5 * 100 * 100
    assert texts_of(rows.part("value", slots)) == [b"00299" * 20] * 100


def test_a_million_rows_come_back_in_the_order_in_which_they_are_due() -> None:
    n = 1_000_000
    rng = np.random.default_rng(5)
    hashes = rng.integers(-(2**63), 2**63 - 1, (n // 4, 2))[rng.integers(0, n // 4, n)]
    due_ms, order = rng.integers(0, n // 2, n), rng.integers(0, 3, (n, 4))
    words = np.arange(n)[:, None].copy()
    rows = KeyedRows(("number",), ())
    rows.add(hashes, due_ms, order, words)
    back = KeyedRows(("number",), ())
    back.restore([rows.changed(True)])

    expected = np.lexsort((*reversed(order.T), due_ms))  # stable, so by id at last
    for each in (rows, back):
        for before_ms in (n // 4, n):
            due = each.due(before_ms)
            wanted = expected[: len(due)]
            assert each.words_at(due)[:, 0].tolist() == wanted.tolist()
            expected = expected[len(due) :]
            each.remove(due)
        assert len(each) == 0 and (each.rows.table == -1).all()
        expected = np.lexsort((*reversed(order.T), due_ms))


def test_saved_rows_of_other_words_are_refused() -> None:
    rows = KeyedRows(("price",), ())
    with pytest.raises(ValueError, match=r"saved rows expected columns .*, price, got .*, prize$"):
        saved = KeyedRows(("prize",), ()).changed(True)
        rows.restore([saved.select([*saved.column_names[::-1]])])


def test_a_name_that_is_taken_is_refused() -> None:
    with pytest.raises(ValueError, match="got due_ms, value again"):
        KeyedRows(("due_ms", "value"), ("value",))


def test_slots_that_are_not_held_are_our_mistake() -> None:
    rows = KeyedRows((), ("value",))
    slots = rows.add(*plain_rows(3, 1, words=0))
    rows.remove(slots[:1])
    for wrong in (slots[:1], np.array([-1]), np.array([255])):
        with pytest.raises(AssertionError, match="not held"):
            rows.set_due(wrong, np.array([5]))
        with pytest.raises(AssertionError, match="not held"):
            rows.part("value", wrong)
        with pytest.raises(AssertionError, match="not held"):
            rows.remove(wrong)
    with pytest.raises(AssertionError, match="not held"):
        rows.remove(slots[[1, 1]])


def test_rows_come_back_from_state_files(tmp_path: Path) -> None:
    rows = KeyedRows(WORDS, PARTS)
    files = StateFiles(tmp_path, keep_s=0.0)
    slots = rows.add(*plain_rows(3, 1))
    rows.set_part("value", slots, strings(["", None, "three"]))
    files.write(rows.changed(True), True, {})
    rows.remove(slots[:1])
    rows.add(*plain_rows(1, 2), {"key": strings(["new"])})
    reference = files.write(rows.changed(False), False, {})

    back = KeyedRows(WORDS, PARTS)
    back.restore(list(StateFiles(tmp_path, keep_s=0.0).read(reference)))

    due = back.due(3)
    assert back.ids_at(due).tolist() == [1, 2, 3]
    assert texts_of(back.part("value", due)) == [None, b"three", b""]
    assert texts_of(back.part("key", due)) == [b"", b"", b"new"]
