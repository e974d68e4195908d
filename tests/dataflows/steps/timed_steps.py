"""Steps over timed inputs, driven without an engine: batches and ticks in, what is said out."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from bytewax.dataflow import Dataflow
from typing_extensions import override

from streamrec import PaperJob, Topic
from streamrec.connectors.log import Detail, Headers, RawBatch
from streamrec.connectors.ticks.tick import LaneTick
from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.job.settings import load_settings
from streamrec.dataflows.steps.decode_records import decode_records
from streamrec.dataflows.steps.held import TimedRecord, Timer
from streamrec.dataflows.steps.in_time import InEventTime
from streamrec.dataflows.steps.timed_rows import TimedRows

LANES = 2
LATE_MS = 1_000
START_MS = 1_000_000_000
A, B, C = (Topic(name, format="json", key_field="k") for name in ("ta", "tb", "tc"))
RAW = Topic("traw", format="bytes")

Called = tuple[str, str, int, str, int, int, Any]


class Script(InEventTime):
    """Does what its records say, and says what it was called for: `call` is a list of [delay,
    name], `cancel` a list of names (null: all)."""

    def __init__(self, job: PaperJob, late_ms: int = LATE_MS, **given: Any) -> None:
        super().__init__(job, late_ms, **given)
        self.called: list[Called] = []
        self.taken_in: list[int] = []  # ticks

    @override
    def run(self, until_ms: int) -> Iterator[Any]:
        self.taken_in.append(self.tick)
        return super().run(until_ms)

    def _note(self, what: str, record: TimedRecord, more: Any) -> None:
        self.called.append(
            (what, record.topic, self.now_ms, record.key, record.partition, record.offset, more)
        )

    @override
    def on_record(self, record: TimedRecord) -> Iterator[Any]:
        count = self.values.get(record.key, 0) + 1
        self.values.put(record.key, count)
        self._note("record", record, count)
        if isinstance(record.value, dict):
            for name in record.value.get("cancel", ()):
                self.cancel(record.key, name)
            for delay_ms, name in record.value.get("call", ()):
                self.call(record, record.time_ms + delay_ms, name)
            if record.value.get("ask"):
                timers = [(t.at_ms, t.name, t.record.offset) for t in self.timers_of(record.key)]
                self._note("asked", record, timers)
        yield from ()

    @override
    def on_timer(self, timer: Timer) -> Iterator[Any]:
        self._note("timer", timer.record, (timer.name, timer.at_ms))
        again = timer.record.value
        if isinstance(again, dict) and timer.name == "again" and again.get("times", 0) > 0:
            self.call(timer.record, timer.at_ms + 700, "once more")
        yield from ()


Step = TypeVar("Step", bound=TimedRows)


class Feed:
    """One shard of a step, and what is fed to it."""

    def __init__(
        self, make: Callable[[PaperJob], Any] = Script, topics: Sequence[Topic] = (A, B)
    ) -> None:
        self._make = make
        self._settings = load_settings(shards=1, lanes=LANES)
        self._topics = tuple(topics)
        self.step = self._made()
        self._saved: list[Any] = []
        self.failed: list[Failed] = []
        self.tick_number = 0
        self._offsets: dict[tuple[str, int], int] = {}

    def _made(self) -> Any:
        self.job = PaperJob("timed", settings=self._settings)
        flow = Dataflow("timed")
        for topic in self._topics:
            self.job.read(flow, topic, timed=True)
        self._decode = {
            topic.name: decode_records(
                self.job, topic, time="t" if topic.format == "json" else None
            )
            for topic in self._topics
        }
        return self._make(self.job)

    def send(
        self,
        topic: Topic,
        *values: Any,
        partition: int = 0,
        key: bytes | list[bytes] | None = b"own",
        headers: Headers | None = None,
        log_ms: int = 7,
    ) -> None:
        """Records, in the next offsets of a partition; `key` is that of all, or of each."""
        raw: list[bytes | None] = [
            value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
            for value in values
        ]
        first = self._offsets.get((topic.name, partition), 0)
        self._offsets[topic.name, partition] = first + len(raw)
        offsets = np.arange(first, first + len(raw))
        times_ms = np.full(len(raw), log_ms)

        def detail(index: int) -> Detail:
            own = key[index] if isinstance(key, list) else key
            return Detail(own, headers or [], log_ms)

        self._feed(topic, RawBatch(topic.name, partition, offsets, raw, detail, times_ms))

    def tick(self, time_ms: int, lanes: Sequence[tuple[Topic, int]] | None = None) -> None:
        """Lanes, all if not said, come to the next tick."""
        self.tick_number += 1
        every = [(topic, lane) for topic in self._topics for lane in range(LANES)]
        for topic, lane in every if lanes is None else lanes:
            self._feed(topic, LaneTick(topic.name, lane, self.tick_number, time_ms))

    def _feed(self, topic: Topic, item: RawBatch | LaneTick) -> None:
        out = self._decode[topic.name]([item])
        self.failed += [each for each in out if isinstance(each, Failed)]
        said = self.step.update([each for each in out if not isinstance(each, Failed)])
        self.failed += [each for each in said if isinstance(each, Failed)]

    def restart(self, *, whole: bool = False, topics: Sequence[Topic] | None = None) -> None:
        """Save, and go on with another that is restored."""
        table, facts = self.step.changed(whole)
        self._saved = [table] if whole else [*self._saved, table]
        called = getattr(self.step, "called", None)
        if topics is not None:
            self._topics = tuple(topics)
        self.step = self._made()
        self.step.restore(self._saved, json.loads(json.dumps(facts)))
        if called is not None:
            self.step.called = called

    def places(self, what: str = "") -> list[tuple[str, int, int]]:
        """Of what was called."""
        return [(c[1], c[4], c[5]) for c in self.step.called if what in ("", c[0])]


def at(key: str, ms: int, **more: Any) -> dict[str, Any]:
    """A record of a key, so long after the start."""
    return {"k": key, "t": START_MS + ms, **more}


def found(feed: Feed, topic: Topic = A, ms: int = 0) -> None:
    """Ten keys and one, so that the clock believes what they say."""
    for number in range(11):
        feed.send(topic, at(f"founder{number}", ms))
