"""Redrive: put the originals of errors back on their source topic, each at most once.

```
 errors ─▶ not yet redriven? ─▶ claim ─▶ write the original ─▶ done
              ▲                   │             │ header redriven_from      │
     errors-redrives ◀─────────────┴─────────────│───────────────────────────┘
                                                ▼
                                          source topic
```

The topic `errors-redrives`, one partition, holds claims and what is done; its order decides. A run
claims errors, reads the topic to its end, and owns those whose first live claim is its own; it
writes their originals and then says done. A second run finds them done, or owned by the first.

A run that dies between claim and done leaves a claim that expires after the lease. Whoever takes it
over cannot know how far the first one came, so it looks: every original that is written back
carries the header `redriven_from` (topic/partition/offset of the original), and the claim says at
which offset of the partition to start looking. So a kill at any point repeats and loses nothing.
What fails again is a new error; the header `redrive_attempts` counts how often it was put back.

Limits: the clocks of machines that redrive at once must agree to within the lease; a run that is
frozen between looking at its lease and writing, for longer than half the lease, can write twice.
"""

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, Self

from streamrec.connectors.log import (
    Headers,
    Log,
    LogAdmin,
    LogError,
    LogWriter,
    Outgoing,
    schema_named,
)
from streamrec.connectors.making_topics import subject_of
from streamrec.connectors.reading import read_all, read_range
from streamrec.schemas.json_codec import JsonDecoder, JsonEncoder, UnreadableError

LEASE_S = 30.0
HEADER = "redriven_from"
ATTEMPTS_HEADER = "redrive_attempts"
_CHUNK = 500
# What every error has.
_FIELDS = {"topic", "partition", "offset", "reason", "message", "stage", "failed_at", "headers"}


def redrives_topic(errors_topic: str) -> str:
    """Where it is written down which errors of a topic were redriven."""
    return f"{errors_topic}-redrives"


class Origin(NamedTuple):
    """Where a record that failed stood; what names an error."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError.

        >>> Origin.parse("clicks/3/418")
        Origin(topic='clicks', partition=3, offset=418)
        """
        topic, _, rest = text.partition("/")
        partition, _, offset = rest.partition("/")
        if not (topic and partition.isdecimal() and offset.isdecimal()):
            raise ValueError(f"expected TOPIC/PARTITION/OFFSET, got {text!r}")
        return cls(topic, int(partition), int(offset))


@dataclass(frozen=True, slots=True)
class ErrorRecord:
    """An error: the record that failed, as it was, and why."""

    origin: Origin
    fields: Mapping[str, Any]  # of schemas/errors.avsc

    @property
    def headers(self) -> Headers:
        return [(header["name"], header["value"]) for header in self.fields["headers"]]

    @property
    def attempts(self) -> int:
        """How often its original was redriven before it failed this time."""
        found = dict(self.headers)
        if HEADER not in found:
            return 0
        counted = found.get(ATTEMPTS_HEADER) or b""
        return int(counted) if counted.isdigit() else 1


def read_errors(log: Log, errors_topic: str = "errors") -> Iterator[ErrorRecord]:
    """Every error that the topic holds, by partition in order. Raises UnreadableError."""
    with closing(log.registry()) as registry:
        decoder = JsonDecoder(partial(schema_named, registry))
        for record in read_all(log, errors_topic):
            if record.value is not None:
                fields = decoder.decode(record.value)
                missing = _FIELDS - (fields.keys() if isinstance(fields, dict) else set())
                if missing:
                    place = Origin(record.topic, record.partition, record.offset)
                    raise UnreadableError(f"{place} has no field {', '.join(sorted(missing))}")
                origin = Origin(fields["topic"], fields["partition"], fields["offset"])
                yield ErrorRecord(origin, fields)


@dataclass(slots=True)
class _Claim:
    run: str
    expires_ms: int
    # The lowest of all claims on this error: an earlier run may have written since its own.
    from_offset: int
    taken_over: bool


@dataclass(slots=True)
class Ledger:
    """What the topic of redrives says, replayed in its order."""

    topic: str
    done: set[Origin] = field(default_factory=set)
    claims: dict[Origin, _Claim] = field(default_factory=dict)
    _next_offset: int = 0

    def read_on(self, log: Log) -> None:
        """Replay what was written since the last time."""
        with closing(log.admin()) as admin:
            low, high = admin.bounds(self.topic)[0]
        start = max(low, self._next_offset)
        with closing(log.registry()) as registry:
            decoder = JsonDecoder(partial(schema_named, registry))
            for record in read_range(log, self.topic, {0: start}, {0: high}):
                assert record.value is not None, "only this module writes it"
                self._apply(decoder.decode(record.value))
        self._next_offset = high

    def _apply(self, entry: Mapping[str, Any]) -> None:
        origin = Origin(entry["topic"], entry["partition"], entry["offset"])
        if origin in self.done:
            return
        if entry["state"] == "done":
            self.done.add(origin)
            self.claims.pop(origin, None)
            return
        claim = self.claims.get(origin)
        if claim is None:
            self.claims[origin] = _Claim(
                entry["run"], entry["expires"], entry["from_offset"], False
            )
        elif claim.run == entry["run"]:
            claim.expires_ms = entry["expires"]
        elif claim.expires_ms <= entry["at"]:
            from_offset = min(claim.from_offset, entry["from_offset"])
            self.claims[origin] = _Claim(entry["run"], entry["expires"], from_offset, True)


@dataclass(slots=True)
class Outcome:
    """What a redrive came to."""

    redriven: int = 0
    already: int = 0  # redriven before, by this or another run

    def add(self, other: "Outcome") -> None:
        self.redriven += other.redriven
        self.already += other.already


class Redriver:
    """One run. Not safe for use by several threads; any number of runs may go on at once."""

    def __init__(self, log: Log, errors_topic: str = "errors", lease_s: float = LEASE_S) -> None:
        self._log = log
        self._lease_ms = int(lease_s * 1000)
        self._run = uuid.uuid4().hex
        self._topic = redrives_topic(errors_topic)
        self._ledger = Ledger(self._topic)
        with closing(log.registry()) as registry:
            registered = registry.latest(subject_of(self._topic))
        self._encoder = JsonEncoder(registered.schema, registered.id)

    def redrive(self, failures: Iterable[ErrorRecord]) -> Outcome:
        """Write back each original that was not written back yet. Waits for claims of runs that
        died to expire."""
        outcome = Outcome()
        with closing(self._log.writer()) as writer, closing(self._log.admin()) as admin:
            left = iter(failures)
            while chunk := list(islice(left, _CHUNK)):
                # By origin: an error may stand twice in the topic, its original must not.
                waiting = {failed.origin: failed for failed in chunk}
                while waiting:
                    self._ledger.read_on(self._log)
                    for origin in self._ledger.done & waiting.keys():
                        del waiting[origin]
                        outcome.already += 1
                    free = [failed for failed in waiting.values() if self._is_free(failed.origin)]
                    outcome.add(self._redrive_free(free, writer, admin))
                    for failed in free:
                        if failed.origin in self._ledger.done:
                            del waiting[failed.origin]
                    if waiting:
                        self._wait_for_others(waiting)
        return outcome

    def _is_free(self, origin: Origin) -> bool:
        claim = self._ledger.claims.get(origin)
        return claim is None or claim.run == self._run or claim.expires_ms <= _now_ms()

    def _redrive_free(
        self, failures: list[ErrorRecord], writer: LogWriter, admin: LogAdmin
    ) -> Outcome:
        """Claim, see which claims hold, write those back, say done."""
        if not failures:
            return Outcome()
        bounds = {topic: admin.bounds(topic) for topic in {f.origin.topic for f in failures}}
        for failed in failures:
            if failed.origin.partition not in bounds[failed.origin.topic]:
                raise LogError(
                    f"redrive {failed.origin}: expected topic {failed.origin.topic!r} to have "
                    f"partition {failed.origin.partition}, got "
                    f"{len(bounds[failed.origin.topic])} partitions; was it made anew?"
                )
        claimed_ms = _now_ms()
        ends = {f.origin: bounds[f.origin.topic][f.origin.partition].high for f in failures}
        self._enter("claimed", ends, writer, expires_ms=claimed_ms + self._lease_ms)
        self._ledger.read_on(self._log)
        claims = self._ledger.claims
        mine = [f for f in failures if f.origin in claims and claims[f.origin].run == self._run]
        written = self._find_written([f.origin for f in mine if claims[f.origin].taken_over], admin)
        if _now_ms() - claimed_ms > self._lease_ms // 2:
            return Outcome()  # too slow to be sure of the claims: claim again

        # The original's own partition: where its neighbours by key went, whoever partitioned them.
        to_write = [f for f in mine if f.origin not in written]
        for topic in bounds:
            writer.write(topic, [_original(f) for f in to_write if f.origin.topic == topic])
        writer.flush(self._lease_ms / 2000)
        self._enter("done", {f.origin: ends[f.origin] for f in mine}, writer)
        self._ledger.done.update(f.origin for f in mine)
        return Outcome(redriven=len(to_write), already=len(written))

    def _enter(
        self,
        state: str,
        ends: Mapping[Origin, int],
        writer: LogWriter,
        expires_ms: int | None = None,
    ) -> None:
        now_ms = _now_ms()
        entries = [
            Outgoing(
                str(origin).encode(),
                self._encoder.encode(
                    {
                        **origin._asdict(),
                        "state": state,
                        "run": self._run,
                        "from_offset": end,
                        "at": now_ms,
                        "expires": now_ms if expires_ms is None else expires_ms,
                    }
                ),
                partition=0,
            )
            for origin, end in ends.items()
        ]
        writer.write(self._topic, entries)
        writer.flush(self._lease_ms / 2000)

    def _find_written(self, origins: list[Origin], admin: LogAdmin) -> set[Origin]:
        """Those whose originals a run that died has written back."""
        found: set[Origin] = set()
        names = {str(origin).encode(): origin for origin in origins}
        for topic in {origin.topic for origin in origins}:
            bounds = admin.bounds(topic)
            starts: dict[int, int] = {}
            for origin in (o for o in origins if o.topic == topic):
                start = self._ledger.claims[origin].from_offset
                low = bounds[origin.partition].low
                starts[origin.partition] = max(low, min(start, starts.get(origin.partition, start)))
            stops = {p: bounds[p].high for p in starts}
            for record in read_range(self._log, topic, starts, stops):
                found.update(
                    names[value]
                    for name, value in record.headers
                    if name == HEADER and value in names
                )
        return found

    def _wait_for_others(self, waiting: Iterable[Origin]) -> None:
        """Until the first claim of another run may be taken over; it may be done before."""
        expiries = [
            claim.expires_ms for o in waiting if (claim := self._ledger.claims.get(o)) is not None
        ]
        wait_ms = min(expiries, default=0) - _now_ms()
        time.sleep(min(max(wait_ms / 1000, 0.0), 0.5))


def _original(failed: ErrorRecord) -> Outgoing:
    kept = [(n, value) for n, value in failed.headers if n not in (HEADER, ATTEMPTS_HEADER)]
    attempts = str(failed.attempts + 1).encode()
    headers = [*kept, (HEADER, str(failed.origin).encode()), (ATTEMPTS_HEADER, attempts)]
    return Outgoing(
        failed.fields["key"], failed.fields["value"], headers, partition=failed.origin.partition
    )


def _now_ms() -> int:
    return int(time.time() * 1000)
