"""What a run tells of itself: how it starts, how it is doing, and how it ended."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from streamrec.connectors.log import Log, LogError

_logger = logging.getLogger(__name__)

_LISTED = 16  # partitions

_Place = tuple[str, str]  # topic, and who reads it


class Report:
    """Counts of one process, by all of its workers. Each call takes a microsecond, once a batch."""

    def __init__(self, flow_id: str) -> None:
        self.flow_id = flow_id
        self.facts: dict[str, str] = {}  # what the lines name besides: model
        self._lock = threading.Lock()
        self._read = 0
        self._written: Counter[str] = Counter()  # by topic
        self._reasons: Counter[str] = Counter()
        self._positions: dict[_Place, dict[int, int]] = {}
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

    def read(self, topic: str, count: int, positions: Mapping[int, int], reader: str = "") -> None:
        """Records were read; `positions` are the next offsets of their partitions."""
        with self._lock:
            self._read += count
            self._positions.setdefault((topic, reader), {}).update(positions)

    def wrote(self, topic: str, count: int) -> None:
        """Records were written to a topic; "" for those that are not told."""
        with self._lock:
            self._written[topic] += count

    def failed(self, reasons: Iterable[str]) -> None:
        with self._lock:
            self._reasons.update(reasons)

    def line(self, log: Log) -> str:
        """How it is doing, since the last such line and in all."""
        now_s = time.monotonic()
        with self._lock:
            read = self._read
            positions = [(topic, dict(at)) for (topic, _), at in self._positions.items()]
            (last_s, last), self._last = self._last, (now_s, read)
        rate = (read - last) / max(now_s - last_s, 1e-3)
        return f"{self.flow_id}: {read:,} read ({rate:,.0f}/s), {self._counts()}, lag " + (
            _lag(log, positions)
        )

    def summary(self) -> str:
        """What it did in all."""
        took_s = time.monotonic() - self._began_s
        rate = self._read / max(took_s, 1e-3)
        return (
            f"{self.flow_id} ended in good order: {self._read:,} read in {took_s:.1f} s "
            f"({rate:,.0f}/s), {self._counts()}"
        )

    def _counts(self) -> str:
        with self._lock:
            written = [
                f"{count:,} to {topic}" for topic, count in sorted(self._written.items()) if topic
            ]
            reasons = [f"{count:,} {reason}" for reason, count in self._reasons.most_common()]
        parts = [", ".join(written) or "none written", f"{self._reasons.total():,} errors"]
        if reasons:
            parts[-1] += f" ({', '.join(reasons)})"
        parts += [f"{name} {text}" for name, text in self.facts.items()]
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class ReaderReport:
    """What the sources of one reader tell of themselves."""

    report: Report
    reader: str  # "": the only one

    def began(self, topic: str, positions: Mapping[int, int], resumed: int) -> None:
        self.report.began(topic, positions, resumed, self.reader)

    def read(self, topic: str, count: int, positions: Mapping[int, int]) -> None:
        self.report.read(topic, count, positions, self.reader)


def _lag(log: Log, positions: Sequence[tuple[str, Mapping[int, int]]]) -> str:
    lag = 0
    try:
        with closing(log.admin()) as admin:
            for topic, at in positions:
                ends = admin.ends(topic, committed=True)
                lag += sum(max(0, ends.get(p, offset) - offset) for p, offset in at.items())
    except LogError as error:
        return f"unknown ({error})"
    return f"{lag:,}"


def report_every(report: Report, log: Log, every_s: float) -> None:
    """Log a line of status every so often, from a thread, until the process ends."""

    def run() -> None:
        while True:
            time.sleep(every_s)
            _logger.info("%s", report.line(log))

    threading.Thread(target=run, name="status", daemon=True).start()
