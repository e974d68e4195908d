"""`send`: lines of standard input, or files, as records of a topic."""

import mimetypes
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Annotated, cast

import typer

from streamrec.connectors.log import Headers, Log, LogWriter, Outgoing, TooLargeError
from streamrec.dataflows.errors.failed import CONTENT_TYPE
from streamrec.dataflows.job.settings import Settings
from streamrec.program.records.lines import (
    ToMessage,
    encoded_lines,
    lines_as_they_come,
    lines_of_json,
    raw_lines,
)
from streamrec.program.serving.named import Target, one_target, sent_to
from streamrec.program.shared import CommandError, UsageError, opened, say
from streamrec.schemas.json_codec import MisfitError

_FLUSH_S = 60.0


def send(
    topic: Annotated[
        str | None, typer.Argument(help="Topic to write to.", show_default=False)
    ] = None,
    pipeline: Annotated[
        str | None, typer.Option(help="Send to this pipeline's inputs instead of a topic.")
    ] = None,
    key_field: Annotated[
        str | None,
        typer.Option(help="Field whose value is the key; '' for none.  [default: the topic's key]"),
    ] = None,
    key: Annotated[str | None, typer.Option(help="The key of all records.")] = None,
    header: Annotated[
        list[str] | None,
        typer.Option("--header", help="A header of all records: NAME=VALUE (repeatable)."),
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
    file: Annotated[
        list[Path] | None,
        typer.Option(
            "--file",
            help="Send a file's bytes as one record, and read no lines (repeatable).",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    content_type: Annotated[
        str | None,
        typer.Option(
            help="What the bytes are, as the header content-type.  [default: by a file's ending]"
        ),
    ] = None,
) -> None:
    """Send standard input to a topic, or to a pipeline's inputs, a record a line.

    A line is a JSON object, encoded with the schema registered for the topic. With --json, and to a
    pipeline, it is any JSON value, sent as it stands, and its key a string at its top
    (--key-field). A line that does not fit is named with what was expected and what it holds; the
    rest goes on, and the exit status is 1. Bytes are strings of the characters U+0000 to U+00FF, as
    `receive` prints them.
    """
    target = one_target("send", topic, pipeline)
    if raw and as_json:
        raise UsageError("send expected either --raw or --json, got both")
    if (raw or file) and key_field:
        raise UsageError("--key-field expected JSON lines, got bytes; try --key, --key-separator")
    if key_separator is not None and not (raw and key_separator):
        raise UsageError("--key-separator expected a text, and --raw beside it")
    if key is not None and (key_field or key_separator):
        raise UsageError("--key expected no other key, got --key-field or --key-separator too")
    if file and as_json:
        raise UsageError("--file expected bytes, got --json")
    added = _Added(None if key is None else key.encode(), _headers(header or [], content_type))
    with opened() as (log, settings):
        wanted = _Wanted(key_field, raw, as_json, key_separator, bool(file))
        name, to_message = _messages(log, settings, target, wanted)
        with closing(log.admin()) as admin:
            admin.bounds(name)  # raises where the topic is unknown, before a line is read
        with closing(log.writer()) as writer:
            sending = _Sending(writer, name)
            found = _files(file, content_type) if file else _lines(to_message, sending)
            for messages in found:
                sending.send({place: added.to(each) for place, each in messages.items()})
    refused = sending.refused
    say(f"sent {sending.sent} to {name!r}" + (f", refused {refused}" if refused else ""))
    if refused:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """How lines become records, as the options say."""

    key_field: str | None
    raw: bool
    as_json: bool
    key_separator: str | None
    files: bool


def _messages(
    log: Log, settings: Settings, target: Target, wanted: _Wanted
) -> tuple[str, ToMessage]:
    """The topic's name, and what makes a message of a line. Raises CommandError."""
    content_types: tuple[str, ...] = ()
    if target.pipeline is None:
        name, as_json = target.topic, wanted.as_json
    else:
        name, content_types = sent_to(log, settings, target.pipeline)
        as_json = not content_types
    if wanted.raw or wanted.files:
        return name, raw_lines(wanted.key_separator)
    if as_json:
        return name, lines_of_json(wanted.key_field or None)
    if target.pipeline is None:
        return name, encoded_lines(log, name, _key_of(name, wanted.key_field, settings))
    if not any(each.startswith("text/") for each in content_types):
        raise CommandError(
            f"pipeline {target.pipeline!r} takes {', '.join(content_types)}: expected --file, or "
            "--raw for lines of bytes, got lines of text"
        )
    return name, raw_lines(None)


@dataclass(frozen=True, slots=True)
class _Added:
    """What all messages are given."""

    key: bytes | None
    headers: Headers

    def to(self, message: Outgoing) -> Outgoing:
        if self.key is None and not self.headers:
            return message
        return message._replace(
            key=message.key if self.key is None else self.key,
            headers=[*(message.headers or ()), *self.headers],
        )


def _headers(given: list[str], content_type: str | None) -> Headers:
    headers: Headers = [] if content_type is None else [(CONTENT_TYPE, content_type.encode())]
    for each in given:
        name, equals, value = each.partition("=")
        if not (name and equals):
            raise UsageError(f"--header expected NAME=VALUE, got {each!r}")
        headers.append((name, value.encode()))
    return headers


@dataclass
class _Sending:
    """Writes messages by their places, and names those that are refused."""

    writer: LogWriter
    topic: str
    sent: int = 0
    refused: int = 0

    def refuse(self, place: str, why: object) -> None:
        self.refused += 1
        say(f"{place}: {why}")

    def send(self, messages: Mapping[str, Outgoing]) -> None:
        try:
            self.writer.write(self.topic, messages.values())
            self.sent += len(messages)
        except TooLargeError:
            for place, message in messages.items():  # Each by itself: the others are not.
                try:
                    self.writer.write(self.topic, [message])
                    self.sent += 1
                except TooLargeError as error:
                    self.refuse(place, error)
        self.writer.flush(_FLUSH_S)


def _lines(to_message: ToMessage, sending: _Sending) -> Iterator[dict[str, Outgoing]]:
    """Messages of standard input, in lists of what has come."""
    number = 0
    for lines in lines_as_they_come(cast(BufferedReader, sys.stdin.buffer)):
        messages: dict[str, Outgoing] = {}
        for line in lines:
            number += 1
            if not line.strip():
                continue
            try:
                messages[f"line {number}"] = to_message(line)
            except MisfitError as error:
                sending.refuse(f"line {number}", error)
            except RecursionError:
                sending.refuse(f"line {number}", "expected fewer levels, one inside the other")
        yield messages


def _files(paths: list[Path], content_type: str | None) -> Iterator[dict[str, Outgoing]]:
    """A message of each file."""
    for path in paths:
        guessed = None if content_type is not None else mimetypes.guess_type(path.name)[0]
        headers: Headers = [] if guessed is None else [(CONTENT_TYPE, guessed.encode())]
        yield {str(path): Outgoing(None, path.read_bytes(), headers or None)}


def _key_of(topic: str, key_field: str | None, settings: Settings) -> str | None:
    if key_field is not None:
        return key_field or None
    ours = settings.topics()
    return ours[topic].key_field if topic in ours else None
