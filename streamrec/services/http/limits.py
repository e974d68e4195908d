"""How large, how deep and how slow a body may be."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from streamrec.services.http.problems import Problem

Receive = Callable[[], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Of one request's body."""

    body_bytes: int = 1_048_576
    json_depth: int = 32
    body_s: float = 10.0  # from the request's head to the body's end
    events: int = 10_000  # in a list


class ClientGone(Exception):
    """The client hung up before its request was whole: nobody is there to be answered."""


async def read_body(receive: Receive, limits: RequestLimits, announced: bytes | None) -> bytes:
    """The whole body; reading stops as soon as it is too long or too slow. `announced` is the
    header content-length. Raises Problem (400, 408, 413), ClientGone."""
    length = None if announced is None else _length(announced)
    if length is not None and length > limits.body_bytes:
        raise _too_long(limits, f"{length} bytes announced")
    try:
        async with asyncio.timeout(limits.body_s):
            return await _read(receive, limits, length)
    except TimeoutError:
        raise Problem(
            408,
            f"body expected to be whole within {limits.body_s:g} s, got only a part of it",
            headers=[(b"connection", b"close")],
        ) from None


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


__all__ = ["ClientGone", "Receive", "RequestLimits", "read_body"]
