"""HTTP questions with a deadline for the whole answer.

httpx limits the time between two pieces of an answer, so that a server which sends a byte a second
is never given up. Tasks of asyncio can be ended anywhere: they run in one thread of the process,
and whoever asks waits for the outcome.
"""

import asyncio
import threading
from collections.abc import Mapping
from typing import NamedTuple

import httpx

_LARGEST_BYTES = 32_000_000  # no schema is that long

_guard = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


class Answer(NamedTuple):
    """A whole answer, whatever its status."""

    status: int
    location: str | None  # where a redirect points to
    body: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    def excerpt(self) -> str:
        """How it begins, on one line."""
        return " ".join(self.body[:200].decode(errors="replace").split())[:80]


class NoAnswerError(Exception):
    """Nobody answered, or not to the end in time; says what happened."""


def ask(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    content: str | None,
    headers: Mapping[str, str],
    within_s: float,
) -> Answer:
    """The answer, in any thread. Raises NoAnswerError."""
    asked = _ask(client, method, url, content, headers, within_s)
    return asyncio.run_coroutine_threadsafe(asked, _running_loop()).result()


def close(client: httpx.AsyncClient) -> None:
    """Close the client's connections, soon."""
    asyncio.run_coroutine_threadsafe(client.aclose(), _running_loop())


async def _ask(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    content: str | None,
    headers: Mapping[str, str],
    within_s: float,
) -> Answer:
    body = bytearray()
    try:
        async with (
            asyncio.timeout(within_s),
            client.stream(method, url, content=content, headers=dict(headers)) as answer,
        ):
            async for piece in answer.aiter_bytes():
                body += piece
                if len(body) > _LARGEST_BYTES:
                    raise NoAnswerError(f"got more than {_LARGEST_BYTES} bytes")
        return Answer(answer.status_code, answer.headers.get("location"), bytes(body))
    except TimeoutError:
        begun = f", only {len(body)} bytes of one" if body else ""
        raise NoAnswerError(f"got no whole answer within {within_s:.0f} s{begun}") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise NoAnswerError(f"got {type(error).__name__}: {_root(error)}") from error


def _root(error: BaseException) -> BaseException:
    """Where it began: `All connection attempts failed` says nothing of why."""
    while (inner := error.__cause__ or error.__context__) is not None and str(inner):
        error = inner
    return error


def _running_loop() -> asyncio.AbstractEventLoop:
    global _loop
    with _guard:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="http", daemon=True).start()
        return _loop


__all__ = ["Answer", "NoAnswerError", "ask", "close"]
