"""What is kept of a user, whatever comes in whatever order."""

import random
from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from streamrec.services.store.users import (
    HISTORY_MAX,
    PastClick,
    merged,
    packed,
    record_of,
    unpacked,
    user_key,
)
from tests.services.store.values import expected, some_puts, told

VALUES = st.builds(
    packed,
    st.integers(0, 30),
    st.integers(0, 2),
    st.integers(0, 5),
    st.binary(min_size=1, max_size=4),
    st.binary(max_size=3),
)


@given(VALUES, VALUES, VALUES)
def test_merging_asks_neither_for_order_nor_for_how_often(a: bytes, b: bytes, c: bytes) -> None:
    assert merged(a, b) == merged(b, a)
    assert merged(a, merged(b, c)) == merged(merged(a, b), c)
    assert merged(a, merged(a, b)) == merged(a, b)


@given(st.integers(0, 2**32))
def test_any_order_of_puts_with_any_repeats_gives_the_newest(seed: int) -> None:
    rng = random.Random(seed)
    puts = some_puts(rng, 60, users=1)
    shuffled = rng.sample(puts, len(puts)) + rng.choices(puts, k=10)

    value = reduce(merged, [put.value for put in shuffled])

    assert told(value) == expected(puts)[b"u0"]


def test_a_value_says_what_was_put() -> None:
    value = packed(1_000, 3, 9, b"i1", b"\0record")

    assert unpacked(value) == ((1_000, 3, 9), [PastClick(1_000, "i1")], b"\0record")
    assert record_of(value) == b"\0record"


def test_the_history_holds_the_newest_items_that_were_asked_at() -> None:
    values = [packed(time, 0, time, b"i%d" % time, b"") for time in range(30)]

    history = unpacked(reduce(merged, values)).history

    assert [event.item_id for event in history] == [f"i{time}" for time in range(29, 9, -1)]
    assert len(history) == HISTORY_MAX


def test_a_late_recommendation_enters_the_history_and_is_not_the_newest() -> None:
    newer, older = packed(20, 0, 2, b"b", b"newer"), packed(10, 0, 1, b"a", b"older")

    value = unpacked(merged(newer, older))

    assert value.record == b"newer"
    assert [event.item_id for event in value.history] == ["b", "a"]


def test_an_id_longer_than_any_store_takes_is_a_key_of_its_own() -> None:
    keys = {user_key(user) for user in (b"u" * 256, b"u" * 257, b"u" * 258)}

    assert len(keys) == 3
    assert max(map(len, keys)) <= 256
