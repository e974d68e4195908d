"""Writes ticks: how far the inputs have come, every so often, and in steps through a backlog."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

from streamrec.connectors.log import Log, LogAdmin, LogError, LogWriter, Outgoing
from streamrec.connectors.ticks.tick import Ends, Tick, TickCodec, last_tick

_logger = logging.getLogger(__name__)

_FLUSH_S = 30.0
_RETRY_S = 2.0
_STEP_MS = 1_000  # of the log's time, at first
_LAST_S = 1.0  # at most, between ticks of a finite run that is covered


@dataclass(frozen=True, slots=True)
class TickOptions:
    """What ticks are written of, and how often."""

    topics: Sequence[str]  # whose ends they hold
    every_s: float
    # So many records at most, of all topics, between two ticks: what is between is held in memory.
    records_max: int
    until: Callable[[], Ends] | None = None  # of a finite run, as this process sees it
    stopping: Callable[[], bool] = lambda: False


class TickWriter:
    """Writes from a thread until the process ends: of a finite run, too, since other processes may
    have begun when more had come, or wait for a first tick."""

    def __init__(self, log: Log, codec: TickCodec, options: TickOptions) -> None:
        self._log = log
        self._codec = codec
        self._options = options
        self._step_ms = _STEP_MS
        self._ahead_ms: int | None = None  # of our time before the monotonic clock

    def start(self) -> None:
        threading.Thread(target=self._run, name="ticks", daemon=True).start()

    def _run(self) -> None:
        while not self._options.stopping():
            try:
                self._write_all()
                return
            except LogError as error:
                _logger.warning("ticks wait: %s", error)
            except Exception as error:  # or all would wait for ticks, and nobody would know why
                _logger.exception("ticks wait: %r", error)
            time.sleep(_RETRY_S)

    def _write_all(self) -> None:
        options = self._options
        with closing(self._log.admin()) as admin, closing(self._log.writer()) as writer:
            last = last_tick(self._log, self._codec) or Tick(-1, 0, {})
            while not options.stopping():
                if options.until is not None and last.covers(options.until()):
                    time.sleep(min(_LAST_S, options.every_s))
                began_s = time.monotonic()
                last, is_caught_up = self._next(admin, last)
                self._write(writer, last)
                if is_caught_up:
                    time.sleep(max(0.0, options.every_s - (time.monotonic() - began_s)))

    def _write(self, writer: LogWriter, tick: Tick) -> None:
        value = self._codec.value(tick.time_ms, tick.ends)
        writer.write(self._codec.topic, [Outgoing(None, value, partition=0)])
        writer.flush(_FLUSH_S)

    def _next(self, admin: LogAdmin, last: Tick) -> tuple[Tick, bool]:
        """The tick after the last one, and whether it is of now.

        Time is looked at before the ends: whatever is written later stands behind them.
        """
        now_ms = self._now_ms(last)
        names = self._options.topics
        ends = {name: admin.ends(name, committed=True) for name in names}
        begins = {name: self._begins(admin, name, last) for name in names}
        if _count(begins, ends) <= self._options.records_max:
            return Tick(-1, now_ms, _latest(begins, ends)), True
        return self._step(admin, begins, ends, last.time_ms, now_ms), False

    def _now_ms(self, last: Tick) -> int:
        """The wall clock's time at the start, or that of the last tick before if it was later, and
        what has passed since: steps count by how far they are from each other, and a clock that is
        set makes none of them longer, nor holds them up."""
        passed_ms = int(time.monotonic() * 1_000)
        if self._ahead_ms is None:
            self._ahead_ms = max(int(time.time() * 1_000), last.time_ms) - passed_ms
        return max(self._ahead_ms + passed_ms, last.time_ms)

    def _begins(self, admin: LogAdmin, topic: str, last: Tick) -> dict[int, int]:
        """Where the last tick left off, or what retention has left begins."""
        reached = last.ends.get(topic, {})
        return {p: max(bound.low, reached.get(p, 0)) for p, bound in admin.bounds(topic).items()}

    def _step(self, admin: LogAdmin, begins: Ends, ends: Ends, since_ms: int, now_ms: int) -> Tick:
        """Through a backlog by the log's time, so that partitions stay abreast of each other."""
        most = self._options.records_max
        low_ms = until_ms = since_ms
        found: Ends = begins
        while until_ms < now_ms:
            until_ms = min(now_ms, low_ms + self._step_ms)
            found = {name: admin.offsets_at(name, until_ms) for name in begins}
            count = _count(begins, found)
            if count > most and self._step_ms > 1:
                self._step_ms = max(1, self._step_ms // 4)
                until_ms = low_ms
                continue
            if count < most // 4:
                self._step_ms *= 2
            if count:
                break
            low_ms = until_ms
        share, by_time = most, found
        if until_ms >= now_ms or _count(begins, found) > most:
            # Where many are of one time, or of none, or of one to come, it goes by count.
            share = max(1, most // max(1, sum(map(len, begins.values()))))
            by_time = found if until_ms < now_ms else ends
        cut = {
            name: {
                p: min(by_time[name].get(p, end), end, begins[name].get(p, 0) + share)
                for p, end in of_topic.items()
            }
            for name, of_topic in ends.items()
        }
        return Tick(-1, max(since_ms, until_ms), _latest(begins, cut))


def _count(begins: Ends, ends: Ends) -> int:
    return sum(
        max(0, end - begins[name].get(p, 0))
        for name, of_topic in ends.items()
        for p, end in of_topic.items()
    )


def _latest(begins: Ends, ends: Ends) -> Ends:
    """Ends do not go back."""
    return {
        name: {p: max(end, begins[name].get(p, 0)) for p, end in of_topic.items()}
        for name, of_topic in ends.items()
    }


__all__ = ["TickOptions", "TickWriter"]
