"""What the values of a column of times mean.

A number is taken for seconds, milliseconds, microseconds or nanoseconds by its size, each by
itself: from 1990 to 2100 the four do not meet, so that no other number in the file, and no batch,
can change what one means. Whatever else could be meant is refused, and an option says what it is.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamrec.connectors.click_files.cells import sample_column
from streamrec.connectors.click_files.rejecting import Checks, UnclearError
from streamrec.connectors.click_files.text import shown
from streamrec.schemas.timestamps import iso_ms

Unit = Literal["s", "ms", "us", "ns"]

_PER_MS: dict[Unit, float] = {"s": 1e-3, "ms": 1.0, "us": 1e3, "ns": 1e6}
_FIRST_MS, _END_MS = 631_152_000_000, 4_102_444_800_000  # the years 1990 to 2099
NUMBER = r"^\s*-?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?\s*$"
_ISO = r"^\s*(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d(?:\.\d{1,6})?) ?(?:Z|UTC|GMT|[+]00:?00)?\s*$"
_COMPACT = re.compile(r"(?:19[89]|20\d)\d[01]\d[0-3]\d(?:[0-2]\d[0-5]\d[0-5]\d)?")
_TURNED = re.compile(
    r"(\d{1,2})([/.-])(\d{1,2})\2(\d{4})"
    r"(?:[ T,]+(\d{1,2}):(\d\d)(?::(\d\d)(\.\d+)?)?\s*([AaPp])?(?:\.?[Mm]\.?)?)?"
)
_OTHER_FORMS = (
    "%d/%b/%Y:%H:%M:%S %z",  # of web servers
    "%b %d, %Y, %I:%M:%S %p",
    "%b %d, %Y %I:%M:%S %p",
    "%b %d, %Y",
    "%d %b %Y %H:%M:%S",
    "%d %b %Y",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d",
    "%m %d, %Y",  # of the older Amazon reviews
)
_KEPT_MAX = 100_000


@dataclass(frozen=True, slots=True)
class TimeForm:
    """How times are written, where they do not say."""

    unit: Unit | None = None  # of numbers; None: by the column's name, else each by its size
    format: str | None = None  # as of strptime; None: ISO 8601 and other forms without a doubt
    day_first: bool | None = None  # of 01/02/2026; None: not known, and refused

    def __post_init__(self) -> None:
        if self.format is not None:
            try:
                datetime.strptime(datetime.now(UTC).strftime(self.format), self.format)
            except ValueError as error:
                raise UnclearError(
                    f"--time-format expected a format such as %d/%m/%Y %H:%M, got "
                    f"{self.format!r}: {error}"
                ) from None


class TimeColumn:
    """Understands a column of times, batch by batch."""

    def __init__(self, name: str, form: TimeForm) -> None:
        self._name = name
        self._form = form
        self._unit = form.unit or next(
            (unit for unit in _PER_MS if name.lower().endswith("_" + unit)), None
        )
        self._known: dict[str, float] = {}

    def times_ms(self, column: "pa.Array", checks: Checks) -> NDArray[np.int64]:
        """(n,) Unix milliseconds; rows that hold no time are rejected."""
        if pa.types.is_timestamp(column.type):
            whole = pc.fill_null(column.cast(pa.int64()), -1)
            times = whole.to_numpy(zero_copy_only=False).astype(np.float64)
            texts = column.cast(pa.large_string())
        else:
            texts = column
            times = self._of_texts(texts)
        bad = ~((times > 0) & (times < _END_MS))
        checks.reject(
            bad,
            lambda row: (
                f"{self._name} expected {self._expected()}, got {shown(texts[row].as_py())}"
            ),
        )
        return np.rint(np.where(bad, 0.0, times)).astype(np.int64)

    def time_ms(self, value: object) -> float:
        """Of one value of a sample; NaN: it is no time."""
        if isinstance(value, datetime):
            moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
            return (moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1)
        if isinstance(value, bool) or value is None:
            return np.nan
        time = float(self._of_texts(sample_column([value]))[0])
        return time if 0 < time < _END_MS else np.nan

    def _expected(self) -> str:
        if self._form.format is not None:
            return f"a time as {self._form.format}"
        number = f"a number of {self._unit}" if self._unit else "a number from 1990 on"
        return f"a time before 2100 ({number}, ISO 8601; see --time-unit and --time-format)"

    def _of_texts(self, texts: "pa.LargeStringArray") -> NDArray[np.float64]:
        times = np.full(len(texts), np.nan)
        if self._form.format is None:
            numbers = decimals(texts)
            with np.errstate(all="ignore"):
                times = self._of_numbers(numbers)
        left = np.isnan(times)
        if self._form.format is None and left.any():
            times = np.where(left, _iso_times(texts), times)
            left = np.isnan(times)
        if left.any():
            self._of_others(texts, np.flatnonzero(left), times)
        return times

    def _of_numbers(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._unit is not None:
            return numbers / _PER_MS[self._unit]
        times = np.full(len(numbers), np.nan)
        for per_ms in _PER_MS.values():
            ms = numbers / per_ms
            times = np.where((ms >= _FIRST_MS) & (ms < _END_MS), ms, times)
        return times

    def _of_others(
        self, texts: "pa.LargeStringArray", rows: NDArray[np.int64], times: NDArray[np.float64]
    ) -> None:
        """What is written in other ways, each way of writing once."""
        if len(self._known) > _KEPT_MAX:
            self._known.clear()
        some = texts.take(pa.array(rows))
        for row, text in zip(rows.tolist(), some.to_pylist(), strict=True):
            if text is None:
                continue
            time = self._known.get(text)
            if time is None:
                time = self._known[text] = self._parsed(text.strip())
            times[row] = time

    def _parsed(self, text: str) -> float:
        try:
            if self._form.format is not None:
                return _ms(datetime.strptime(text, self._form.format))
            if self._unit is not None and re.match(NUMBER, text):
                return np.nan
            return _written(text, self._form.day_first)
        except (ValueError, OverflowError):
            return np.nan


def decimals(texts: "pa.LargeStringArray") -> NDArray[np.float64]:
    """The cells that are decimal numbers; NaN for all others."""
    is_number = pc.match_substring_regex(texts, NUMBER)
    numbers = pc.if_else(is_number, pc.utf8_trim_whitespace(texts), None).cast(pa.float64())
    return np.asarray(pc.fill_null(numbers, np.nan).to_numpy(zero_copy_only=False))


def guess_day_first(values: Sequence[object]) -> bool | None:
    """Whether 01/02/2026 is in February, by those of a sample that can be read in one way only."""
    firsts, seconds = set(), set()
    for value in values:
        found = _TURNED.fullmatch(value.strip()) if isinstance(value, str) else None
        if found is not None:
            firsts.add(int(found[1]) > 12)
            seconds.add(int(found[3]) > 12)
    if True in firsts and True not in seconds:
        return True
    if True in seconds and True not in firsts:
        return False
    return None


def is_turned(value: object) -> bool:
    """Whether a date has day and month first, of which either could be the day."""
    found = _TURNED.fullmatch(value.strip()) if isinstance(value, str) else None
    return found is not None and found[2] != "." and found[1] != found[3]


def _iso_times(texts: "pa.LargeStringArray") -> NDArray[np.float64]:
    """The most common form for all cells at once; NaN where another must be tried."""
    is_iso = pc.match_substring_regex(texts, _ISO)
    plain = pc.if_else(is_iso, pc.replace_substring_regex(texts, _ISO, r"\1 \2"), None)
    try:
        times = plain.cast(pa.timestamp("us")).cast(pa.int64())
    except pa.ArrowInvalid:  # a 13th month
        return np.full(len(texts), np.nan)
    whole = pc.fill_null(times, 0).to_numpy(zero_copy_only=False) // 1_000
    return np.where(times.is_valid().to_numpy(zero_copy_only=False), whole, np.nan)


def _written(text: str, day_first: bool | None) -> float:
    """Raises ValueError."""
    if _COMPACT.fullmatch(text):
        return _ms(datetime.strptime(text, "%Y%m%d" if len(text) == 8 else "%Y%m%d%H%M%S"))
    if re.fullmatch(r"[\d.]+", text) and not _TURNED.fullmatch(text):
        return np.nan  # a number of whatever unit: ISO 8601 would find a year in some
    if found := _TURNED.fullmatch(text):
        return _turned_ms(found, day_first)
    try:
        return float(iso_ms(re.sub(r" ?(?:UTC|GMT)$", "Z", text)))
    except ValueError:
        pass
    for form in _OTHER_FORMS:
        try:
            return _ms(datetime.strptime(text, form))
        except ValueError:
            continue
    return _ms(parsedate_to_datetime(text))


def _turned_ms(found: re.Match[str], day_first: bool | None) -> float:
    first, mark, second, year, hour, minute, seconds, part, half = found.groups()
    if mark == "." or first == second:
        day_first = True
    if day_first is None:
        return np.nan
    day, month = (first, second) if day_first else (second, first)
    hours = int(hour or 0)
    if half is not None:
        if not 1 <= hours <= 12:
            return np.nan
        hours = hours % 12 + (12 if half in "Pp" else 0)
    moment = datetime(int(year), int(month), int(day), hours, int(minute or 0), int(seconds or 0))
    return _ms(moment) + 1_000 * float(part or 0)


def _ms(moment: datetime) -> float:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1)
