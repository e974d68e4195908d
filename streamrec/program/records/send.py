"""`send`: lines of standard input as records of a topic."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from io import BufferedReader
from typing import Annotated, cast

import typer

from streamrec.connectors.log import Log, Outgoing
from streamrec.connectors.making_topics import subject_of
from streamrec.dataflows.job.settings import Settings
from streamrec.program.shared import CommandError, UsageError, opened, say
from streamrec.schemas.json_codec import JsonEncoder, MisfitError

_READ_BYTES = 1 << 20
_FLUSH_S = 60.0


def send(
    topic: Annotated[str, typer.Argument(help="Topic to write to.")],
    key_field: Annotated[
        str | None,
        typer.Option(help="Field whose value is the key; '' for none.  [default: the topic's key]"),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Send each line's bytes as they are, without a schema.")
    ] = False,
    key_separator: Annotated[
        str | None,
        typer.Option(help="With --raw: what stands between key and value in a line."),
    ] = None,
) -> None:
    """Send standard input to a topic, a record a line.

    A line is a JSON object, encoded with the schema registered for the topic. A line that does not
    fit is named with what was expected and what it holds; the rest goes on, and the exit status is
    1. Bytes are strings of the characters U+0000 to U+00FF, as `receive` prints them.
    """
    if raw and key_field:
        raise UsageError("--key-field expected JSON lines, got --raw; try --key-separator")
    if key_separator is not None and not (raw and key_separator):
        raise UsageError("--key-separator expected a text, and --raw beside it")
    with opened() as (log, settings):
        with closing(log.admin()) as admin:
            admin.bounds(topic)  # raises where the topic is unknown, before a line is read
        to_message = (
            _raw_lines(key_separator)
            if raw
            else _json_lines(log, topic, _key_of(topic, key_field, settings))
        )
        sent = refused = number = 0
        with closing(log.writer()) as writer:
            for lines in _lines_as_they_come(cast(BufferedReader, sys.stdin.buffer)):
                messages = []
                for line in lines:
                    number += 1
                    if not line.strip():
                        continue
                    try:
                        messages.append(to_message(line))
                    except MisfitError as error:
                        refused += 1
                        say(f"line {number}: {error}")
                writer.write(topic, messages)
                writer.flush(_FLUSH_S)
                sent += len(messages)
    say(f"sent {sent} to {topic!r}" + (f", refused {refused}" if refused else ""))
    if refused:
        raise typer.Exit(1)


def _key_of(topic: str, key_field: str | None, settings: Settings) -> str | None:
    if key_field is not None:
        return key_field or None
    ours = settings.topics()
    return ours[topic].key_field if topic in ours else None


def _raw_lines(separator: str | None) -> Callable[[bytes], Outgoing]:
    def to_message(line: bytes) -> Outgoing:
        if separator is None:
            return Outgoing(None, line)
        key, found, value = line.partition(separator.encode())
        if not found:
            raise MisfitError(f"expected key{separator}value, got {_shown(line)}")
        return Outgoing(key, value)

    return to_message


def _json_lines(log: Log, topic: str, key_field: str | None) -> Callable[[bytes], Outgoing]:
    with closing(log.registry()) as registry:
        registered = registry.latest(subject_of(topic))
    encoder = JsonEncoder(registered.schema, registered.id)
    fields = {field["name"] for field in json.loads(registered.schema).get("fields", ())}
    if key_field is not None and key_field not in fields:
        raise CommandError(f"--key-field expected one of {sorted(fields)}, got {key_field!r}")

    def to_message(line: bytes) -> Outgoing:
        try:
            value = json.loads(line)
        except ValueError as error:
            raise MisfitError(f"expected JSON, got {_shown(line)}: {error}") from None
        encoded = encoder.encode(value)
        key = None if key_field is None else value.get(key_field)
        return Outgoing(None if key is None else str(key).encode(), encoded)

    return to_message


def _lines_as_they_come(stream: BufferedReader) -> Iterator[list[bytes]]:
    """Lines without their ends, in lists of what has arrived: a slow pipe is not held up."""
    rest = b""
    while chunk := stream.read1(_READ_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        yield [line.removesuffix(b"\r") for line in lines]
    if rest:
        yield [rest]


def _shown(line: bytes) -> str:
    return repr(line[:60])[1:] + ("..." if len(line) > 60 else "")
