"""Feeds offers and purchases to two topics: a process of its own beside those that are killed.

Event time goes on by `STEP_MS` a record, some thousand times as fast as the clock, so that hours
are over and timers called while the dataflow runs. The last records are purchases of users without
offers, three hours on in steps of half an hour for each shard: they say nothing, and when a tick
has passed them every offer before is closed and forgotten, so all outputs that there must be are
written.
"""

import argparse
import heapq
import io
import json
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import fastavro

from benchmarks.join.flow import OFFERS, PURCHASES
from streamrec.connectors.backend import open_log
from streamrec.connectors.log import Headers, Outgoing
from streamrec.dataflows.job.settings import load_settings
from tests.proofs.chaos_feed import Pace, send_at_pace
from tests.proofs.join_plain import HOUR_MS, SHARDS, partition_of

START_MS = 1_767_225_600_000
STEP_MS = 2_400
_SECOND_MS = 1_000
_END_HOPS = 6
_HOP_MS = HOUR_MS // 2
END_RECORDS = _END_HOPS * SHARDS
_CENTS = 5_000
_AHEAD_MS = 10 * 365 * 24 * HOUR_MS  # of a wrong clock

# Shares of the records.
_OFFERS = 0.3
_LATE = 0.005
_NEGATIVE = 0.004
_NO_AVRO = 0.004
_ELSEWHERE = 0.1  # not in the partition of their key, so that they cross between workers
_WITH_HEADERS = 0.05
# Shares of the offers: bought within the hour, and in the hour after.
_BOUGHT, _CORRECTED = 0.33, 0.12


def records(
    seed: int, events: int, step_ms: int = STEP_MS, wrong_clocks: float = 0.0
) -> Iterator[tuple[int, dict[str, Any] | bytes]]:
    """So many, the last `END_RECORDS` of which only move the time on: for each its input (0:
    offers, 1: purchases), and what it says or, of one that is no Avro, its bytes."""
    rng = random.Random(f"join-{seed}")
    planned: list[tuple[int, str]] = []  # purchases, by time
    users = max(50, events // 20)
    time_ms = START_MS
    for number in range(events - END_RECORDS):
        time_ms = START_MS + number * step_ms // _SECOND_MS * _SECOND_MS
        if rng.random() < _NO_AVRO:
            yield rng.randrange(2), rng.choice((b"broken", b"\0....\xff", b""))
            continue
        at_ms = time_ms - _disorder_ms(rng)
        if rng.random() < wrong_clocks:
            at_ms += _AHEAD_MS + rng.randrange(4) * HOUR_MS
        if planned and planned[0][0] <= time_ms and at_ms <= time_ms:
            at_ms, user = heapq.heappop(planned)
            yield 1, _purchase(rng, user, at_ms)
        elif rng.random() < _OFFERS:
            user = f"u{rng.randrange(users)}"
            _plan(rng, planned, user, at_ms)
            yield 0, {"user_id": user, "offer_id": f"o{number}", "at": at_ms}
        else:
            user = f"{rng.choice('uvv')}{rng.randrange(users)}"
            yield 1, _purchase(rng, user, at_ms)
    names = (f"end-{n}" for n in range(1_000))
    by_shard = {partition_of(name.encode(), SHARDS): name for name in names}
    for hop in range(1, _END_HOPS + 1):
        for _, user in sorted(by_shard.items()):
            yield 1, {"user_id": user, "cents": 1, "at": time_ms + hop * _HOP_MS}


def _disorder_ms(rng: random.Random) -> int:
    """Most come a few seconds late, and some hours: by whole seconds, so that times meet."""
    if rng.random() < _LATE:
        return rng.randrange(3 * 3_600, 5 * 3_600) * _SECOND_MS
    return rng.choice((0, 0, 1, 2, 3, 5, 8, 11)) * _SECOND_MS


def _plan(rng: random.Random, planned: list[tuple[int, str]], user: str, at_ms: int) -> None:
    """What the user will buy: some of it at the last moment that counts."""
    for share, since_ms in ((_BOUGHT, 0), (_CORRECTED, HOUR_MS)):
        if rng.random() < share:
            for _ in range(rng.choice((1, 1, 2, 3))):
                after_ms = rng.choice((HOUR_MS, rng.randrange(0, 3_601) * _SECOND_MS))
                heapq.heappush(planned, (at_ms + since_ms + after_ms, user))


def _purchase(rng: random.Random, user: str, at_ms: int) -> dict[str, Any]:
    cents = -1 if rng.random() < _NEGATIVE else rng.randrange(_CENTS)
    return {"user_id": user, "cents": cents, "at": at_ms}


def outgoing(
    seed: int,
    events: int,
    schema_ids: Sequence[int],
    step_ms: int = STEP_MS,
    wrong_clocks: float = 0.0,
) -> Iterator[tuple[int, Outgoing]]:
    """The records as they are written, with their inputs."""
    schemas = [fastavro.parse_schema(json.loads(t.schema)) for t in (OFFERS, PURCHASES)]
    rng = random.Random(f"places-{seed}")
    for count, (number, record) in enumerate(records(seed, events, step_ms, wrong_clocks)):
        is_end = count >= events - END_RECORDS
        headers: Headers | None = [("trace", b"\1")] if rng.random() < _WITH_HEADERS else None
        place = rng.randrange(SHARDS) if rng.random() < _ELSEWHERE and not is_end else None
        if isinstance(record, bytes):
            value = record.replace(b"....", schema_ids[number].to_bytes(4, "big"))
            yield number, Outgoing(b"broken", value, headers, partition=place)
            continue
        out = io.BytesIO(b"\0" + schema_ids[number].to_bytes(4, "big"))
        out.seek(5)
        fastavro.schemaless_writer(out, schemas[number], record)
        key = record["user_id"].encode()
        yield number, Outgoing(key, out.getvalue(), headers, partition=place)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.proofs.join_feed", description=__doc__)
    parser.add_argument("--topics", nargs=2, required=True, help="of offers and of purchases")
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--wrong-clocks", type=float, default=0.0, help="share of the records")
    parser.add_argument("--rate", type=float, required=True, help="records a second")
    given = parser.parse_args()
    log = open_log(load_settings())
    with closing(log.registry()) as registry:
        ids = [registry.latest(f"{topic}-value").id for topic in given.topics]
    pace = Pace(given.rate)
    left = outgoing(given.seed, given.events, ids, wrong_clocks=given.wrong_clocks)
    send_at_pace(log, given.topics, left, pace)
    return 0


if __name__ == "__main__":
    sys.exit(main())
