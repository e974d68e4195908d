"""`receive`: the records of a topic as lines of JSON."""

from contextlib import closing
from typing import Annotated

import typer

from streamrec.connectors.log import Log, SchemaError, SchemaRegistry
from streamrec.dataflows.job.settings import Settings
from streamrec.program.records.reading_on import records_from
from streamrec.program.records.shown_values import (
    Decode,
    as_text,
    avro,
    by_content,
    error_records,
    with_meta,
)
from streamrec.program.serving.named import Target, one_target, served_topics
from streamrec.program.shared import UsageError, opened, say
from streamrec.program.times import FORMS
from streamrec.schemas.json_codec import UnreadableError, decode_json, to_json


def receive(
    topic: Annotated[str | None, typer.Argument(help="Topic to read.", show_default=False)] = None,
    pipeline: Annotated[
        str | None, typer.Option(help="Read this pipeline's outputs instead of a topic.")
    ] = None,
    errors: Annotated[
        bool,
        typer.Option("--errors", help="With --pipeline: what failed, with reason and original."),
    ] = False,
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
    wait_s: Annotated[
        float | None,
        typer.Option(
            "--wait",
            min=0.0,
            help="Wait for more at the end, until nothing has come for so many seconds.",
        ),
    ] = None,
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
    """Print a topic's records, or a pipeline's, decoded, one JSON value a line; a tombstone is
    null.

    Ends at what was the topic's end when it started; an empty topic prints nothing and is no error.
    Records keep their order within a partition. What cannot be decoded is named on standard error,
    the rest goes on, and the exit status is 1.
    """
    target = one_target("receive", topic, pipeline)
    if raw and as_json:
        raise UsageError("receive expected either --raw or --json, got both")
    if follow and wait_s is not None:
        raise UsageError("receive expected either --follow or --wait, got both")
    if errors and pipeline is None:
        raise UsageError("--errors expected --pipeline NAME beside it; topics have names")
    with opened() as (log, settings), closing(log.registry()) as registry:
        name, decode = _decoded(log, settings, registry, target, errors)
        if raw or as_json:
            decode = decode_json if as_json else as_text
        failed = printed = 0
        for record in records_from(log, name, start, follow, wait_s):
            try:
                value = None if record.value is None else decode(record.value, record.headers)
            except (UnreadableError, SchemaError) as error:
                failed += 1
                place = f"partition {record.partition}, offset {record.offset}"
                say(f"topic {name!r}, {place}: {error}")
                continue
            typer.echo(to_json(with_meta(record, value) if meta else value))
            printed += 1
            if printed == most:
                break
    if failed:
        raise typer.Exit(1)


def _decoded(
    log: Log, settings: Settings, registry: SchemaRegistry, target: Target, errors: bool
) -> tuple[str, Decode]:
    """The topic's name, and how its values are read. Raises CommandError."""
    if target.pipeline is None:
        return target.topic, avro(registry)
    topics = served_topics(log, settings, target.pipeline)
    if errors:
        return topics.errors, error_records(registry)
    return topics.outputs, by_content(registry)
