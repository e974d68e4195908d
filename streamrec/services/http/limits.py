"""How large, how deep and how slow a body may be."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from streamrec.services.http.problems import Problem

Receive = Callable[[], Awaitable[Any]]

_LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Of one request's body."""

    body_bytes: int = 1_048_576
    json_depth: int = 32
    body_s: float = 10.0  # from the request's head to the body's end
    events: int = 10_000  # in a list


class ClientGone(Exception):
    """The client hung up before its request was whole, or sent chunks that are none: in most cases
    nobody is there to be answered."""


class Deadlines:
    """Ends tasks of one loop whose time is over, by one look at all of them every now and then: a
    timer each costs a twentieth of a small request, and is hardly ever needed."""

    def __init__(self) -> None:
        self._ends_s: dict[asyncio.Task[Any], float] = {}  # in the order in which they began
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, task: "asyncio.Task[Any]", limit_s: float) -> None:
        """From now on a task has so long."""
        loop = task.get_loop()
        self._ends_s[task] = loop.time() + limit_s
        if self._timer is None:
            self._timer = loop.call_later(_LOOK_S, self._look, loop)

    def end(self, task: "asyncio.Task[Any]") -> bool:
        """It has done what had its time; False: it was over before."""
        return self._ends_s.pop(task, None) is not None

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = loop.time()
        over = [task for task, end_s in self._ends_s.items() if end_s <= now_s]
        for task in over:
            del self._ends_s[task]
            task.cancel()
        self._timer = loop.call_later(_LOOK_S, self._look, loop) if self._ends_s else None


async def read_body(
    receive: Receive, limits: RequestLimits, announced: bytes | None, deadlines: Deadlines
) -> bytes:
    """The whole body; reading stops as soon as it is too long or too slow. `announced` is the
    header content-length. Raises Problem (400, 408, 413), ClientGone."""
    length = None if announced is None else _length(announced)
    if length is not None and length > limits.body_bytes:
        raise _too_long(limits, f"{length} bytes announced")
    task = asyncio.current_task()
    assert task is not None
    deadlines.begin(task, limits.body_s)
    try:
        body = await _read(receive, limits, length)
    except asyncio.CancelledError:
        if deadlines.end(task):  # somebody else wants this to end
            raise
        task.uncancel()
        raise Problem(
            408,
            f"body expected to be whole within {limits.body_s:g} s, got only a part of it",
            headers=[(b"connection", b"close")],
        ) from None
    finally:
        deadlines.end(task)
    return body


async def _read(receive: Receive, limits: RequestLimits, length: int | None) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limits.body_bytes:
            raise _too_long(limits, f"at least {size}")
        if chunk:
            chunks.append(chunk)
        if not message.get("more_body", False):
            break
    if length is not None and size != length:
        raise Problem(400, f"body expected the {length} bytes that were announced, got {size}")
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _length(announced: bytes) -> int:
    if not announced.isdigit() or len(announced) > 18:
        raise Problem(400, "header content-length expected a number of bytes")
    return int(announced)


def _too_long(limits: RequestLimits, got: str) -> Problem:
    # The rest is not read, so nothing more can be read from this connection.
    return Problem(
        413,
        f"body expected at most {limits.body_bytes} bytes, got {got}",
        headers=[(b"connection", b"close")],
    )


__all__ = ["ClientGone", "Deadlines", "Receive", "RequestLimits", "read_body"]
