"""`send`: lines of standard input as records of a topic."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from io import BufferedReader
from typing import Annotated, cast

import typer

from streamrec.connectors.log import (
    Log,
    LogWriter,
    Outgoing,
    TooLargeError,
    UnknownSchemaError,
)
from streamrec.connectors.making_topics import subject_of
from streamrec.dataflows.job.settings import Settings
from streamrec.program.shared import CommandError, UsageError, opened, say
from streamrec.schemas.json_codec import JsonEncoder, MisfitError
from streamrec.schemas.json_text import parse_json, parse_record, shown_bytes

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
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Send each line as the JSON that it is, without a schema."),
    ] = False,
    key_separator: Annotated[
        str | None,
        typer.Option(help="With --raw: what stands between key and value in a line."),
    ] = None,
) -> None:
    """Send standard input to a topic, a record a line.

    A line is a JSON object, encoded with the schema registered for the topic. With --json it is any
    JSON value, sent as it stands, and its key a string at its top (--key-field). A line that does
    not fit is named with what was expected and what it holds; the rest goes on, and the exit status
    is 1. Bytes are strings of the characters U+0000 to U+00FF, as `receive` prints them.
    """
    if raw and as_json:
        raise UsageError("send expected either --raw or --json, got both")
    if raw and key_field:
        raise UsageError("--key-field expected JSON lines, got --raw; try --key-separator")
    if key_separator is not None and not (raw and key_separator):
        raise UsageError("--key-separator expected a text, and --raw beside it")
    with opened() as (log, settings):
        with closing(log.admin()) as admin:
            admin.bounds(topic)  # raises where the topic is unknown, before a line is read
        if raw:
            to_message = _raw_lines(key_separator)
        elif as_json:
            to_message = _lines_of_json(key_field or None)
        else:
            to_message = _json_lines(log, topic, _key_of(topic, key_field, settings))
        number = 0
        with closing(log.writer()) as writer:
            sending = _Sending(writer, topic)
            for lines in _lines_as_they_come(cast(BufferedReader, sys.stdin.buffer)):
                messages: dict[int, Outgoing] = {}
                for line in lines:
                    number += 1
                    if not line.strip():
                        continue
                    try:
                        messages[number] = to_message(line)
                    except MisfitError as error:
                        sending.refuse(number, error)
                    except RecursionError:
                        sending.refuse(number, "expected fewer levels, one inside the other")
                sending.send(messages)
    refused = sending.refused
    say(f"sent {sending.sent} to {topic!r}" + (f", refused {refused}" if refused else ""))
    if refused:
        raise typer.Exit(1)


@dataclass
class _Sending:
    """Writes lines by their numbers, and names those that are refused."""

    writer: LogWriter
    topic: str
    sent: int = 0
    refused: int = 0

    def refuse(self, number: int, why: object) -> None:
        self.refused += 1
        say(f"line {number}: {why}")

    def send(self, messages: dict[int, Outgoing]) -> None:
        try:
            self.writer.write(self.topic, messages.values())
            self.sent += len(messages)
        except TooLargeError:
            for number, message in messages.items():  # Each by itself: the others are not.
                try:
                    self.writer.write(self.topic, [message])
                    self.sent += 1
                except TooLargeError as error:
                    self.refuse(number, error)
        self.writer.flush(_FLUSH_S)


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
            raise MisfitError(f"expected key{separator}value, got {shown_bytes(line)}")
        return Outgoing(key, value)

    return to_message


def _lines_of_json(key_field: str | None) -> Callable[[bytes], Outgoing]:
    def to_message(line: bytes) -> Outgoing:
        try:
            value = parse_record(line)
        except ValueError as error:
            raise MisfitError(f"expected JSON, got {shown_bytes(line)}: {error}") from None
        if key_field is None:
            return Outgoing(None, line)
        key = value.get(key_field) if isinstance(value, dict) else None
        if not isinstance(key, str):
            raise MisfitError(
                f"expected an object with a string {key_field!r}, got {shown_bytes(line)}"
            )
        return Outgoing(key.encode(), line)

    return to_message


def _json_lines(log: Log, topic: str, key_field: str | None) -> Callable[[bytes], Outgoing]:
    with closing(log.registry()) as registry:
        try:
            registered = registry.latest(subject_of(topic))
        except UnknownSchemaError as error:
            raise CommandError(f"{error}, or send without one: --json, --raw") from None
    encoder = JsonEncoder(registered.schema, registered.id)
    schema = json.loads(registered.schema)  # of a record, or of what has no fields
    named = schema.get("fields", ()) if isinstance(schema, dict) else ()
    fields = {field["name"] for field in named}
    if key_field is not None and key_field not in fields:
        raise CommandError(f"--key-field expected one of {sorted(fields)}, got {key_field!r}")

    def to_message(line: bytes) -> Outgoing:
        try:
            value = parse_json(line.decode())
        except ValueError as error:
            raise MisfitError(f"expected JSON, got {shown_bytes(line)}: {error}") from None
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
