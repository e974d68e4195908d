"""What a process counts of its dataflow."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from streamrec.connectors.log import NO_TIMESTAMP_MS, RawBatch
from streamrec.connectors.out import Out
from streamrec.dataflows.job.input_times import InputTimes
from streamrec.services.metrics.buckets import RECORDS, SECONDS, Buckets
from streamrec.services.store.contract import Item
from streamrec.services.store.users import asked_ms

STORE = "the store"  # stands where the name of an output topic does
Place = tuple[str, str]  # topic, and who reads it


@dataclass
class FlowCounts:
    """Whoever calls from several threads has a lock."""

    read: Counter[Place] = field(default_factory=Counter)
    batches: dict[Place, Buckets] = field(default_factory=dict)  # records that came at once
    written: Counter[str] = field(default_factory=Counter)  # by topic
    errors_topics: set[str] = field(default_factory=set)  # of these
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)  # by reason and step
    # By output topic, from the log's time of the input to when its output was handed to the log.
    latencies: dict[str, Buckets] = field(default_factory=dict)
    newest_stored_ms: int | None = None  # event time of the newest in the store, Unix ms
    _newest_read_ms: int = NO_TIMESTAMP_MS
    _times: InputTimes = field(default_factory=InputTimes)

    def took(self, place: Place, batches: Sequence[RawBatch]) -> None:
        """A source handed over batches, one or more."""
        count = sum(map(len, batches))
        self.read[place] += count
        sizes = self.batches.get(place)
        if sizes is None:
            sizes = self.batches[place] = Buckets(RECORDS)
        sizes.observe(count)
        self._times.note(batches)
        self._newest_read_ms = int(batches[-1].times_ms[-1])

    def gave(self, topic: str, is_errors: bool, out: Out, now_ms: float) -> None:
        """Records were handed to the log's writer. Of these the first and the last are looked at,
        and each counts for half of them: all that are written at once have come at about the same
        time."""
        count = len(out.values)
        self.written[topic] += count
        if is_errors:
            self.errors_topics.add(topic)
        if out.sources is None or not count:
            return
        halves = ((0, count - count // 2), (count - 1, count // 2))
        for row, times in halves if count > 1 else halves[:1]:
            topics = out.sources.topics
            source = topics if isinstance(topics, str) else topics[row]
            partition, offset = out.sources.places[row].tolist()
            came_ms = self._times.time_ms(source, partition, offset)
            if came_ms is None:
                continue
            seconds = self.latencies.get(topic)
            if seconds is None:
                seconds = self.latencies[topic] = Buckets(SECONDS)
            seconds.observe(max(0.0, (now_ms - came_ms) / 1_000), times)

    def stored(self, items: Sequence[Item], now_ms: float) -> None:
        """Values of users were handed to the store: of what was read last, since nothing is kept on
        the way."""
        if not items:
            return
        self.written[STORE] += len(items)
        newest_ms = max(asked_ms(items[0][1]), asked_ms(items[-1][1]))
        self.newest_stored_ms = max(newest_ms, self.newest_stored_ms or 0)
        if self._newest_read_ms != NO_TIMESTAMP_MS:
            seconds = self.latencies.setdefault(STORE, Buckets(SECONDS))
            seconds.observe(max(0.0, (now_ms - self._newest_read_ms) / 1_000), len(items))

    def copy(self) -> "FlowCounts":
        """As they are now, without what is only kept to measure by."""
        return FlowCounts(
            Counter(self.read),
            {place: sizes.copy() for place, sizes in self.batches.items()},
            Counter(self.written),
            set(self.errors_topics),
            Counter(self.errors),
            {topic: seconds.copy() for topic, seconds in self.latencies.items()},
            self.newest_stored_ms,
        )


__all__ = ["STORE", "FlowCounts", "Place"]
