"""Feeds the simulated shop to a topic: a process of its own beside those that are killed.

It writes at a rate, and no further than the count of records on its standard input's last line.
"""

import argparse
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice, pairwise

from streamrec.connectors.backend import open_log
from streamrec.connectors.log import Log, Outgoing
from streamrec.dataflows.job.settings import load_settings
from streamrec.shop.faults import SchemaIds
from streamrec.shop.shop import ShopBatch
from tests.proofs.chaos_clocks import FAR_MS, ClockShop

_STEP_S = 0.02


def shop_of(seed: int, events: int, ids: SchemaIds, wrong_clocks: float = 0.0) -> ClockShop:
    """The clicks of a chaos run. The checker makes the same ones to know the truth."""
    return ClockShop(seed=seed, clicks=events, schema_ids=ids, wrong_clocks=wrong_clocks)


def steps(batch: ShopBatch, size: int) -> Iterator[list[Outgoing]]:
    """The records of a batch, `size` at a time."""
    bounds = [*range(0, len(batch), size), len(batch)]
    arrivals = batch.clicks.arrivals_ms.tolist()
    for start, end in pairwise(bounds):
        part = slice(start, end)
        yield [
            Outgoing(key, value, timestamp_ms=at_ms if at_ms > FAR_MS else None)
            for key, value, at_ms in zip(
                batch.keys[part], batch.values[part], arrivals[part], strict=True
            )
        ]


class Pace:
    """Lets records go out at a rate, up to the count last read from standard input."""

    def __init__(self, rate: float) -> None:
        self.step = max(1, int(rate * _STEP_S))
        self._rate = rate
        self._next_s = time.monotonic()
        self._sent = 0
        self._allowed = 0
        self._more = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin:
            with self._more:
                self._allowed = int(line)
                self._more.notify()
        os._exit(1)  # nobody is left who would read the topic

    def await_turn(self, count: int) -> None:
        """Wait until `count` more records may go out."""
        with self._more:
            while self._sent + count > self._allowed:
                self._more.wait()
        self._sent += count
        now_s = time.monotonic()
        self._next_s = max(self._next_s, now_s - 1.0) + count / self._rate
        time.sleep(max(0.0, self._next_s - now_s))


def send_at_pace(
    log: Log, topics: Sequence[str], left: Iterator[tuple[int, Outgoing]], pace: Pace
) -> None:
    """Write records, each to the topic of its number, as the pace lets them."""
    with closing(log.writer()) as writer:
        while step := list(islice(left, pace.step)):
            pace.await_turn(len(step))
            for number, topic in enumerate(topics):
                writer.write(topic, [out for each, out in step if each == number])
        writer.flush(120.0)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.proofs.chaos_feed", description=__doc__)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="records a second")
    parser.add_argument("--wrong-clocks", type=float, default=0.0, help="share of the clicks")
    given = parser.parse_args()
    log = open_log(load_settings())
    with closing(log.registry()) as registry:
        shop = shop_of(given.seed, given.events, SchemaIds.of(registry), given.wrong_clocks)
    pace = Pace(given.rate)
    with closing(log.writer()) as writer:
        for batch in shop.batches():
            for step in steps(batch, pace.step):
                pace.await_turn(len(step))
                writer.write(given.topic, step)
        writer.flush(120.0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
