from collections import OrderedDict

import numpy as np
import pytest

from streamrec.models.sessions.items import ItemTable
from streamrec.schemas.columns import Bytes


def strings(texts: list[str]) -> Bytes:
    encoded = [text.encode() for text in texts]
    lengths = np.array([len(each) for each in encoded], np.int64)
    data = np.frombuffer(b"".join(encoded), np.uint8).copy()
    return Bytes(data, np.cumsum(lengths) - lengths, lengths)


@pytest.mark.parametrize("seed", range(3))
def test_table_agrees_with_an_ordered_dict_and_tells_of_each_dropped_number(seed: int) -> None:
    rng = np.random.default_rng(seed)
    dropped: list[int] = []
    table = ItemTable(50, lambda numbers: dropped.extend(numbers.tolist()))
    recent: OrderedDict[int, int] = OrderedDict()
    expected_drops: list[int] = []
    for _ in range(300):
        keys = rng.integers(-60, 60, 8)
        numbers = table.numbers(keys, strings([f"item {key}" for key in keys]), add=True)
        for key, number in zip(keys.tolist(), numbers.tolist(), strict=True):
            if key not in recent and len(recent) == 50:
                expected_drops.append(recent.popitem(last=False)[1])
            recent[key] = number
            recent.move_to_end(key)
        live = np.array(list(recent))
        assert table.numbers(live, None, add=False).tolist() == list(recent.values())
        ids = table.ids(np.array(list(recent.values()), np.int32))
        assert [ids.bytes_at(row).decode() for row in range(len(live))] == [
            f"item {key}" for key in live
        ]
    assert dropped == expected_drops


def test_unknown_item_has_no_number_and_asking_changes_nothing() -> None:
    table = ItemTable(100)
    table.numbers(np.array([5, 6]), None, add=True)
    before = {name: array.tolist() for name, array in table.state().items()}
    assert table.numbers(np.array([6, 7, 5]), None, add=False).tolist() == [1, -1, 0]
    assert {name: array.tolist() for name, array in table.state().items()} == before


def test_keys_without_strings_are_their_own_ids() -> None:
    table = ItemTable(100)
    numbers = table.numbers(np.array([214536502, -3]), None, add=True)
    ids = table.ids(numbers)
    assert [ids.bytes_at(row) for row in range(2)] == [b"214536502", b"-3"]
    assert table.keys(numbers).tolist() == [214536502, -3]


def test_restored_table_goes_on_exactly() -> None:
    rng = np.random.default_rng(4)
    table = ItemTable(30)
    for _ in range(40):
        keys = rng.integers(0, 60, 5)
        table.numbers(keys, strings([str(key) for key in keys]), add=True)
    other = ItemTable(2)
    other.restore(table.state())
    for _ in range(40):
        keys = rng.integers(0, 60, 5)
        names = strings([str(key) for key in keys])
        assert (table.numbers(keys, names, True) == other.numbers(keys, names, True)).all()
    everyone = np.arange(30, dtype=np.int32)
    assert table.keys(everyone).tolist() == other.keys(everyone).tolist()
    ids, others = table.ids(everyone), other.ids(everyone)
    assert [ids.bytes_at(row) for row in range(30)] == [others.bytes_at(row) for row in range(30)]


def test_memory_stays_bounded_while_items_come_and_go() -> None:
    table = ItemTable(1_000)
    sizes = []
    for first in range(0, 50_000, 500):
        keys = np.arange(first, first + 500)
        table.numbers(keys, strings([f"an item of number {key}" for key in keys]), add=True)
        sizes.append(table.bytes_used)
    assert len(table) == 1_000
    assert max(sizes[20:]) <= 2 * sizes[20]
