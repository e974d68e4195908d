"""A log that keeps each item's key and id once is numbered as one that keeps them of each click."""

import numpy as np

from streamrec.models.sessions.items import ItemTable
from streamrec.models.training import logs
from streamrec.models.training.logs import DistinctItems, number_items
from streamrec.schemas.columns import strings, take


def test_numbers_ids_and_what_is_dropped_are_the_same() -> None:
    rng = np.random.default_rng(3)
    texts = [f"item-{n}" * (1 + n % 3) for n in range(500)]
    distinct = DistinctItems(rng.permutation(10_000)[:500].astype(np.int64), strings(texts))
    clicks = 2 * logs._CHUNK + 17  # more than one part
    places = (rng.pareto(1.0, clicks) * 20).astype(np.int64) % 500
    for items_max in (600, 400):  # with fewer than there are, the oldest are dropped
        whole, parts = ItemTable(items_max), ItemTable(items_max)
        keys = distinct.keys[places]
        one = whole.numbers(keys, take(distinct.ids, places), add=True)
        other = number_items(parts, places.astype(np.int32), distinct, add=True)
        assert np.array_equal(one, other)
        in_use = np.arange(len(whole), dtype=np.int32)
        assert np.array_equal(whole.keys(in_use), parts.keys(in_use))
        ids = [[t.ids(in_use).bytes_at(n) for n in in_use.tolist()] for t in (whole, parts)]
        assert ids[0] == ids[1]
        asked = number_items(parts, places.astype(np.int32), distinct, add=False)
        assert np.array_equal(asked, whole.numbers(keys, None, add=False))


def test_without_distinct_items_the_keys_are_the_ids() -> None:
    numbers = number_items(ItemTable(10), np.array([7, 9, 7]), None, add=True)
    assert numbers.tolist() == [0, 1, 0]
