"""Lines of metrics as a picture: of characters for a terminal, and as PNG."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from streamrec.program.learning.metric_lines import Lines
from streamrec.program.shared import CommandError

_SIGNS = "*o+x#@%&"  # any terminal has them
_SCALE_CHARACTERS = 9
_INCHES = (9.0, 4.5)
_DOTS_PER_INCH = 120
_MARGIN = 0.06  # of what there is from the lowest to the highest value


class Mark(NamedTuple):
    """A moment that is pointed out."""

    at_ms: int
    text: str


class _Frame(NamedTuple):
    """What a chart holds."""

    first_ms: int
    last_ms: int
    low: float
    high: float


def text_chart(lines: Lines, width: int, height: int, marks: Sequence[Mark] = ()) -> str:
    """Values over time as rows of characters, at most `width` wide; a sign for each line, and what
    it stands for below. Of two signs in one place the later line's is seen."""
    frame = _frame_of(lines)
    columns = max(width - _SCALE_CHARACTERS - 2, 10)
    cells = [[" "] * columns for _ in range(height)]
    for mark in marks:
        if frame.first_ms <= mark.at_ms <= frame.last_ms:
            column = _column(frame, mark.at_ms, columns)
            for row in cells:
                row[column] = "|"
    for sign, points in zip(_signs(len(lines)), lines.values(), strict=True):
        for point in points:
            share = (frame.high - point.value) / (frame.high - frame.low)
            row_number = min(max(round(share * (height - 1)), 0), height - 1)
            cells[row_number][_column(frame, point.middle_ms, columns)] = sign
    told = []
    for number, row in enumerate(cells):
        value = frame.high - (frame.high - frame.low) * number / max(height - 1, 1)
        scale = f"{value:.4g}" if number in (0, height // 2, height - 1) else ""
        told.append(f"{scale:>{_SCALE_CHARACTERS}} |" + "".join(row).rstrip())
    told.append(" " * _SCALE_CHARACTERS + " +" + "-" * columns)
    first, last = _clock(frame.first_ms), _clock(frame.last_ms)
    told.append(" " * (_SCALE_CHARACTERS + 2) + first + last.rjust(columns - len(first)))
    told += [f"  {sign} {name}" for sign, name in zip(_signs(len(lines)), lines, strict=True)]
    told += [f"  | {mark.text}" for mark in marks]
    return "\n".join(told)


def check_can_draw() -> None:
    """Raises CommandError where the extra `plot` is missing."""
    try:
        import matplotlib.dates  # noqa: F401
    except ImportError:
        raise CommandError(
            "a picture expected the extra plot (pip install 'streamrec[plot]'), got none"
        ) from None


def draw_png(path: Path, lines: Lines, title: str, what: str, marks: Sequence[Mark] = ()) -> None:
    """A picture of lines with their intervals as bands. `what` is the name of the values. Raises
    CommandError where the extra `plot` is missing, or the file cannot be written."""
    check_can_draw()
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    # A figure of its own, and no `pyplot`: nothing asks for a display.
    figure = Figure(figsize=_INCHES, dpi=_DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    for name, points in lines.items():
        times = [_day(point.middle_ms) for point in points]
        values = [point.value for point in points]
        (drawn,) = axes.plot(times, values, marker=".", label=name)
        lows = [point.value if point.low is None else point.low for point in points]
        highs = [point.value if point.high is None else point.high for point in points]
        axes.fill_between(times, lows, highs, color=drawn.get_color(), alpha=0.18, linewidth=0)
    for mark in marks:
        axes.axvline(_day(mark.at_ms), color="grey", linestyle="--")
        axes.annotate(
            mark.text,
            (_day(mark.at_ms), 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(3, -10),
            textcoords="offset points",
            color="grey",
        )
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]  # matplotlib has few types here
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]  # as above
    axes.set_title(title)
    axes.set_ylabel(what)
    axes.set_xlabel("event time, UTC")
    axes.grid(alpha=0.3)
    axes.legend()
    try:
        figure.savefig(path, format="png")
    except OSError as error:
        raise CommandError(f"--out expected a file that can be written, got {error}") from error


def _frame_of(lines: Lines) -> _Frame:
    points = [point for of_line in lines.values() for point in of_line]
    low, high = min(p.value for p in points), max(p.value for p in points)
    room = (high - low) * _MARGIN or abs(high) * _MARGIN or 1.0
    times = [point.middle_ms for point in points]
    return _Frame(min(times), max(times), low - room, high + room)


def _column(frame: _Frame, at_ms: int, columns: int) -> int:
    share = (at_ms - frame.first_ms) / max(frame.last_ms - frame.first_ms, 1)
    return round(share * (columns - 1))


def _signs(count: int) -> list[str]:
    return [_SIGNS[number % len(_SIGNS)] for number in range(count)]


def _day(at_ms: int) -> float:
    """A time as the library counts: days since 1970, UTC."""
    return at_ms / 86_400_000


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC)


def _clock(at_ms: int) -> str:
    return _moment(at_ms).strftime("%Y-%m-%d %H:%M:%S")


__all__ = ["Mark", "draw_png", "text_chart"]
