"""How each of several files of clicks is laid out: which column holds what, and what that means.

Each file is understood by its own columns. A file whose columns all stand in one before it is a
part of the same log, and is read as that one is: its own first rows may have gaps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

import numpy as np

from streamrec.connectors.click_files.cells import Sample, id_text
from streamrec.connectors.click_files.ids import is_nothing, looks_like_floats
from streamrec.connectors.click_files.meaning import Meaning, has_event_type, has_price
from streamrec.connectors.click_files.names import Names, name_columns
from streamrec.connectors.click_files.rejecting import UnclearError
from streamrec.connectors.click_files.text import shown
from streamrec.connectors.click_files.times import TimeColumn, guess_day_first, is_turned

MAY_BE_MISSING = ("price", "category", "session")  # what a click can do without


@dataclass(frozen=True, slots=True)
class FileLayout:
    """Of one file."""

    names: Names
    meaning: Meaning
    paths: frozenset[str]
    notes: tuple[str, ...]  # what was guessed of the file's form

    def is_like(self, other: "FileLayout") -> bool:
        """Whether both are read in the same way."""
        return (self.names, self.meaning, self.notes) == (other.names, other.meaning, other.notes)

    def holds(self, sample: Sample) -> bool:
        """Whether a file with this sample is a part of the same log."""
        required = set(_click(self.names)) - {None}
        return required <= set(sample.paths) <= self.paths


def understand(
    sample: Sample,
    given: Names,
    meaning: Meaning,
    times: bool,
    before: Sequence[FileLayout],
    gaps: bool,
) -> tuple[FileLayout, list[str]]:
    """The layout of a file, by its sample and those of the files before, and what was guessed.
    Without `times` it may have none, unless those have; with `gaps` what comes seldom may be
    missing in the sample. Raises UnclearError."""
    same = next((each for each in before if each.holds(sample)), None)
    asked = given
    if same is not None:
        asked = _filled(given, {r: n for r, n in same.names.chosen.items() if n in sample.paths})
    made = meaning.start_ms is not None
    needs_time = not made and (times or any(each.names.time is not None for each in before))
    names, left_out = name_columns(sample, asked, partial(_can_be, meaning), times=needs_time)
    if made:
        names = replace(names, time=None)
    elif before and before[0].names.time is None and names.time is not None:
        raise UnclearError(
            f"expected no times, as in the files before, got the column {names.time}; read files "
            "with times by themselves"
        )
    for each in before if gaps else ():
        if _click(each.names) == _click(names):
            chosen = each.names.chosen.items()
            names = _filled(names, {r: n for r, n in chosen if r in MAY_BE_MISSING})
    guesses = [f"columns: {_with_examples(names, sample, meaning)}", *left_out, *sample.notes]
    if names.time is None:
        guesses.append(
            "no times: one second from a click to the next, in the order of the file"
            if made
            else "no times: in the order of the file"
        )
    elif meaning.time.format is None and meaning.time.day_first is None:
        known = None if same is None else same.meaning.time.day_first
        day_first, said = _day_first(names.time, sample, known)
        meaning = replace(meaning, time=replace(meaning.time, day_first=day_first))
        guesses += said
    return FileLayout(names, meaning, frozenset(sample.paths), tuple(sample.notes)), guesses


def _filled(names: Names, others: Mapping[str, str]) -> Names:
    """Roles without a name get that of the others."""
    return replace(names, **{r: name for r, name in others.items() if r not in names.chosen})


def _click(names: Names) -> tuple[str | None, ...]:
    """What every click has to have."""
    return names.user, names.item, names.time


def _day_first(name: str, sample: Sample, known: bool | None) -> tuple[bool | None, list[str]]:
    turned = [value for value in sample.values.get(name, []) if is_turned(value)]
    if not turned:
        return known, []
    day_first = guess_day_first(turned)
    if day_first is None:
        day_first = known
    if day_first is None:
        raise UnclearError(
            f"{name} expected times that can be read in one way, got {turned[0]!r}, in which "
            "either number may be the day; say which by --time-format '%d/%m/%Y %H:%M'"
        )
    return day_first, [f"{name}: the {'first' if day_first else 'second'} number is the day"]


def _can_be(meaning: Meaning, role: str, name: str, values: Sequence[object]) -> int:
    """As CanBe: without a sample the name alone decides."""
    if not values:
        return 2
    if role == "time":
        times = TimeColumn(name, meaning.time)
        return int(any(is_turned(v) or not np.isnan(times.time_ms(v)) for v in values[:50])) * 2
    if role == "type":
        return int(has_event_type(values, meaning)) * 2
    if role == "price":
        return int(has_price(values, meaning)) * 2
    given = [value for value in values if not is_nothing(value, meaning.nothing)]
    ids = [value for value in given if id_text(value) is not None]
    if role in ("category", "session") and len(ids) < len(given):
        return 0
    return 0 if not ids else 1 + (2 * len(ids) >= len(values))


def _with_examples(names: Names, sample: Sample, meaning: Meaning) -> str:
    """The columns, and how the first time and price were understood."""
    said = []
    for role, name in names.chosen.items():
        text = f"{role} from {name}"
        for value in sample.values.get(name, ()):
            if example := _example(role, name, value, meaning):
                text += f" ({value if not isinstance(value, str) else shown(value)} is {example})"
                break
        said.append(text)
    return ", ".join(said)


def _example(role: str, name: str, value: object, meaning: Meaning) -> str | None:
    if role == "time":
        time = TimeColumn(name, meaning.time).time_ms(value)
        if not np.isnan(time):
            moment = datetime.fromtimestamp(time / 1_000, UTC)
            return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if role == "price" and has_price([value], meaning):
        return f"{float(str(value)) * meaning.cents_of(name):.0f} cents"
    if role in ("user", "item") and looks_like_floats([value], meaning.nothing):
        return str(value).partition(".")[0]
    return None
