"""The contract of a store, on each back end."""

import random
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from streamrec.services.store.contract import Space, ValueStore
from streamrec.services.store.folder import FolderStore
from streamrec.services.store.redis_server import RedisStore
from streamrec.services.store.users import USERS
from tests.services.conftest import RedisServer
from tests.services.store.values import expected, some_puts, told

LARGEST = Space("largest", max)

OpenStore = Callable[[], ValueStore]


@pytest.fixture
def lmdb_store(tmp_path: Path) -> OpenStore:
    return partial(FolderStore, tmp_path / "store", make=True)


@pytest.fixture
def redis_store(redis_server: RedisServer) -> OpenStore:
    redis_server.flush()
    return partial(RedisStore, redis_server.url)


@pytest.fixture(params=["lmdb", "redis"])
def open_store(request: pytest.FixtureRequest) -> Iterator[OpenStore]:
    """Opens the same store each time."""
    made: OpenStore = request.getfixturevalue(f"{request.param}_store")
    opened: list[ValueStore] = []

    def open_one() -> ValueStore:
        opened.append(made())
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


def test_what_was_put_is_got_and_what_was_not_is_none(open_store: OpenStore) -> None:
    store = open_store()
    store.put(LARGEST, [(b"a", b"1"), (b"c", b"3"), (b"empty", b"")])

    assert store.get(LARGEST, [b"c", b"b", b"a", b"empty"]) == [b"3", None, b"1", b""]


def test_a_put_merges_with_what_is_there_and_with_itself(open_store: OpenStore) -> None:
    store = open_store()
    store.put(LARGEST, [(b"a", b"5"), (b"b", b"1"), (b"b", b"7"), (b"b", b"3")])
    store.put(LARGEST, [(b"a", b"4"), (b"b", b"8")])

    assert store.get(LARGEST, [b"a", b"b"]) == [b"5", b"8"]


def test_spaces_do_not_see_each_other(open_store: OpenStore) -> None:
    store, other = open_store(), Space("smallest", min)
    store.put(LARGEST, [(b"a", b"1")])
    store.put(other, [(b"a", b"2")])
    store.put(other, [(b"a", b"3")])

    assert store.get(LARGEST, [b"a"]) + store.get(other, [b"a"]) == [b"1", b"2"]


def test_any_key_and_value_comes_back_as_it_was(open_store: OpenStore) -> None:
    store = open_store()
    items = [(b"", b"none"), (bytes(range(256)), bytes(70_000)), (b"\0\n\r", b"\0\xff")]
    store.put(LARGEST, items)

    assert store.get(LARGEST, [key for key, _ in items]) == [value for _, value in items]


def test_what_one_puts_another_gets(open_store: OpenStore) -> None:
    writer, reader = open_store(), open_store()
    writer.put(LARGEST, [(b"a", b"1")])
    assert reader.get(LARGEST, [b"a"]) == [b"1"]

    writer.put(LARGEST, [(b"a", b"2")])
    writer.sync()

    assert reader.get(LARGEST, [b"a"]) == [b"2"]


@pytest.mark.parametrize("seed", range(5))
def test_any_order_of_puts_in_batches_gives_the_newest(open_store: OpenStore, seed: int) -> None:
    store, rng = open_store(), random.Random(seed)
    puts = some_puts(rng, 200)
    shuffled = rng.sample(puts, len(puts)) + rng.choices(puts, k=50)
    while shuffled:
        size = rng.randrange(1, 40)
        batch, shuffled = shuffled[:size], shuffled[size:]
        store.put(USERS, [(put.user, put.value) for put in batch])

    wanted = expected(puts)
    assert {
        user: told(value) for user, value in zip(wanted, store.get(USERS, [*wanted]), strict=True)
    } == wanted


def test_writers_at_once_lose_nothing_of_each_other(open_store: OpenStore) -> None:
    puts = some_puts(random.Random(3), 400, users=2)
    stores = [open_store() for _ in range(2)]

    def write(store: ValueStore, own: int) -> None:
        for put in puts[own::2]:
            store.put(USERS, [(put.user, put.value)])

    threads = [threading.Thread(target=write, args=(s, i)) for i, s in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    wanted = expected(puts)
    values = stores[0].get(USERS, [*wanted])
    assert dict(zip(wanted, map(told, values), strict=True)) == wanted


def test_many_and_large_values_find_room(open_store: OpenStore) -> None:
    store = open_store()
    for first in range(0, 2_000, 200):
        store.put(LARGEST, [(b"k%05d" % k, bytes(50_000)) for k in range(first, first + 200)])

    found = store.get(LARGEST, [b"k%05d" % k for k in range(2_000)])
    assert all(value == bytes(50_000) for value in found)
