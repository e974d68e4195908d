"""What waits for the model, in order: new records, and before them what is left of a killed batch.

A batch that killed its process is halved until the culprit is alone. With n records and one culprit
that is at most log2(n) + 1 calls that fail: the batch, and one of each two halves; where the first
half is answered the second needs no call of its own, it is halved at once.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class Run(Generic[T]):
    """Records that are called together and with no others."""

    records: list[T]
    guilty: bool = False  # a call with these has failed
    other: "Run[T] | None" = None  # of a first half: the second


class WaitingRecords(Generic[T]):
    def __init__(self) -> None:
        self._new: deque[T] = deque()
        self._runs: list[Run[T]] = []  # the last one is the next

    def __len__(self) -> int:
        return len(self._new) + sum(len(run.records) for run in self._runs)

    @property
    def suspects(self) -> bool:
        """Whether what comes next is left of a killed batch, to be called alone."""
        return bool(self._runs)

    def add(self, record: T) -> None:
        self._new.append(record)

    def take(self, most: int) -> Run[T]:
        """The next that are to be called together, at most `most` new ones."""
        while self._runs:
            run = self._runs.pop()
            if not run.guilty or len(run.records) == 1:
                return run
            middle = (len(run.records) + 1) // 2
            second = Run(run.records[middle:])
            self._runs += [second, Run(run.records[:middle], other=second)]
        return Run([self._new.popleft() for _ in range(min(most, len(self._new)))])

    def answered(self, run: Run[T]) -> None:
        if run.other is not None and self._runs and self._runs[-1] is run.other:
            run.other.guilty = True

    def failed(self, run: Run[T]) -> None:
        """Its call failed: halves come next."""
        self._runs.append(Run(run.records, guilty=True))

    def failed_at(self, run: Run[T], index: int) -> None:
        """Its call failed at a record, which comes alone, between those around it."""
        self._push(run.records[index + 1 :])
        self._push(run.records[index : index + 1])
        self._push(run.records[:index])

    def back(self, runs: Sequence[Run[T]]) -> None:
        """Runs that were taken last, in their order, come again as if they had not been taken."""
        for run in reversed(runs):
            if self._runs or run.guilty or run.other is not None:
                self._runs.append(run)
            else:
                self._new.extendleft(reversed(run.records))

    def around(self, run: Run[T], index: int) -> None:
        """A record of a run is done with, its neighbours come again."""
        self._push(run.records[index + 1 :])
        self._push(run.records[:index])

    def _push(self, records: list[T]) -> None:
        if records:
            self._runs.append(Run(records))


__all__ = ["Run", "WaitingRecords"]
