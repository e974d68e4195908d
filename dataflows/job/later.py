"""Answers that come later: what is asked, what waits, and what a restart asks again.

The asking is not done here: `ask` hands an item to whatever answers it (a model in a process of its
own, a pool of threads, a service) and returns at once.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, Protocol

from streamrec.connectors.allowance import Allowance
from streamrec.connectors.log import RawBatch
from streamrec.dataflows.engine.sealing import sealed_waiting, waiting_of
from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.job.plain_batches import PlainBatch, batch_of_plain, plain_of, size_of


class Promise(Protocol):
    """What comes of one item, in its own time; `concurrent.futures.Future` is one."""

    def done(self) -> bool: ...

    def result(self) -> Iterable[Any]:
        """What comes of the item, in order; what failed among it. Asked once it is done. What it
        raises stops the flow."""


class Item(Protocol):
    """What is asked about: one or more records, as they came."""

    def raw(self) -> Sequence[RawBatch]:
        """The records, so that a restart can ask again."""


Ask = Callable[[Any], "Promise | list[Any]"]
# Items of records as they came, and `Failed`s: what decodes them in the step before does.
Again = Callable[[list[RawBatch]], Iterable[Any]]


class _Asked(NamedTuple):
    batches: list[PlainBatch]
    answer: Promise


@dataclass(slots=True)
class _Load:
    """What waits of one topic."""

    records: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Known:
    """An answer that is there, but must wait for those before it."""

    items: list[Any]

    def done(self) -> bool:
        return True

    def result(self) -> list[Any]:
        return self.items


@dataclass(frozen=True, slots=True)
class AskLater:
    """How a step answers later, for `answer_later`; `Job.later` makes it."""

    ask: Ask
    again: Again
    allowances: Mapping[str, Allowance] = field(default_factory=dict)  # by topic, on the log
    stopping: Callable[[], bool] = lambda: False
    wait_s: float = 0.005

    def shard(self, resume: Any) -> "Waiting":
        """The logic of one shard, from what its snapshot held; None: it is new. What had no answer
        is asked again at once."""
        waiting = Waiting(self)
        for plain in waiting_of(resume):
            waiting.ask_again(plain)
        return waiting


class Waiting:
    """The items of one shard that wait for their answers. They come out in the order in which they
    were taken; each is one call of `ask`."""

    def __init__(self, answers: AskLater) -> None:
        self.wait_s = answers.wait_s
        self._answers = answers
        self._waiting: deque[_Asked] = deque()
        self._loads = {topic: _Load() for topic in answers.allowances}

    @property
    def pending(self) -> int:
        return len(self._waiting)

    def take(self, values: list[Any]) -> list[Any]:
        found: list[Any] = []
        for item in values:
            answer = self._answers.ask(item)
            if isinstance(answer, list) and not self._waiting:
                found += answer
            else:
                self._wait(item.raw(), answer)
        if self._waiting:
            self._tell()
        return found

    def ask_again(self, plain: PlainBatch) -> None:
        """What a snapshot held."""
        for item in self._answers.again([batch_of_plain(plain)]):
            if isinstance(item, Failed):
                self._wait([batch_of_plain(_of_failed(plain, item))], [item])
            else:
                self._wait(item.raw(), self._answers.ask(item))
        self._tell()

    def ready(self) -> list[Any]:
        waiting, found = self._waiting, list[Any]()
        if not waiting or not waiting[0].answer.done():
            return found
        while waiting and waiting[0].answer.done():
            found += waiting[0].answer.result()
            self._count(waiting.popleft(), -1)
        self._tell()
        return found

    def snapshot(self) -> dict[str, Any] | None:
        """The records that have no answer, with all that they carry."""
        if not self._waiting:
            return None
        return sealed_waiting([plain for each in self._waiting for plain in each.batches])

    def _wait(self, raw: Sequence[RawBatch], answer: "Promise | list[Any]") -> None:
        if isinstance(answer, list):
            answer = _Known(answer)
        asked = _Asked([plain_of(batch) for batch in raw], answer)
        self._waiting.append(asked)
        self._count(asked, 1)

    def _count(self, asked: _Asked, sign: int) -> None:
        for plain in asked.batches:
            load = self._loads.get(plain["topic"])
            if load is not None:
                load.records += sign * len(plain["offsets"])
                load.bytes += sign * size_of(plain)

    def _tell(self) -> None:
        """Let the sources know what waits."""
        for topic, load in self._loads.items():
            firsts = partial(self._firsts, topic)
            self._answers.allowances[topic].waits(self, load.records, load.bytes, firsts)

    def _firsts(self, topic: str) -> dict[int, int]:
        found: dict[int, int] = {}
        for asked in list(self._waiting):  # which another thread may change
            for plain in asked.batches:
                if plain["topic"] == topic:
                    partition, offset = plain["partition"], plain["offsets"][0]
                    found[partition] = min(offset, found.get(partition, offset))
        return found


def _of_failed(plain: PlainBatch, failed: Failed) -> PlainBatch:
    """The record that failed, of those that were asked again."""
    index = plain["offsets"].index(failed.offset)
    columns = ("offsets", "values", "keys", "headers", "times_ms")
    chosen = {name: plain[name] and [plain[name][index]] for name in columns}
    return {**plain, **chosen}


__all__ = ["Again", "Ask", "AskLater", "Item", "Promise", "Waiting"]
