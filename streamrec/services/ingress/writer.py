"""One thread that owns the log's appender: it takes all that waits, writes it, and answers each.

While a batch is under way others gather, so that batches grow with the load and nobody waits for a
timer. A log that is away is noticed by the batch that is not acknowledged: until it is, whoever
comes is refused at once.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from streamrec.connectors.log import (
    Appending,
    Log,
    LogAppender,
    LogError,
    Outgoing,
    Place,
    TooLargeError,
    UnknownTopicError,
)
from streamrec.services.http.problems import Problem

_logger = logging.getLogger(__name__)

AWAY_S = 2.0  # how long a batch may be unacknowledged before the log counts as away
_AGAIN_S = 0.5  # after a batch that failed: so long none is taken, then the next one tries
_BATCH_MESSAGES = 5_000
_LOOK_S = 0.1
_GIVE_UP_LOOK_S = 0.2

_OF_MESSAGES = (TooLargeError, UnknownTopicError)  # what says nothing of others

Written = Place | LogError
Item = tuple[str, Outgoing]  # topic and message


@dataclass(slots=True, eq=False)
class _Job:
    """What one request has to write, and whom to tell."""

    items: Sequence[Item]
    done: "asyncio.Future[list[Written]]"
    give_up_s: float  # of the loop's clock
    settled: Callable[[Sequence[Written]], None] | None  # told in any case, also when it is late


class Writer:
    """Owned by one event loop; `append` is called in it."""

    def __init__(
        self, log: Log, queue_messages: int, ack_timeout_s: float, topics: Sequence[str] = ()
    ) -> None:
        self._log = log
        self._queue_messages = queue_messages
        self._ack_timeout_s = ack_timeout_s
        self._topics = topics
        self._loop: asyncio.AbstractEventLoop | None = None
        self._jobs: deque[_Job] = deque()  # that the thread has not taken
        self._open: deque[_Job] = deque()  # of which it is not known what has become
        self._timer: asyncio.TimerHandle | None = None
        self.waiting = 0  # messages that are not acknowledged
        self._wake = threading.Condition()
        self._closing = False
        self._batch_began_s: float | None = None
        self._refuse_until_s = 0.0
        self._why_away = "the log does not answer"
        self._why_not_open: str | None = "the log is not open yet"
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to write, in a thread. To be called in the loop."""
        self._loop = asyncio.get_running_loop()
        self._give_up()
        self._thread = threading.Thread(target=self._run, name="ingress-writer", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 15.0) -> None:
        """Write what waits, then close. To be called outside the loop's thread."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def close(self) -> None:
        """Look no more whose time is over. To be called in the loop, at the end."""
        if self._timer is not None:
            self._timer.cancel()

    def why_away(self) -> str | None:
        """Why nothing can be written now; None: it can, as far as is known."""
        if self._why_not_open is not None:
            return self._why_not_open
        began_s, now_s = self._batch_began_s, time.monotonic()
        if began_s is not None and now_s - began_s > AWAY_S:
            return f"the log has not acknowledged anything for {now_s - began_s:.0f} s"
        return self._why_away if now_s < self._refuse_until_s else None

    def check(self) -> None:
        """Raises Problem (503) where nothing can be written now."""
        if (why := self.why_away()) is not None:
            raise Problem(503, f"nothing was written: {why}", retry_after_s=1)

    async def append(
        self,
        items: Sequence[Item],
        settled: Callable[[Sequence[Written]], None] | None = None,
        began: Callable[[], None] | None = None,
    ) -> list[Written]:
        """Where each message stands, or why it does not. Raises Problem (503): at once where the
        log is away or too much waits, else when it was not acknowledged in time. `settled` is told
        once it is known, also after that, where `began` was told that it will be."""
        self.check()
        if self.waiting + len(items) > self._queue_messages and self.waiting:
            raise Problem(
                503,
                f"nothing was written: {self.waiting} events wait already, of "
                f"{self._queue_messages} that may",
                retry_after_s=1,
            )
        assert self._loop is not None
        give_up_s = self._loop.time() + self._ack_timeout_s
        job = _Job(items, self._loop.create_future(), give_up_s, settled)
        self._open.append(job)
        self.waiting += len(items)
        if began is not None:
            began()
        with self._wake:
            self._jobs.append(job)
            self._wake.notify()
        return await job.done

    def _give_up(self) -> None:
        """Tell those whose time is over: one look at all, for a timer each would cost more than
        what they wait for."""
        assert self._loop is not None
        now_s = self._loop.time()
        for job in self._open:
            if job.give_up_s > now_s:
                break
            if not job.done.done():
                job.done.set_exception(
                    Problem(
                        503,
                        f"the log did not acknowledge it within {self._ack_timeout_s:g} s: it may "
                        "be written, or not; send it again with the same event id",
                        retry_after_s=1,
                    )
                )
        self._timer = self._loop.call_later(_GIVE_UP_LOOK_S, self._give_up)

    def _run(self) -> None:
        appender: LogAppender | None = None
        try:
            while True:
                if appender is None:
                    appender = self._opened()
                    if appender is None:
                        return
                jobs = self._take()
                if jobs is None:
                    return
                if not self._write(appender, jobs):
                    self._why_not_open = "the log is being opened again"
                    _close(appender)
                    appender = None
        finally:
            self._why_not_open = "nothing is written any more"
            if appender is not None:
                _close(appender)
            self._refuse(LogError(self._why_not_open))

    def _opened(self) -> LogAppender | None:
        """An appender that has seen its topics; None: this was stopped before."""
        while not self._closing:
            appender = None
            try:
                appender = self._log.appender()
                for topic in self._topics:
                    appender.prepare(topic)
            except Exception as error:  # noqa: BLE001  # the thread must live on, as in `_write`
                self._why_not_open = "the log cannot be opened"
                _logger.warning("%s", error)
                if appender is not None:
                    _close(appender)
                self._refuse(_as_log_error(error))
                with self._wake:
                    self._wake.wait_for(lambda: self._closing, _AGAIN_S)
            else:
                self._why_not_open = None
                return appender
        return None

    def _take(self) -> list[_Job] | None:
        """All that waits; None: nothing will."""
        with self._wake:
            while not self._jobs:
                if self._closing:
                    return None
                self._wake.wait()
            jobs: list[_Job] = []
            count = 0
            while self._jobs and count < _BATCH_MESSAGES:
                jobs.append(self._jobs.popleft())
                count += len(jobs[-1].items)
            return jobs

    def _write(self, appender: LogAppender, jobs: list[_Job]) -> bool:
        """Write a batch, for as long as it takes; False: the appender is of no more use."""
        began_s = self._batch_began_s = time.monotonic()
        is_told = False
        try:
            appending = appender.begin([item for job in jobs for item in job.items])
            while not appender.wait(appending, _LOOK_S):
                waited_s = time.monotonic() - began_s
                if waited_s > AWAY_S and not is_told:
                    is_told = True
                    _logger.warning("the log has not acknowledged anything for %.0f s", waited_s)
                if self._closing and waited_s > self._ack_timeout_s:
                    appending.settle_rest(LogError("the service was asked to stop"))
        except Exception as error:  # noqa: BLE001  # the thread must live on, and those who wait be told
            appending = Appending(sum(len(job.items) for job in jobs))
            appending.settle_rest(_as_log_error(error))
        finally:
            self._batch_began_s = None
        if is_told:
            _logger.info("the log acknowledges again")
        failed = [each for each in appending.results if _is_of_the_log(each)]
        if failed and len(failed) == len(appending.results):
            self._why_away = "the log did not take what came before"
            self._refuse_until_s = time.monotonic() + _AGAIN_S
            _logger.warning("%s", failed[0])
        # All are settled by now.
        self._tell(jobs, [each for each in appending.results if each is not None])
        return not failed

    def _refuse(self, error: LogError) -> None:
        with self._wake:
            jobs, self._jobs = list(self._jobs), deque()
        if jobs:
            self._tell(jobs, [error] * sum(len(job.items) for job in jobs))

    def _tell(self, jobs: Sequence[_Job], results: Sequence[Written]) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._settle, jobs, results)
        except RuntimeError:  # the loop has gone: so have those who asked
            _logger.debug("nobody waits for %d events any more", len(results))

    def _settle(self, jobs: Sequence[_Job], results: Sequence[Written]) -> None:
        at = 0
        for job in jobs:
            end = at + len(job.items)
            own = list(results[at:end])
            if job.settled is not None:
                job.settled(own)
            if not job.done.done():
                job.done.set_result(own)
            at = end
            self._open.popleft()  # jobs are settled in the order in which they came
        self.waiting -= at


def _close(appender: LogAppender) -> None:
    """Whatever it says: another is opened, or nothing is written any more."""
    try:
        appender.close()
    except Exception as error:  # noqa: BLE001  # of any client
        _logger.warning("closing what writes to the log: %s", error)


def _as_log_error(error: Exception) -> LogError:
    """What was raised, as what is told of messages."""
    if isinstance(error, LogError):
        return error
    _logger.error("the log raised %s", type(error).__name__, exc_info=error)
    return LogError(f"{type(error).__name__}: {error}")


def _is_of_the_log(result: Written | None) -> bool:
    """Whether the log failed, and not one message."""
    return isinstance(result, LogError) and not isinstance(result, _OF_MESSAGES)


__all__ = ["AWAY_S", "Item", "Writer", "Written"]
