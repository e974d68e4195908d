"""Paths into a record of JSON or nested Parquet.

properties.product_id                              a field of a field
events[].aid                                       each element of a list is an event of its own
[]                                                 each element of a record that is a list
event_params[key=ga_session_id].value.int_value    the element of a list whose field says so
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from streamrec.connectors.click_files.rejecting import UnclearError

_DEPTH_MAX = 8
_PATHS_MAX = 2_000
_STEP = re.compile(r"([^.\[\]]*)(\[\]|\[([^=\]]+)=([^\]]*)\])?(?:\.|$)")
LINE = "(number of the line)"  # stands for the path of what no field holds: which record it is

Step = str | tuple[str, str]  # a field; or the element of a list whose field has a value


@dataclass(frozen=True)
class Path:
    """One path, taken apart."""

    text: str
    list_steps: tuple[Step, ...] | None  # to the list of events; None: the record is one event
    steps: tuple[Step, ...]  # from the record, or from the event

    def of(self, record: object, event: object) -> object:
        """What stands there; None: nothing does."""
        if isinstance(record, dict) and self.text in record:
            return record[self.text]
        return follow(record if self.list_steps is None else event, self.steps)

    @cached_property
    def list_name(self) -> str:
        return self.text.partition("[]")[0] + "[]"


def parse_path(text: str) -> Path:
    """Raises UnclearError."""
    steps: list[Step] = []
    list_steps: tuple[Step, ...] | None = None
    at = 0
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None or found.end() == at:
            raise UnclearError(
                "expected a path such as properties.product_id, events[].aid or "
                f"params[key=session].value, got {text!r}"
            )
        name, brackets, field, value = found.groups()
        if name:
            steps.append(name)
        if brackets == "[]":
            if list_steps is not None:
                raise UnclearError(f"expected one list of events in a path, got {text!r}")
            list_steps, steps = tuple(steps), []
        elif brackets:
            steps.append((field, value))
        at = found.end()
    return Path(text, list_steps, tuple(steps))


def follow(value: object, steps: tuple[Step, ...]) -> object:
    for step in steps:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        else:
            value = _element(value, *step)
        if value is None:
            return None
    return value


def _element(value: object, field: str, expected: str) -> object:
    if isinstance(value, list):
        for each in value:
            if isinstance(each, dict) and str(each.get(field)) == expected:
                return each
    return None


def flattened(record: object) -> Iterator[tuple[str, object]]:
    """All paths of a record and what they lead to, scalars or not."""
    if isinstance(record, list):
        for each in record:
            yield "[]", each
        return
    yield from _below(record, "", 0)


def _below(value: object, path: str, depth: int) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict) and depth < _DEPTH_MAX:
        for name, each in value.items():
            inner = f"{path}.{name}" if path else str(name)
            yield inner, each
            yield from _below(each, inner, depth + 1)
    elif isinstance(value, list) and depth < _DEPTH_MAX and "[]" not in path:
        for each in value:
            if isinstance(each, dict) and isinstance(key := each.get("key"), str):
                yield from _below(each, f"{path}[key={key}]", depth + 1)
            yield f"{path}[]", each
            yield from _below(each, f"{path}[]", depth + 1)


def gather(records: Sequence[object]) -> dict[str, list[object]]:
    """What the paths of all records lead to; of lists, if most are, else of objects."""
    found: dict[str, list[object]] = {}
    are_lists = 2 * sum(isinstance(record, list) for record in records) > len(records)
    for number, record in enumerate(records, start=1):
        if isinstance(record, list) != are_lists:
            continue
        if are_lists:
            found.setdefault(LINE, []).append(number)
        for path, value in flattened(record):
            if path in found or len(found) < _PATHS_MAX:
                found.setdefault(path, []).append(value)
    return found
