"""Generations of keys on a Redis server: who reads sees one whole, and none removes another's."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from streamrec.services.store.contract import Space, StoreError
from streamrec.services.store.opening import open_store
from streamrec.services.store.redis_server import REBUILD, RedisStore, client_of
from streamrec.services.store.redis_swap import RedisReplacement
from tests.services.conftest import RedisServer

LARGEST = Space("largest", max)


@pytest.fixture
def url(redis_server: RedisServer) -> str:
    redis_server.flush()
    return redis_server.url


@pytest.fixture
def client(url: str) -> Iterator[Any]:
    with closing(client_of(url, "server")) as found:
        yield found


def rebuilt(url: str, value: bytes) -> None:
    """Another generation that holds one value is in use, and the one before is gone."""
    new = RedisReplacement(url)
    new.store.put(LARGEST, [(b"a", value)])
    new.swap(lambda: None)
    new.close()


def test_who_reads_finds_the_generation_that_is_in_use_at_that_moment(url: str) -> None:
    with closing(RedisStore(url)) as store, closing(RedisStore(url)) as late:
        store.put(LARGEST, [(b"a", b"1")])
        for value in (b"2", b"3"):
            rebuilt(url, value)
            assert store.get(LARGEST, [b"a", b"b"]) == [value, None]
        assert late.get(LARGEST, [b"a"]) == [b"3"]
        store.put(LARGEST, [(b"a", b"4")])
        assert late.get(LARGEST, [b"a"]) == [b"4"]


def test_a_rebuild_that_another_has_taken_for_dead_harms_nothing(url: str, client: Any) -> None:
    slow = RedisReplacement(url)
    slow.store.put(LARGEST, [(b"a", b"1")])
    client.delete(REBUILD)  # as if it had stood still for too long
    other = RedisReplacement(url)
    other.store.put(LARGEST, [(b"a", b"2")])
    with pytest.raises(StoreError, match="expected this rebuild to be the only one"):
        slow.store.put(LARGEST, [(b"a", b"1")])
    with pytest.raises(StoreError, match="expected this rebuild to be the only one"):
        slow.swap(lambda: None)
    slow.close()

    other.swap(lambda: None)
    other.close()

    with closing(RedisStore(url)) as store:
        assert store.get(LARGEST, [b"a"]) == [b"2"]
    assert len(client.keys("*/*")) == 1  # what the slow one had put is gone too


def test_a_server_is_reached_by_its_socket_too(url: str, redis_server: RedisServer) -> None:
    with (
        closing(open_store(url)) as store,
        closing(open_store(redis_server.socket_url)) as by_socket,
    ):
        by_socket.put(LARGEST, [(b"a", b"1")])
        assert store.get(LARGEST, [b"a"]) == [b"1"]
