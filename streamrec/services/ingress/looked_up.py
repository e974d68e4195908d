"""What is looked up by name on the log: a request seldom waits for it, and never for long."""

import asyncio
import time
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from streamrec.connectors.log import LogError

_BELIEVED_S = 5.0
_AGAIN_S = 1.0  # so long a look that failed is not tried again
_STALE_WAIT_S = 0.1
_WAIT_S = 5.0  # for what was never seen: a first answer of a registry may take seconds
_FAILED = 1_000  # names, which come from the outside
T = TypeVar("T")


class _Look(NamedTuple, Generic[T]):
    """One that is under way."""

    began_s: float
    task: "asyncio.Task[T]"


class LookedUp(Generic[T]):
    """Values by name, each believed for some seconds, and for longer while nobody answers.

    Looks are made in a thread, one at a time for a name. Who finds an old value waits a moment for
    the look, then takes the old one; who finds none waits up to `wait_s` from when the look began.
    A look that failed is told to all who ask within a second; one that raised one of
    `gone` ends what was believed. Used in one event loop.
    """

    def __init__(
        self,
        look: Callable[[str], T],
        gone: tuple[type[Exception], ...] = (),
        wait_s: float = _WAIT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look = look
        self._gone = gone
        self._wait_s = wait_s
        self._clock = clock
        self._found: dict[str, tuple[float, T]] = {}  # until when, and what
        self._failed: dict[str, tuple[float, BaseException]] = {}
        self._under_way: dict[str, _Look[T]] = {}

    async def get(self, name: str) -> T:
        """Raises what looking raises, where nothing is known, and LogError when it takes long."""
        found = self._found.get(name)
        if found is not None and self._clock() < found[0]:
            return found[1]
        failed = self._failed.get(name)
        if failed is None or self._clock() >= failed[0]:
            look = self._under_way.get(name) or self._begin(name)
            give_up_s = look.began_s + (self._wait_s if found is None else _STALE_WAIT_S)
            left_s = max(0.0, give_up_s - time.monotonic())
            await asyncio.wait((look.task,), timeout=left_s)
            found, failed = self._found.get(name), self._failed.get(name)
            if found is None and (failed is None or not look.task.done()):
                raise LogError(f"{name!r} expected to be found in {self._wait_s:g} s, got nothing")
        if found is not None:
            return found[1]
        assert failed is not None
        raise failed[1].with_traceback(None)  # or it would grow with each who is told

    def _begin(self, name: str) -> _Look[T]:
        task = asyncio.ensure_future(asyncio.to_thread(self._look, name))
        look = self._under_way[name] = _Look(time.monotonic(), task)
        task.add_done_callback(lambda done: self._done(name, done))
        return look

    def _done(self, name: str, task: "asyncio.Task[T]") -> None:
        del self._under_way[name]
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._found[name] = (self._clock() + _BELIEVED_S, task.result())
            self._failed.pop(name, None)
            return
        if isinstance(error, self._gone):
            self._found.pop(name, None)
        if len(self._failed) >= _FAILED:
            self._failed.clear()
        self._failed[name] = (self._clock() + _AGAIN_S, error)


__all__ = ["LookedUp"]
