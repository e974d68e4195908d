"""What requests look up on the log: nobody waits for long while it is away."""

import asyncio
import threading

import pytest

from streamrec.connectors.log import LogError
from streamrec.services.ingress.looked_up import LookedUp


class Gone(LogError):
    """There is no such thing any more."""


class SlowLog:
    """Answers once it may."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.answer: str | LogError = "first"
        self.looks = 0
        self.now_s = 0.0

    def look(self, name: str) -> str:
        self.looks += 1
        self.may_answer.wait(10)
        if isinstance(self.answer, LogError):
            raise self.answer
        return self.answer

    def looked_up(self, wait_s: float = 10.0) -> LookedUp[str]:
        return LookedUp(self.look, (Gone,), wait_s, lambda: self.now_s)


async def looked_behind(log: SlowLog) -> None:
    """Let the look that is under way end, and be noted."""
    log.may_answer.set()
    await asyncio.sleep(0.05)


def test_what_was_found_is_told_again_while_the_log_is_away_and_renewed_behind() -> None:
    async def run() -> None:
        log = SlowLog()
        found = log.looked_up()
        assert await found.get("iris") == "first"
        log.may_answer.clear()
        log.answer = "second"
        log.now_s = 6.0
        told = await asyncio.wait_for(asyncio.gather(*(found.get("iris") for _ in range(9))), 2.0)
        assert set(told) == {"first"} and log.looks == 2
        await looked_behind(log)
        assert await found.get("iris") == "second" and log.looks == 2

    asyncio.run(run())


def test_what_was_never_found_is_waited_for_so_long_and_then_not_again() -> None:
    async def run() -> None:
        log = SlowLog()
        log.may_answer.clear()
        found = log.looked_up(wait_s=0.05)
        for _ in range(3):
            with pytest.raises(LogError, match="got nothing"):
                await found.get("iris")
        assert log.looks == 1
        await looked_behind(log)
        assert await found.get("iris") == "first" and log.looks == 1

    asyncio.run(run())


def test_what_is_not_there_is_looked_for_again_after_a_while_only() -> None:
    async def run() -> None:
        log = SlowLog()
        found = log.looked_up()
        assert await found.get("iris") == "first"
        log.answer, log.now_s = Gone("gone"), 6.0
        for _ in range(3):
            with pytest.raises(Gone):
                await found.get("iris")
        assert log.looks == 2
        log.answer, log.now_s = "again", 7.5
        assert await found.get("iris") == "again"

    asyncio.run(run())


def test_a_look_that_failed_is_told_to_all_who_ask_soon_after() -> None:
    async def run() -> None:
        log = SlowLog()
        log.answer = LogError("away")
        found = log.looked_up()
        for _ in range(3):
            with pytest.raises(LogError, match="away"):
                await found.get("iris")
        assert log.looks == 1

    asyncio.run(run())
