"""A run of the main job over the simulated shop's clicks, and a judge who reads what came out.

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
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.local.guarded_process import GuardedProcess
from streamrec.connectors.log import Log, schema_named
from streamrec.connectors.reading import read_batches, read_range, whole
from streamrec.dataflows.errors.redrive import read_errors
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.job.topics import ERRORS, RECOMMENDATIONS
from streamrec.models.loading import SHIPPED_MODEL
from streamrec.models.sessions.recommender import SessionRecommender
from streamrec.models.training.logs import ClickLog
from streamrec.models.users.features import EVENT_TYPES
from streamrec.schemas.columns import Bytes, Lists, Numbers
from streamrec.schemas.json_codec import JsonDecoder
from streamrec.schemas.wire import WireDecoder
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
from streamrec.shop.sending import SentClicks
from streamrec.shop.world import ShopClicks

_FLUSH_S = 60.0
_LOOK_S = 0.2
_SAMPLED = 50  # records that are looked through for one to show
_LINGER_S = 120.0  # how long a run may take after the last sign of progress

Progress = Callable[[int], None]


class DemoError(Exception):
    """The demo could not be run to its end; the message says what happened."""


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


def run_recommender(
    log: Log,
    settings: Settings,
    environment: Mapping[str, str],
    sent: SentClicks,
    progress: Progress,
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


def clicks_of(sent: SentClicks) -> JudgedClicks:
    """What users meant, in the order of arrival, without what was broken on the way."""
    good = _good_clicks(sent)
    return JudgedClicks(
        np.concatenate([clicks.users for clicks in good]),
        np.concatenate([clicks.items for clicks in good]),
    )


def _good_clicks(sent: SentClicks) -> list[ShopClicks]:
    batches = [batch.records for batch in sent.batches]
    return [batch.clicks.take(batch.is_good()) for batch in batches]


def judge_alone(settings: Settings, sent: SentClicks) -> dict[str, Verdict]:
    """What each candidate method alone would have come to, by the clicks that judge the main job
    (one in ten of them)."""
    trained = SessionRecommender.load(settings.model_path or SHIPPED_MODEL)
    untrained = SessionRecommender(trained.bounds, trained.weights)
    asking = np.array([event_type in settings.recommend_on for event_type in EVENT_TYPES])
    good = _good_clicks(sent)
    log = ClickLog(
        np.concatenate([clicks.sessions for clicks in good]),
        np.concatenate([clicks.items for clicks in good]),
        np.concatenate([clicks.times_ms for clicks in good]),
    )
    asked = asking[np.concatenate([clicks.event_types for clicks in good])]
    return judge_methods(untrained, log, clicks_of(sent), asked)


def read_answers(log: Log, settings: Settings, sent: SentClicks) -> Answers:
    """The topic of recommendations, each found back to the click that asked."""
    topic = settings.topic(RECOMMENDATIONS)
    rows_of = _RowsByPlace(sent)
    with closing(log.registry()) as registry:
        decoder = WireDecoder(RECOMMENDATIONS.schema, partial(schema_named, registry))
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

    def __init__(self, sent: SentClicks) -> None:
        partitions = np.concatenate([batch.partitions for batch in sent.batches])
        offsets = np.concatenate([batch.offsets for batch in sent.batches])
        good = np.concatenate([batch.records.is_good() for batch in sent.batches])
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
    """One of the last recommendations, as it stands on the topic, of those that more than the
    fallback proposed; None: there is none."""
    topic = settings.topic(RECOMMENDATIONS)
    starts, stops = whole(log, topic)
    filled = [partition for partition in stops if starts[partition] < stops[partition]]
    if not filled:
        return None
    partition = filled[0]
    last = {partition: max(starts[partition], stops[partition] - _SAMPLED)}
    found: dict[str, Any] | None = None
    with closing(log.registry()) as registry:
        decoder = JsonDecoder(partial(schema_named, registry))
        for record in read_range(log, topic, last, {partition: stops[partition]}):
            if record.value is None:
                continue
            decoded: dict[str, Any] = decoder.decode(record.value)
            names = decoded["method_names"].split(",")
            fallback = 1 << names.index("popular") if "popular" in names else 0
            if found is None or any(item["methods"] & ~fallback for item in decoded["items"][:5]):
                found = decoded
    return found
