"""The demo: the simulated shop's clicks through the main job, and a judge who reads what came out.

    shop ─▶ clicks ─▶ dataflows.recommender (a process of its own, as a user starts it)
      │                     ├─▶ recommendations ─┐
      │                     └─▶ errors ──────────┤
      └── what was meant ────────────────────────┴─▶ judge ─▶ summary

The judge knows of the main job only what stands in the topics. What the shop meant tells it which
records must come out, which must not, and why.
"""

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.local.guarded_process import GuardedProcess
from streamrec.connectors.log import Log
from streamrec.connectors.partitioner import partition_for_key
from streamrec.connectors.reading import read_batches, read_range, whole
from streamrec.dataflows.errors.redrive import read_errors
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.job.topics import CLICKS, ERRORS, RECOMMENDATIONS, make_all
from streamrec.models.loading import SHIPPED_MODEL
from streamrec.models.sessions.recommender import SessionRecommender
from streamrec.models.training.logs import ClickLog
from streamrec.models.users.features import EVENT_TYPES
from streamrec.schemas.columns import Bytes, Lists, Numbers
from streamrec.schemas.json_codec import JsonDecoder
from streamrec.schemas.wire import WireDecoder
from streamrec.shop.faults import SchemaIds
from streamrec.shop.judging import (
    Answers,
    JudgedClicks,
    K,
    Verdict,
    judge,
    judge_popularity,
    numbers_of,
)
from streamrec.shop.judging_methods import judge_methods
from streamrec.shop.shop import Shop, ShopBatch

_FLUSH_S = 60.0
_LOOK_S = 0.2
_LINGER_S = 120.0  # how long a run may take after the last sign of progress

Progress = Callable[[int], None]


class DemoError(Exception):
    """The demo could not be run to its end; the message says what happened."""


@dataclass(slots=True)
class Sent:
    """What was put on the topic: for each record where it stands and what it meant."""

    partitions: list[NDArray[np.int64]] = field(default_factory=list)
    offsets: list[NDArray[np.int64]] = field(default_factory=list)
    batches: list[ShopBatch] = field(default_factory=list)

    def errors(self) -> Counter[str]:
        """How many errors must come out, by reason."""
        return sum((batch.error_counts() for batch in self.batches), Counter[str]())

    def asks(self, settings: Settings) -> int:
        """How many recommendations must come out."""
        asking = np.array([event_type in settings.recommend_on for event_type in EVENT_TYPES])
        return sum(
            int((batch.is_good() & asking[batch.clicks.event_types]).sum())
            for batch in self.batches
        )


@dataclass(frozen=True, slots=True)
class DemoRun:
    """What one run of the main job came to."""

    model: str
    verdict: Verdict
    popularity: Verdict  # on the same clicks
    recommendations: int
    errors: Counter[str]
    started_s: float  # from the start of the process to its first record out
    took_s: float  # from the first record out to the last

    def rate(self, records: int) -> float:
        return records / self.took_s if self.took_s > 0 else 0.0


def make_topics(log: Log, settings: Settings) -> None:
    make_all(log, settings.topics())


def send_shop(
    log: Log, settings: Settings, shop: Callable[[SchemaIds], Shop], progress: Progress
) -> Sent:
    """Make the topics and put the shop's records on the topic of clicks."""
    make_topics(log, settings)
    with closing(log.registry()) as registry:
        ids = SchemaIds.of(registry)
    sent = Sent()
    with closing(_Sender(log, settings.topic(CLICKS))) as sender:
        for batch in shop(ids).batches():
            partitions, offsets = sender.send(batch)
            sent.partitions.append(partitions)
            sent.offsets.append(offsets)
            sent.batches.append(batch)
            progress(len(batch))
    return sent


def send_paced(log: Log, settings: Settings, seed: int, rate: int) -> Iterator[int]:
    """Put the shop's records on the topic for ever, `rate` a second; yields how many each time."""
    with closing(log.registry()) as registry:
        ids = SchemaIds.of(registry)
    shop = Shop(seed=seed, clicks=sys.maxsize, schema_ids=ids)
    with closing(_Sender(log, settings.topic(CLICKS))) as sender:
        began, count = time.monotonic(), 0
        for batch in shop.batches():
            step = max(1, rate // 20)
            for start in range(0, len(batch), step):
                part = batch.part(slice(start, start + step))
                sender.send(part)
                sender.flush()
                count += len(part)
                yield len(part)
                time.sleep(max(0.0, began + count / rate - time.monotonic()))


class _Sender:
    """Writes batches of the shop, and says where each record will stand."""

    def __init__(self, log: Log, topic: str) -> None:
        with closing(log.admin()) as admin:
            bounds = admin.bounds(topic)
        self._topic = topic
        # Nobody else writes to the topic meanwhile, so the offsets can be told beforehand.
        self._next = np.array([bounds[partition].high for partition in range(len(bounds))])
        self._places = _Places(len(bounds))
        self._writer = log.writer()

    def send(self, batch: ShopBatch) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(n,) partition and (n,) offset of each record."""
        partitions = self._places.of(batch)
        offsets = np.empty(len(batch), dtype=np.int64)
        for partition in np.unique(partitions).tolist():
            rows = np.flatnonzero(partitions == partition)
            offsets[rows] = self._next[partition] + np.arange(len(rows))
            self._next[partition] += len(rows)
            chosen = rows.tolist()
            self._writer.write_columns(
                self._topic,
                partition,
                [batch.keys[row] for row in chosen],
                [batch.values[row] for row in chosen],
            )
        return partitions, offsets

    def flush(self) -> None:
        self._writer.flush(_FLUSH_S)

    def close(self) -> None:
        self._writer.flush(_FLUSH_S)
        self._writer.close()


class _Places:
    """The partition of each user, reckoned once."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._by_user = np.full(1_024, -1, dtype=np.int64)

    def of(self, batch: ShopBatch) -> NDArray[np.int64]:
        users = batch.clicks.users
        if (most := int(users.max(initial=0))) >= len(self._by_user):
            more = np.full(2 * most, -1, dtype=np.int64)
            more[: len(self._by_user)] = self._by_user
            self._by_user = more
        new = np.flatnonzero(self._by_user[users] < 0)
        for user, row in dict(zip(users[new].tolist(), new.tolist(), strict=True)).items():
            self._by_user[user] = partition_for_key(batch.keys[row], self._partitions)
        return self._by_user[users]


def run_recommender(
    log: Log, settings: Settings, environment: Mapping[str, str], sent: Sent, progress: Progress
) -> DemoRun:
    """Run the main job over what was sent, in a process of its own, then judge what came out."""
    outputs = (settings.topic(RECOMMENDATIONS), settings.topic(ERRORS))
    expected = sent.asks(settings) + sent.errors().total()
    started = time.monotonic()
    with closing(log.admin()) as admin, process(environment) as main_job:

        def written() -> int:
            return sum(high - low for t in outputs for low, high in admin.bounds(t).values())

        seen, first, last = 0, started, started
        while main_job.running():
            time.sleep(_LOOK_S)
            now, count = time.monotonic(), written()
            if count > seen:
                first = now if seen == 0 else first
                last = now
                progress(count - seen)
                seen = count
            if now - last > _LINGER_S:
                raise DemoError(
                    f"main job expected {expected:,} records out, got {seen:,} and nothing "
                    f"more for {_LINGER_S:.0f} s"
                )
        if main_job.status != 0:
            raise DemoError(f"main job ended with status {main_job.status}, see above")
        progress(written() - seen)
        last = max(last, first + _LOOK_S)
    answers = read_answers(log, settings, sent)
    found = Counter(failed.fields["reason"] for failed in read_errors(log, settings.topic(ERRORS)))
    clicks = clicks_of(sent)
    return DemoRun(
        settings.model,
        judge(clicks, answers),
        judge_popularity(clicks, answers),
        len(answers.clicks),
        found,
        first - started,
        last - first,
    )


@contextmanager
def process(environment: Mapping[str, str]) -> Iterator[GuardedProcess]:
    """`python -m bytewax.run dataflows.recommender`, ended with the block however that ends."""
    command = [sys.executable, "-m", "bytewax.run", "streamrec.dataflows.recommender"]
    main_job = GuardedProcess(command, None, {**os.environ, **environment})
    try:
        yield main_job
    finally:
        main_job.stop()


def clicks_of(sent: Sent) -> JudgedClicks:
    """What users meant, in the order of arrival, without what was broken on the way."""
    good = [batch.is_good() for batch in sent.batches]
    return JudgedClicks(
        np.concatenate([b.clicks.users[g] for b, g in zip(sent.batches, good, strict=True)]),
        np.concatenate([b.clicks.items[g] for b, g in zip(sent.batches, good, strict=True)]),
    )


def judge_alone(settings: Settings, sent: Sent) -> dict[str, Verdict]:
    """What each candidate method alone would have come to, by the clicks that judge the main job
    (one in ten of them)."""
    trained = SessionRecommender.load(settings.model_path or SHIPPED_MODEL)
    untrained = SessionRecommender(trained.bounds, trained.weights)
    asking = np.array([event_type in settings.recommend_on for event_type in EVENT_TYPES])
    good = [batch.clicks.take(batch.is_good()) for batch in sent.batches]
    log = ClickLog(
        np.concatenate([clicks.sessions for clicks in good]),
        np.concatenate([clicks.items for clicks in good]),
        np.concatenate([clicks.times_ms for clicks in good]),
    )
    asked = asking[np.concatenate([clicks.event_types for clicks in good])]
    return judge_methods(untrained, log, clicks_of(sent), asked)


def read_answers(log: Log, settings: Settings, sent: Sent) -> Answers:
    """The topic of recommendations, each found back to the click that asked."""
    topic = settings.topic(RECOMMENDATIONS)
    rows_of = _RowsByPlace(sent)
    with closing(log.registry()) as registry:
        decoder = WireDecoder(RECOMMENDATIONS.schema, registry.by_id)
        rows, items = [np.empty(0, np.int64)], [np.empty((0, K), np.int64)]
        for batch in read_batches(log, topic, *whole(log, topic)):
            decoded = decoder.decode(batch.values)
            if decoded.failures:
                raise DemoError(f"recommendation that cannot be read: {decoded.failures[0]}")
            columns = decoded.columns
            rows.append(rows_of.find(columns["source_partition"], columns["source_offset"]))
            items.append(_best(columns["items"]))
    return Answers(np.concatenate(rows), np.concatenate(items))


class _RowsByPlace:
    """Finds the good click that stands at a partition and offset."""

    def __init__(self, sent: Sent) -> None:
        partitions, offsets = np.concatenate(sent.partitions), np.concatenate(sent.offsets)
        good = np.concatenate([batch.is_good() for batch in sent.batches])
        places = (partitions << 48) + offsets
        self._order = np.argsort(places)
        self._places = places[self._order]
        self._row = np.where(good, np.cumsum(good) - 1, -1)

    def find(self, partitions: Any, offsets: Any) -> NDArray[np.int64]:
        assert isinstance(partitions, Numbers) and isinstance(offsets, Numbers)
        places = (partitions.values.astype(np.int64) << 48) + offsets.values.astype(np.int64)
        at = np.minimum(np.searchsorted(self._places, places), len(self._places) - 1)
        rows = np.where(self._places[at] == places, self._row[self._order[at]], -1)
        if (rows < 0).any():
            bad = int(places[np.flatnonzero(rows < 0)[0]])
            raise DemoError(
                "recommendation expected to answer a good click, got partition "
                f"{bad >> 48}, offset {bad & (1 << 48) - 1}"
            )
        return np.asarray(rows)


def _best(column: Any) -> NDArray[np.int64]:
    """The first K items of each list, by number; -1 where a list is shorter."""
    assert isinstance(column, Lists)
    names = column.items["item_id"]
    assert isinstance(names, Bytes)
    numbers = np.append(numbers_of(names), -1)
    places = column.bounds[:-1, None] + np.arange(K)
    return numbers[np.where(places < column.bounds[1:, None], places, -1)]


def sample(log: Log, settings: Settings) -> dict[str, Any] | None:
    """One of the last recommendations, as it stands on the topic; None: there is none."""
    topic = settings.topic(RECOMMENDATIONS)
    starts, stops = whole(log, topic)
    filled = [partition for partition in stops if starts[partition] < stops[partition]]
    if not filled:
        return None
    partition = filled[0]
    last = {partition: stops[partition] - 1}
    with closing(log.registry()) as registry:
        for record in read_range(log, topic, last, {partition: stops[partition]}):
            if record.value is not None:
                decoded: dict[str, Any] = JsonDecoder(registry.by_id).decode(record.value)
                return decoded
    return None
