"""What a run tells of itself: how it starts, how it is doing, and how it ended."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from streamrec.connectors.log import Log, LogError, RawBatch
from streamrec.connectors.out import Out
from streamrec.dataflows.engine.epoch_times import EpochTimes
from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.job.counts import STORE, FlowCounts, Place
from streamrec.dataflows.job.lag import lags_of
from streamrec.dataflows.job.traced import FlowTraces
from streamrec.services.store.contract import Item

_logger = logging.getLogger(__name__)

_LISTED = 16  # partitions


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model that answers in this process."""

    name: str
    version: str
    made_s: float | None = None  # when its file was written, Unix seconds; None: it has none


class Report:
    """Counts of one process, by all of its workers. Each call takes microseconds, once a batch."""

    def __init__(self, flow_id: str) -> None:
        self.flow_id = flow_id
        self.facts: dict[str, str] = {}  # what the lines name besides: model
        self.models: list[ServedModel] = []
        self.traces: FlowTraces | None = None  # None: nobody asked for them
        self.epochs = EpochTimes(lambda: self._counts.read.total())
        self._lock = threading.Lock()
        self._counts = FlowCounts()
        self._positions: dict[Place, dict[int, int]] = {}
        self._began_s = time.monotonic()
        self._last = (self._began_s, 0)

    def of_reader(self, reader: str) -> "ReaderReport":
        """What a source of this reader tells."""
        return ReaderReport(self, reader)

    def began(
        self, topic: str, positions: Mapping[int, int], resumed: int, reader: str = ""
    ) -> None:
        """A worker reads these partitions from here; `resumed` of them from a snapshot."""
        if not positions:
            return
        with self._lock:
            self._positions.setdefault((topic, reader), {}).update(positions)
        listed = ", ".join(f"{p}:{at}" for p, at in sorted(positions.items())[:_LISTED])
        more = f" and {len(positions) - _LISTED} more" if len(positions) > _LISTED else ""
        how = "" if not resumed else f", {resumed} of them where the last run was saved"
        what = f"{topic} for {reader}" if reader else topic
        _logger.info(
            "%s reads %s from partition:offset %s%s%s", self.flow_id, what, listed, more, how
        )

    def read(
        self,
        topic: str,
        batches: Sequence[RawBatch],
        positions: Mapping[int, int],
        reader: str = "",
    ) -> None:
        """Records were read, or none; `positions` are the next offsets of their partitions."""
        if self.traces is not None:
            self.traces.read(batches)
        with self._lock:
            self._positions.setdefault((topic, reader), {}).update(positions)
            if batches:
                self._counts.took((topic, reader), batches)

    def wrote(self, topic: str, is_errors: bool, out: Out) -> None:
        """Records were written to a topic, of errors or not."""
        now_ms = time.time() * 1_000
        with self._lock:
            self._counts.gave(topic, is_errors, out, now_ms)

    def stored(self, items: Sequence[Item]) -> None:
        """Values of users were put into the store."""
        now_ms = time.time() * 1_000
        with self._lock:
            self._counts.stored(items, now_ms)
        if self.traces is not None:
            self.traces.stored(STORE, len(items))

    def failed(self, failed: Iterable[Failed]) -> None:
        with self._lock:
            self._counts.errors.update((str(each.reason), each.stage) for each in failed)

    def counts(self) -> FlowCounts:
        """All there is so far."""
        with self._lock:
            return self._counts.copy()

    def positions(self) -> dict[Place, dict[int, int]]:
        """By topic and reader, the next offset of each partition that is read."""
        with self._lock:
            return {place: dict(at) for place, at in self._positions.items()}

    def line(self, log: Log) -> str:
        """How it is doing, since the last such line and in all."""
        now_s = time.monotonic()
        with self._lock:
            read = self._counts.read.total()
            (last_s, last), self._last = self._last, (now_s, read)
        rate = (read - last) / max(now_s - last_s, 1e-3)
        return f"{self.flow_id}: {read:,} read ({rate:,.0f}/s), {self._told()}, lag " + (
            _lag(log, self.positions())
        )

    def summary(self) -> str:
        """What it did in all."""
        took_s = time.monotonic() - self._began_s
        read = self._counts.read.total()
        rate = read / max(took_s, 1e-3)
        return (
            f"{self.flow_id} ended in good order: {read:,} read in {took_s:.1f} s "
            f"({rate:,.0f}/s), {self._told()}"
        )

    def _told(self) -> str:
        counts = self.counts()
        written = [
            f"{count:,} to {topic}"
            for topic, count in sorted(counts.written.items())
            if topic not in counts.errors_topics
        ]
        reasons = Counter[str]()
        for (reason, _), count in counts.errors.items():
            reasons[reason] += count
        parts = [", ".join(written) or "none written", f"{reasons.total():,} errors"]
        if reasons:
            listed = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
            parts[-1] += f" ({listed})"
        parts += [f"{name} {text}" for name, text in self.facts.items()]
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class ReaderReport:
    """What the sources of one reader tell of themselves."""

    report: Report
    reader: str  # "": the only one

    def began(self, topic: str, positions: Mapping[int, int], resumed: int) -> None:
        self.report.began(topic, positions, resumed, self.reader)

    def read(self, topic: str, batches: Sequence[RawBatch], positions: Mapping[int, int]) -> None:
        self.report.read(topic, batches, positions, self.reader)


def _lag(log: Log, positions: Mapping[Place, Mapping[int, int]]) -> str:
    try:
        with closing(log.admin()) as admin:
            return f"{sum(lags_of(admin, positions).values()):,}"
    except LogError as error:
        return f"unknown ({error})"


def report_every(report: Report, log: Log, every_s: float) -> None:
    """Log a line of status every so often, from a thread, until the process ends."""

    def run() -> None:
        while True:
            time.sleep(every_s)
            _logger.info("%s", report.line(log))

    threading.Thread(target=run, name="status", daemon=True).start()
