"""Lines of a stream as messages: as bytes, as JSON, or encoded under a topic's schema.

Each function makes a `ToMessage`, which raises MisfitError for a line that does not fit.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from io import BufferedReader

from streamrec.connectors.log import Log, Outgoing, UnknownSchemaError
from streamrec.connectors.making_topics import subject_of
from streamrec.program.shared import CommandError
from streamrec.schemas.json_codec import JsonEncoder, MisfitError
from streamrec.schemas.json_text import parse_json, parse_record, shown_bytes

ToMessage = Callable[[bytes], Outgoing]

_READ_BYTES = 1 << 20


def raw_lines(separator: str | None) -> ToMessage:
    """The bytes of a line, and its key where it stands before a separator."""

    def to_message(line: bytes) -> Outgoing:
        if separator is None:
            return Outgoing(None, line)
        key, found, value = line.partition(separator.encode())
        if not found:
            raise MisfitError(f"expected key{separator}value, got {shown_bytes(line)}")
        return Outgoing(key, value)

    return to_message


def lines_of_json(key_field: str | None) -> ToMessage:
    """A line of JSON as it stands."""

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


def encoded_lines(log: Log, topic: str, key_field: str | None) -> ToMessage:
    """A line of JSON in Avro, under the schema that is registered for the topic. Raises
    CommandError."""
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


def lines_as_they_come(stream: BufferedReader) -> Iterator[list[bytes]]:
    """Lines without their ends, in lists of what has arrived: a slow pipe is not held up."""
    rest = b""
    while chunk := stream.read1(_READ_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        yield [line.removesuffix(b"\r") for line in lines]
    if rest:
        yield [rest]


__all__ = ["ToMessage", "encoded_lines", "lines_as_they_come", "lines_of_json", "raw_lines"]
