"""Units of time: a writer's timestamps are read in the reader's, as their logical types say."""

from collections.abc import Iterator
from typing import Any

from streamrec.schemas.parsing import Type, UnsupportedSchemaError, describe

_NANOSECONDS = {"millis": 1_000_000, "micros": 1_000, "nanos": 1}
_OTHER_TIMES = frozenset({"date", "time-millis", "time-micros"})


def time_factor(writer: Type, reader: Type) -> int:
    """What to divide a writer's value by; minus what to multiply it by; 1: nothing to do.

    A local timestamp, which says nothing of where, counts as one of UTC. Without a logical type on
    both sides nothing is known, and nothing is changed.
    """
    theirs, ours = _nanoseconds(writer), _nanoseconds(reader)
    if theirs == 0 or ours == 0 or theirs == ours:
        return 1
    return ours // theirs if ours > theirs else -(theirs // ours)


def is_other_time(writer: Type, reader: Type) -> bool:
    """Whether the reader wants a point in time and the writer says that its value is none."""
    return _nanoseconds(reader) != 0 and writer.logical in _OTHER_TIMES


def conversions(
    writer: Type, reader: Type, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], int]]:
    """Where a record, read as the reader's, holds times in another unit: names, and the factor.

    Raises UnsupportedSchemaError for what one factor cannot mend: in lists, and in unions of
    several units.
    """
    theirs, ours = writer.value, reader.value
    if ours.kind == "record" and theirs.kind == "record":
        for field in ours.fields:
            names = {field.name, *field.aliases}
            for other in theirs.fields:
                if other.name in names:
                    yield from conversions(other.type, field.type, (*path, field.name))
        return
    if ours.kind == "array" and theirs.kind == "array":
        if list(conversions(theirs.branches[0], ours.branches[0], (*path, "[]"))):
            raise UnsupportedSchemaError(
                f"field {'.'.join(path)} expected {describe(ours)}, got {describe(theirs)}"
            )
        return
    branches = theirs.branches if theirs.kind == "union" else (theirs,)
    numbers = [branch for branch in branches if branch.kind in ("int", "long")]
    factors = {time_factor(branch, ours) for branch in numbers}
    if len(factors) > 1 or any(is_other_time(branch, ours) for branch in numbers):
        raise UnsupportedSchemaError(
            f"field {'.'.join(path)} expected {describe(reader)}, got {describe(writer)}"
        )
    if factors and factors != {1}:
        yield path, factors.pop()


def convert(record: dict[str, Any], path: tuple[str, ...], factor: int) -> None:
    """Put the value at a place in the reader's unit."""
    for name in path[:-1]:
        record = record[name]
        if record is None:
            return
    value = record[path[-1]]
    if value is not None:
        record[path[-1]] = value // factor if factor > 0 else value * -factor


def _nanoseconds(node: Type) -> int:
    """In a unit of a timestamp's type; 0: it has none."""
    kind, _, unit = node.logical.rpartition("-")
    if kind in ("timestamp", "local-timestamp"):
        return _NANOSECONDS.get(unit, 0)
    return 0


__all__ = ["conversions", "convert", "is_other_time", "time_factor"]
