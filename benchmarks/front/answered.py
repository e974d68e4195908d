"""From a click over HTTP to its recommendation over HTTP: clicks are sent in an open loop, and some
of them are looked for until their answer can be read.

A hand-written client over plain sockets, since one of the well-known ones would take a core of the
two on which all runs.
"""

import asyncio
import json
import time
from dataclasses import dataclass, field

from benchmarks.processes import BenchmarkError

CONNECTIONS = 16
LOOKED_FOR_EACH = 10  # one click of so many
_LOOK_S = 0.01
_GIVE_UP_S = 10.0


@dataclass
class Seen:
    """What came of it."""

    sent: int = 0
    late_s: float = 0.0  # how far behind its time the last click was sent
    acknowledged_ms: list[float] = field(default_factory=list)
    answered_ms: list[float] = field(default_factory=list)  # from when the click was due


class _Connection:
    """One that is kept open, for one request at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, head: str, body: bytes = b"") -> bytes:
        """The body of an answer of 2xx."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        assert self._reader is not None
        lines = f"{head}\r\nHost: front\r\nContent-Length: {len(body)}\r\n\r\n"
        self._writer.write(lines.encode() + body)
        told = await self._reader.readuntil(b"\r\n\r\n")
        status = told.split(b" ", 2)[1]
        length = 0
        for line in told.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        content = await self._reader.readexactly(length)
        if not status.startswith(b"2"):
            raise BenchmarkError(f"{head!r} expected 2xx, got {status!r}: {content[:200]!r}")
        return content


def from_click_to_answer(
    ingress: str, api: str, key: str, rate: int, seconds: int, users: int
) -> Seen:
    """Send `rate` clicks a second. Raises BenchmarkError."""
    return asyncio.run(_run(_port(ingress), _port(api), key, rate, seconds, users))


async def _run(ingress: int, api: int, key: str, rate: int, seconds: int, users: int) -> Seen:
    seen, free = Seen(), asyncio.Queue[_Connection]()
    for _ in range(CONNECTIONS):
        free.put_nowait(_Connection(ingress))
    looking = asyncio.Queue[_Connection]()
    for _ in range(CONNECTIONS):
        looking.put_nowait(_Connection(api))
    began_s = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(rate * seconds):
            due_s = began_s + number / rate
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            seen.late_s = time.perf_counter() - due_s
            tasks.create_task(_click(seen, free, looking, key, number, due_s, users))
    return seen


async def _click(
    seen: Seen,
    free: "asyncio.Queue[_Connection]",
    looking: "asyncio.Queue[_Connection]",
    key: str,
    number: int,
    due_s: float,
    users: int,
) -> None:
    user = f"u{number * 7919 % users}"
    click = {
        "user_id": user,
        "item_id": f"i{number % 500}",
        "event_type": "view",
        "timestamp": int(time.time() * 1000),
    }
    head = f"POST /clicks HTTP/1.1\r\nContent-Type: application/json\r\nAuthorization: Bearer {key}"
    connection = await free.get()
    try:
        place = json.loads(await connection.ask(head, json.dumps(click).encode()))
    finally:
        free.put_nowait(connection)
    seen.sent += 1
    seen.acknowledged_ms.append((time.perf_counter() - due_s) * 1e3)
    if number % LOOKED_FOR_EACH:
        return
    head = f"GET /recommendations/{user}?n=10 HTTP/1.1\r\nAuthorization: Bearer {key}"
    while True:
        connection = await looking.get()
        try:
            source = json.loads(await connection.ask(head))["source"]
        finally:
            looking.put_nowait(connection)
        found = source.get("partition") == place["partition"]
        if found and source["offset"] >= place["offset"]:
            break
        if time.perf_counter() - due_s > _GIVE_UP_S:
            raise BenchmarkError(f"{user}: expected an answer to {place}, got {source}")
        await asyncio.sleep(_LOOK_S)
    seen.answered_ms.append((time.perf_counter() - due_s) * 1e3)


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


__all__ = ["Seen", "from_click_to_answer"]
