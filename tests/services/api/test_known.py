"""What the API is told by a store on another machine that does not answer."""

import asyncio
import time

import pytest

from streamrec.connectors.embedded.log import EmbeddedLog
from streamrec.services.api.known import KnownUsers
from streamrec.services.http.problems import Problem
from streamrec.services.store.opening import open_store
from tests.services.conftest import RedisServer


def test_a_server_that_does_not_answer_holds_requests_up_for_a_second_and_then_none(
    redis_server: RedisServer, embedded_log: EmbeddedLog
) -> None:
    users = KnownUsers(open_store(redis_server.url), embedded_log.registry(), is_local=False)

    async def refused_after_s() -> float:
        began_s = time.monotonic()
        with pytest.raises(Problem, match="the store cannot be read now"):
            await users.value("u1")
        return time.monotonic() - began_s

    async def run() -> None:
        assert await users.value("u1") is None
        with redis_server.paused():
            took_s = await asyncio.gather(*(refused_after_s() for _ in range(100)))
            assert min(took_s) > 0.9 and max(took_s) < 2.0
            assert await refused_after_s() < 0.1
        while True:
            try:
                assert await users.value("u1") is None
                break
            except Problem:
                await asyncio.sleep(0.05)

    asyncio.run(run())
    users.close()
