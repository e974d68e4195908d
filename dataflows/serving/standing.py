"""How a pipeline stands: what its topics hold, how far it has come, what failed and why."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from streamrec.connectors.log import Log, LogAdmin, UnknownTopicError, schema_named
from streamrec.connectors.reading import read_range
from streamrec.dataflows.job.settings import group_of_reader
from streamrec.dataflows.serving.topic_names import NamedPipeline
from streamrec.schemas.json_codec import JsonDecoder, UnreadableError

RATE_S = 60
ERRORS_READ = 1_000  # newest of each errors topic whose reasons are counted
UNREADABLE = "unreadable"  # stands for the reason of what is no error


@dataclass(frozen=True, slots=True)
class TopicStanding:
    """A topic of a pipeline, now."""

    topic: str
    partitions: int  # 0: there is no such topic
    records: int
    lag: int | None = None  # of inputs: records that are not answered durably
    started: bool = True  # of inputs: whether the group has ever committed an offset of it
    rate: float | None = None  # records a second over the last minute, by their timestamps


@dataclass(frozen=True, slots=True)
class Standing:
    """A pipeline, now."""

    inputs: tuple[TopicStanding, ...]
    outputs: TopicStanding
    errors: TopicStanding
    reasons: Mapping[str, int]  # of the newest errors, most frequent first
    reasons_of: int  # so many errors were looked at

    @property
    def lag(self) -> int:
        return sum(each.lag or 0 for each in self.inputs)


def standing_of(log: Log, named: NamedPipeline, groups: Sequence[str], now_ms: int) -> Standing:
    """What the log says of a pipeline whose dataflow commits under one of `groups`, or, of inputs
    that others may take too, under one that is named after it. Raises LogError."""
    topics = named.topics
    with closing(log.admin()) as admin:
        inputs = tuple(
            _inputs(
                admin,
                topic,
                [
                    group_of_reader(group, "" if topic == topics.own_inputs else named.step)
                    for group in groups
                ],
                now_ms,
            )
            for topic in topics.inputs
        )
        outputs = _standing(admin, topics.outputs, now_ms)
        errors = _standing(admin, topics.errors, now_ms)
        reasons = _reasons(log, admin, topics.errors) if errors.records else Counter()
    ordered = dict(reasons.most_common())
    return Standing(inputs, outputs, errors, ordered, sum(ordered.values()))


def _standing(admin: LogAdmin, topic: str, now_ms: int) -> TopicStanding:
    try:
        bounds = admin.bounds(topic)
        recent = admin.offsets_at(topic, now_ms - RATE_S * 1000)
    except UnknownTopicError:
        return TopicStanding(topic, 0, 0)
    records = sum(high - low for low, high in bounds.values())
    new = sum(high - max(recent.get(p, high), low) for p, (low, high) in bounds.items())
    return TopicStanding(topic, len(bounds), records, rate=max(0, new) / RATE_S)


def _inputs(admin: LogAdmin, topic: str, groups: Sequence[str], now_ms: int) -> TopicStanding:
    standing = _standing(admin, topic, now_ms)
    if not standing.partitions:
        return standing
    bounds = admin.bounds(topic)
    ends = admin.ends(topic, committed=True)
    committed: dict[int, int] = {}
    for group in groups:  # whichever has come furthest
        for partition, offset in admin.committed(group, topic).items():
            committed[partition] = max(offset, committed.get(partition, 0))
    lag = sum(max(0, ends[p] - max(committed.get(p, low), low)) for p, (low, _) in bounds.items())
    return TopicStanding(
        topic, standing.partitions, standing.records, lag, bool(committed), standing.rate
    )


def _reasons(log: Log, admin: LogAdmin, topic: str) -> Counter[str]:
    """How often each reason stands among the newest errors, by the time of the log."""
    bounds, ends = admin.bounds(topic), admin.ends(topic, committed=True)
    starts = {p: max(low, ends[p] - ERRORS_READ) for p, (low, _) in bounds.items()}
    newest: list[tuple[int, str]] = []
    with closing(log.registry()) as registry:
        decoder = JsonDecoder(partial(schema_named, registry))
        for record in read_range(log, topic, starts, ends):
            if record.value is None:
                continue
            try:
                reason = str(decoder.decode(record.value)["reason"])
            except (UnreadableError, KeyError, TypeError):
                reason = UNREADABLE
            newest.append((record.timestamp_ms, reason))
    newest.sort(key=lambda each: each[0])
    return Counter(reason for _, reason in newest[-ERRORS_READ:])


__all__ = ["ERRORS_READ", "RATE_S", "Standing", "TopicStanding", "standing_of"]
