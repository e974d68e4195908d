"""Rows of a shard with plain values by key and calls at event times, for steps that label.

It is to `TimedRows` what `InEventTime` is, but for three things: records that come late are taken
too, at the time that the shard had come to; a call is a time and a key, which cost a microsecond
and hold no record; and values count as what is held.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray
from typing_extensions import override

from streamrec.connectors.log import Headers
from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.job.packed import unpack
from streamrec.dataflows.job.values import KeyedValues
from streamrec.dataflows.steps.timed_rows import (
    AT,
    OFFSET,
    OWN,
    PARTITION,
    TIME,
    TOPIC,
    WHAT,
    TimedRows,
    spans_of,
)
from streamrec.schemas.columns import strings
from streamrec.schemas.hashing import hash128
from streamrec.schemas.reasons import Reason

if TYPE_CHECKING:  # steps run without the engine, which a job wires
    from streamrec.dataflows.job.job import Job

# What is read of records of one topic: of their values, headers and keys, a thing for each.
ReadRows = Callable[[Sequence[bytes | None], Sequence[Headers], Sequence[bytes | None]], list[Any]]


class Came(NamedTuple):
    """A record whose time has come."""

    slot: int
    topic: int  # number, in the order of the dataflow's inputs
    partition: int
    offset: int
    time_ms: int  # its own event time
    key: str  # what it is sharded by
    said: Any  # what was read of it


class _Values(KeyedValues):
    """What is saved is told by a faster writer of JSON: of what labels hold, finite numbers, texts,
    lists and dicts, it says the same."""

    @override
    def changed(self, whole: bool) -> pa.Table:
        keys = sorted(self._values if whole else self._changes)
        self._changes.clear()
        held = self._values
        texts = [orjson.dumps(held[key]) if key in held else None for key in keys]
        values = pa.array(texts, pa.binary()).cast(pa.string())
        return pa.table({"key": pa.array(keys, pa.string()), "value": values})


class LabelRows(TimedRows):
    """One shard. Write `on_record`, `on_call` and `calls_of`."""

    takes_late: ClassVar[bool] = True

    def __init__(self, job: "Job", reads: Sequence[ReadRows], late_ms: int, max_bytes: int) -> None:
        """`reads` by the number of the topic."""
        super().__init__(job, late_ms, max_bytes)
        self.values: KeyedValues = _Values()
        self.now_ms = 0  # of the call at hand
        self._reads = reads
        self._calls: list[tuple[int, str]] = []  # a heap
        self._gone: set[int] = set()  # slots of what is done with

    def on_record(self, came: Came) -> Iterable[Any]:
        """A record's time has come, or it came late. Returns or yields what is said."""
        raise NotImplementedError

    def on_call(self, key: str) -> Iterable[Any]:
        """A time that was asked for has passed: look what is due of a value by `now_ms`."""
        raise NotImplementedError

    def calls_of(self, key: str, value: Any) -> Iterable[int]:
        """The times that were asked for on account of a value, after a restart. Those that have
        been do no harm."""
        raise NotImplementedError

    # What these ask for.

    def call_at(self, at_ms: int, key: str) -> None:
        """Ask for `on_call` at a time, or as soon as may be; behind records of that time."""
        heapq.heappush(self._calls, (max(at_ms, self.now_ms), key))

    def weigh(self, size: int) -> None:
        """So many bytes more are held in values, or fewer."""
        self._held_bytes += size

    def hold(self, came: Came) -> None:
        """Keep a record as it came, for `refuse`, until `release`."""
        self._gone.discard(came.slot)
        self.rows.words[came.slot, WHAT] = OWN
        self.rows.note_changed(np.array([came.slot], np.int64))

    def release(self, topic: int, partition: int, offset: int, key: str) -> None:
        """Let a record go that was held."""
        self._gone.update(self._slots_of(topic, partition, offset, key))

    def refuse(
        self, topic: int, partition: int, offset: int, key: str, reason: Reason, message: str
    ) -> Failed:
        """The failure of a record that is at hand or was held, which is let go."""
        slots = self._slots_of(topic, partition, offset, key)
        self._gone.update(slots)
        record = self.records_at(np.array(slots, np.int64))[0]
        return record.fail(reason, message)

    def _slots_of(self, topic: int, partition: int, offset: int, key: str) -> list[int]:
        low, high = hash128(strings([key]))[0].tolist()
        slots = self.rows.of_key(high, low)
        words = self.rows.words[slots]
        is_it = (words[:, [TOPIC, PARTITION, OFFSET]] == (topic, partition, offset)).all(axis=1)
        found: list[int] = slots[is_it].tolist()
        return found

    # What `TimedRows` asks for.

    @override
    def run(self, until_ms: int) -> Iterator[Any]:
        """What is due before a time, in order, and what is asked for meanwhile."""
        slots = self.rows.due(until_ms)
        for at_ms, came in self._read(slots):
            yield from self._call_before(at_ms)
            self.now_ms = at_ms
            self._gone.add(came.slot)
            yield from self.on_record(came)
        yield from self._call_before(until_ms)
        gone = np.array(sorted(self._gone), np.int64)
        self._gone.clear()
        self.let_go(gone)

    def _call_before(self, before_ms: int) -> Iterator[Any]:
        calls = self._calls
        while calls and calls[0][0] < before_ms:
            self.now_ms, key = heapq.heappop(calls)
            yield from self.on_call(key)

    def _read(self, slots: NDArray[np.int64]) -> list[tuple[int, Came]]:
        """The records of rows, in their order, each with the time at which it is called."""
        if not len(slots):
            return []
        words = self.rows.words[slots]
        raw, own_keys, keys = (
            spans_of(self.rows.part(name, slots)) for name in ("value", "key", "shard_key")
        )
        headers = self.headers_at(slots)
        topics = words[:, TOPIC]
        said: list[Any] = [None] * len(slots)
        for topic in np.unique(topics).tolist():
            own = np.flatnonzero(topics == topic).tolist()
            found = self._reads[topic](
                [raw[row] for row in own],
                [headers[row] for row in own],
                [own_keys[row] for row in own],
            )
            for row, each in zip(own, found, strict=True):
                said[row] = each
        columns = [words[:, c].tolist() for c in (AT, TOPIC, PARTITION, OFFSET, TIME)]
        return [
            (at_ms, Came(slot, topic, partition, offset, time_ms, (key or b"").decode(), each))
            for slot, at_ms, topic, partition, offset, time_ms, key, each in zip(
                slots.tolist(), *columns, keys, said, strict=True
            )
        ]

    @override
    def restore(self, tables: Sequence[pa.Table], facts: dict[str, Any]) -> None:
        super().restore(tables, facts)
        self.values.restore(unpack(tables, "values"))
        self._calls = [
            (at_ms, key)
            for key in self.values
            for at_ms in self.calls_of(key, self.values.get(key))
        ]
        heapq.heapify(self._calls)

    @override
    def _parts(self, whole: bool) -> dict[str, pa.Table]:
        return {**super()._parts(whole), "values": self.values.changed(whole)}


__all__ = ["Came", "LabelRows", "ReadRows"]
