"""`receive`: the records of a topic as lines of JSON."""

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import Annotated, Any

import typer

from streamrec.connectors.log import (
    Headers,
    Log,
    LogAdmin,
    OffsetBounds,
    Record,
    SchemaError,
    schema_named,
)
from streamrec.connectors.reading import read_range, records_of
from streamrec.program.shared import UsageError, opened, say
from streamrec.program.times import FORMS, parse_time_ms
from streamrec.schemas.json_codec import JsonDecoder, UnreadableError, decode_json, to_json

Decode = Callable[[bytes, Headers], Any]


def receive(
    topic: Annotated[str, typer.Argument(help="Topic to read.")],
    start: Annotated[
        str,
        typer.Option(
            "--from",
            help="earliest; latest; a time: " + FORMS + "; or PARTITION:OFFSET,... "
            "(other partitions are then not read).",
        ),
    ] = "earliest",
    most: Annotated[
        int | None, typer.Option("--max", min=1, help="Stop after so many records.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Wait for more at the end, until Ctrl-C.")
    ] = False,
    meta: Annotated[
        bool,
        typer.Option(
            "--meta",
            help="Wrap each value with its partition, offset, timestamp, key, headers; a header "
            "that is there several times has the list of its values.",
        ),
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="Print values undecoded, as text (for --raw topics).")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Values are JSON without a schema (for --json topics).")
    ] = False,
) -> None:
    """Print a topic's records, decoded, one JSON value a line; a tombstone is null.

    Ends at what was the topic's end when it started; an empty topic prints nothing and is no error.
    Records keep their order within a partition. What cannot be decoded is named on standard error,
    the rest goes on, and the exit status is 1.
    """
    if raw and as_json:
        raise UsageError("receive expected either --raw or --json, got both")
    with opened() as (log, _), closing(log.registry()) as registry:
        decode: Decode = JsonDecoder(partial(schema_named, registry)).decode
        if raw or as_json:
            decode = decode_json if as_json else _as_text
        failed = printed = 0
        for record in _records(log, topic, start, follow):
            try:
                value = None if record.value is None else decode(record.value, record.headers)
            except (UnreadableError, SchemaError) as error:
                failed += 1
                place = f"partition {record.partition}, offset {record.offset}"
                say(f"topic {topic!r}, {place}: {error}")
                continue
            typer.echo(to_json(_with_meta(record, value) if meta else value))
            printed += 1
            if printed == most:
                break
    if failed:
        raise typer.Exit(1)


def _as_text(value: bytes, headers: Headers) -> str:
    return value.decode(errors="backslashreplace")


def _with_meta(record: Record, value: Any) -> dict[str, Any]:
    return {
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp_ms,
        "key": _text(record.key),
        "headers": _headers(record),
        "value": value,
    }


def _headers(record: Record) -> dict[str, Any]:
    """By name; of several of one name the list of their values, in order."""
    values: dict[str, list[str | None]] = {}
    for name, content in record.headers:
        values.setdefault(name, []).append(_text(content))
    return {name: found[0] if len(found) == 1 else found for name, found in values.items()}


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode(errors="backslashreplace")


def _records(log: Log, topic: str, start: str, follow: bool) -> Iterator[Record]:
    with closing(log.admin()) as admin:
        bounds = admin.bounds(topic)
        starts = _starts(admin, topic, start, bounds)
        ends = admin.ends(topic, committed=True)
    if not follow:
        yield from read_range(log, topic, starts, ends)
        return
    with closing(log.reader()) as reader:
        reader.assign(topic, starts)
        while True:
            for batch in reader.poll(1_000, timeout_s=0.5):
                yield from records_of(batch)


def _starts(
    admin: LogAdmin, topic: str, start: str, bounds: dict[int, OffsetBounds]
) -> dict[int, int]:
    if start == "earliest":
        return {p: bound.low for p, bound in bounds.items()}
    if start == "latest":
        return {p: bound.high for p, bound in bounds.items()}
    try:
        if ":" in start and "T" not in start:
            return _parse_offsets(start, topic, bounds)
        return admin.offsets_at(topic, parse_time_ms(start))
    except ValueError as error:
        raise UsageError(
            f"--from expected earliest, latest, PARTITION:OFFSET,... or a time: {error}"
        ) from None


def _parse_offsets(text: str, topic: str, bounds: dict[int, OffsetBounds]) -> dict[int, int]:
    starts = {}
    for part in text.split(","):
        partition, _, offset = part.partition(":")
        if not (partition.isdecimal() and offset.isdecimal()):
            raise ValueError(f"expected PARTITION:OFFSET, got {part!r}")
        if int(partition) not in bounds:
            raise ValueError(
                f"topic {topic!r} expected partition 0 to {len(bounds) - 1}, got {partition}"
            )
        low, high = bounds[int(partition)]
        if not low <= int(offset) <= high:
            raise ValueError(
                f"partition {partition} of topic {topic!r} expected offset {low} to {high}, "
                f"got {offset}"
            )
        starts[int(partition)] = int(offset)
    return starts
