"""What a valid record is, beyond its schema, as data: one rule a line, each on one field.

    RULES = (TextLength("shop_id", 1, 64), Between("cents", 0, 10**12), EventTime("sold_at"))

A rule says what it expects, for messages, under which reason a record that breaks it fails, and
checks a column at once; a value without a column, as JSON has it, is judged by itself, alike.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.log import NO_TIMESTAMP_MS
from streamrec.schemas.columns import Bytes, Column, Numbers
from streamrec.schemas.reasons import Reason

MAX_TIME_MS = 253_402_300_799_999  # the end of year 9999: no reader of dates goes further
# From 1973 on in seconds, and up to 1973 in milliseconds: no record is as old as that.
SECONDS = (10**8, 10**11)

_INT64 = (-(2**63), 2**63 - 1)
_SHOWN_WHOLE = 256  # characters; of what is longer the beginning is shown
_SHOWN = 40


class Rule(Protocol):
    """A rule on one field. `broken` and `judge` answer which of `expected` is not so, counted from
    1; 0: all is as expected. `written_ms` are the log's own times, or NO_TIMESTAMP_MS."""

    kinds: ClassVar[tuple[str, ...]]  # Avro types that it can stand on

    @property
    def field(self) -> str: ...

    @property
    def reason(self) -> Reason: ...

    @property
    def expected(self) -> tuple[str, ...]: ...

    def broken(self, column: Column, written_ms: NDArray[np.int64]) -> NDArray[np.int8]:
        """(n,) of a column; one of an enum holds its symbols as text."""

    def judge(self, value: Any, written_ms: int) -> int:
        """Of a value of any kind, None where there is none."""


@dataclass(frozen=True, slots=True)
class TextLength:
    """A string (UTF-8) of so many bytes. A null is a string of none."""

    field: str
    least: int
    most: int
    reason: Reason = Reason.INVALID_VALUE
    kinds: ClassVar[tuple[str, ...]] = ("string", "bytes", "enum")

    @property
    def expected(self) -> tuple[str, ...]:
        return (f"a string of {self.least} to {self.most} bytes",)

    def broken(self, column: Column, written_ms: NDArray[np.int64]) -> NDArray[np.int8]:
        assert isinstance(column, Bytes)
        lengths = column.lengths
        if column.valid is not None:
            lengths = np.where(column.valid, lengths, 0)
        return ((lengths < self.least) | (lengths > self.most)).astype(np.int8)

    def judge(self, value: Any, written_ms: int) -> int:
        if not isinstance(value, str | None):
            return 1
        return int(not self.least <= len((value or "").encode()) <= self.most)


@dataclass(frozen=True, slots=True)
class Between:
    """A number from `low` to `high`, both included, or null. It must be whole where both are."""

    field: str
    low: float
    high: float
    reason: Reason = Reason.INVALID_VALUE
    kinds: ClassVar[tuple[str, ...]] = ("int", "long", "float", "double")

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def expected(self) -> tuple[str, ...]:
        return (f"{'an integer' if self.whole else 'a number'} from {self.low} to {self.high}",)

    def broken(self, column: Column, written_ms: NDArray[np.int64]) -> NDArray[np.int8]:
        assert isinstance(column, Numbers)
        values: NDArray[Any] = column.values
        low, high = self.low, self.high
        if values.dtype.kind == "f":
            values = values.astype(np.float64)  # or the bounds would be rounded to the column's
            good = (values >= low) & (values <= high)  # which NaN is not
            if self.whole:
                good &= np.floor(values) == values
        else:  # in integers, which a float does not hold from 2**53 on
            low = _INT64[0] if low < _INT64[0] else math.ceil(low)
            high = _INT64[1] if high > _INT64[1] else math.floor(high)
            good = (values >= low) & (values <= high) & (low <= _INT64[1]) & (high >= _INT64[0])
        if column.valid is not None:
            good |= ~column.valid
        return (~good).astype(np.int8)

    def judge(self, value: Any, written_ms: int) -> int:
        if value is None:
            return 0
        if not _is_number(value) or not self.low <= value <= self.high:
            return 1
        return int(self.whole and _whole(value) is None)


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of some values: strings, symbols of an enum, numbers, booleans; a null where None is one
    of them."""

    field: str
    values: tuple[str | float | bool | None, ...]
    reason: Reason = Reason.INVALID_VALUE
    kinds: ClassVar[tuple[str, ...]] = (
        *("string", "enum", "int", "long", "float", "double", "boolean"),
    )

    @property
    def expected(self) -> tuple[str, ...]:
        names = [v if isinstance(v, str) else shown(v) for v in self.values]
        return (f"one of {', '.join(names)}",)

    def broken(self, column: Column, written_ms: NDArray[np.int64]) -> NDArray[np.int8]:
        good = np.zeros(len(column), np.bool_)
        for value in self.values:
            if isinstance(column, Bytes) and isinstance(value, str):
                good |= _equal(column, value.encode())
            elif isinstance(column, Numbers) and not isinstance(value, str | None):
                good |= _equal_number(column, value)
        if column.valid is not None:
            good = np.where(column.valid, good, None in self.values)
        return (~good).astype(np.int8)

    def judge(self, value: Any, written_ms: int) -> int:
        # True is 1 to Python and not to JSON.
        return int(
            not any(
                isinstance(each, bool) is isinstance(value, bool) and each == value
                for each in self.values
            )
        )


@dataclass(frozen=True, slots=True)
class EventTime:
    """Unix milliseconds of an event: no seconds, before the year 10000, and at most `max_ahead_s`
    ahead of the record's own time in the log; None: as the settings say.

    How far ahead a time is goes by its own record and by nothing else, no clock and no neighbour:
    a replay judges as the first run did, whatever the batches.
    """

    field: str
    max_ahead_s: int | None = None
    reason: Reason = Reason.INVALID_VALUE
    kinds: ClassVar[tuple[str, ...]] = ("long",)

    @property
    def expected(self) -> tuple[str, ...]:
        return (
            "Unix milliseconds > 0",
            "Unix milliseconds",
            f"a time at most {self.max_ahead_s} s ahead of the record's own in the log",
            "Unix milliseconds before the year 10000",
        )

    def broken(self, column: Column, written_ms: NDArray[np.int64]) -> NDArray[np.int8]:
        assert isinstance(column, Numbers)
        times_ms = column.values.astype(np.int64)
        if column.valid is not None:
            times_ms[~column.valid] = 0
        out = np.zeros(len(times_ms), np.int8)
        out[times_ms > MAX_TIME_MS] = 4
        if self.max_ahead_s is not None:
            ahead = times_ms - self.max_ahead_s * 1_000 > written_ms
            out[ahead & (written_ms != NO_TIMESTAMP_MS)] = 3
        out[(times_ms >= SECONDS[0]) & (times_ms < SECONDS[1])] = 2
        out[times_ms <= 0] = 1
        return out

    def judge(self, value: Any, written_ms: int) -> int:
        time_ms = _whole(value)
        if time_ms is None or time_ms <= 0:
            return 1
        if SECONDS[0] <= time_ms < SECONDS[1]:
            return 2
        if self._is_ahead(time_ms, written_ms):
            return 3
        return 4 if time_ms > MAX_TIME_MS else 0

    def _is_ahead(self, time_ms: int, written_ms: int) -> bool:
        if self.max_ahead_s is None or written_ms == NO_TIMESTAMP_MS:
            return False
        return time_ms - self.max_ahead_s * 1_000 > written_ms


R = TypeVar("R", bound=Rule)


def settled(rules: Sequence[R], max_ahead_s: int) -> tuple[R, ...]:
    """The same, with what the settings say in those that leave it to them."""
    return tuple(
        replace(rule, max_ahead_s=max_ahead_s)
        if isinstance(rule, EventTime) and rule.max_ahead_s is None
        else rule
        for rule in rules
    )


def message_of(rule: Rule, which: int, got: Any) -> str:
    """What is wrong with a value that breaks a rule.

    >>> message_of(EventTime("at"), 2, 1_767_225_600)
    'field at expected Unix milliseconds, got 1767225600, which looks like seconds'
    """
    hint = ""
    if isinstance(rule, EventTime) and (time := _whole(got)) and (unit := unit_of(time)):
        hint = f", which looks like {unit}"
    return f"field {rule.field} expected {rule.expected[which - 1]}, got {shown(got)}{hint}"


def shown(value: Any) -> str:
    """A value in a message, shortened where it is long.

    >>> shown(None), shown("x"), shown(True)
    ('null', "'x'", 'true')
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return repr(value if len(value) <= _SHOWN_WHOLE else value[:_SHOWN] + "...")
    text = repr(value)
    return text if len(text) <= _SHOWN_WHOLE else text[:_SHOWN] + "..."


def unit_of(time: int) -> str:
    """The unit of a time of these decades, where it is not milliseconds.

    >>> unit_of(1_767_225_600), unit_of(1_767_225_600_000), unit_of(1_767_225_600_000_000)
    ('seconds', '', 'microseconds')
    """
    units = ((SECONDS[0], ""), (SECONDS[1], "seconds"), (10**14, ""), (10**17, "microseconds"))
    for end, unit in units:
        if time < end:
            return unit
    return "nanoseconds"


def whole_ms(value: Any) -> int | None:
    """A time as 64 bits hold it; None: the value is none."""
    found = _whole(value)
    return found if found is not None and _INT64[0] <= found <= _INT64[1] else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(value: Any) -> int | None:
    """The integer that a number is, as JSON has numbers: 3.0 is 3; None: it is none."""
    if not _is_number(value) or (isinstance(value, float) and not value.is_integer()):
        return None
    return int(value)


def _equal_number(column: Numbers, number: float | bool) -> NDArray[np.bool_]:
    """(n,): which rows are this number, or this boolean, which is no number here."""
    if isinstance(number, bool) is not (column.values.dtype == np.bool_):
        return np.zeros(len(column), np.bool_)
    found: NDArray[np.bool_] = column.values == number
    return found


def _equal(column: Bytes, text: bytes) -> NDArray[np.bool_]:
    """(n,): which rows are this text."""
    found: NDArray[np.bool_] = column.lengths == len(text)
    rows = np.flatnonzero(found)
    if len(text) and len(rows):
        places = column.starts[rows, None] + np.arange(len(text))
        wanted = np.frombuffer(text, np.uint8)
        found[rows] = (column.data[places] == wanted).all(axis=1)
    return found


__all__ = [
    "MAX_TIME_MS",
    "SECONDS",
    "Between",
    "EventTime",
    "OneOf",
    "Rule",
    "TextLength",
    "message_of",
    "settled",
    "shown",
    "unit_of",
    "whole_ms",
]
