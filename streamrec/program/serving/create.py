"""`pipeline create`: the topics and schemas of a model, and a line on the log by which it is
found."""

import sys
from contextlib import redirect_stdout
from enum import StrEnum
from typing import Annotated, Any

import typer

from streamrec.dataflows.serving.kept import (
    BadKeptPipeline,
    pipeline_of,
)
from streamrec.dataflows.serving.pipelines import DEFAULT_PREFIX
from streamrec.models.serving.contract import NAME, Metadata
from streamrec.program.records.topics import parse_config
from streamrec.program.serving.plan import carried_out, plan_create, without_zeros
from streamrec.program.shared import UsageError, opened


class OutputFormat(StrEnum):
    """What outputs are written as."""

    JSON = "json"
    AVRO = "avro"


def create(
    name: Annotated[str, typer.Argument(help="What the pipeline is called from now on.")],
    model: Annotated[
        str,
        typer.Option(
            help="module:Thing, module:Thing.method, module:function, or a file's path; found from "
            "the folder in which the command runs."
        ),
    ],
    partitions: Annotated[
        int | None,
        typer.Option(min=1, help="Of each topic; what exists may grow.  [8]", show_default=False),
    ] = None,
    replication: Annotated[
        int | None,
        typer.Option(min=1, help="Brokers that hold each partition.  [1]", show_default=False),
    ] = None,
    config: Annotated[
        list[str] | None,
        typer.Option(
            "--config",
            "-c",
            help="An option of its topics, as the broker calls it: retention.ms=86400000.",
        ),
    ] = None,
    output_format: Annotated[
        OutputFormat | None,
        typer.Option("--format", help="Of outputs.  [json]", show_default=False),
    ] = None,
    timeout_s: Annotated[
        float | None,
        typer.Option(
            min=0, help="Longest for one record, in a process of its own; 0: no such limit."
        ),
    ] = None,
    memory_mb: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Most that the model may grow, in a process of its own; 0: no such limit.",
        ),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            help="Read this topic instead of one of its own (repeatable); model:NAME: the outputs "
            "of that pipeline; features: the user features of the main job.",
        ),
    ] = None,
    content_type: Annotated[
        str | None, typer.Option(help="Of raw bytes that come without a header content-type.")
    ] = None,
    prefix: Annotated[
        str | None, typer.Option(help="Of its topics' names.  [models]", show_default=False)
    ] = None,
    adopt: Annotated[
        bool,
        typer.Option("--adopt", help="Take topics of these names that hold records already."),
    ] = False,
) -> None:
    """Make the topics and schemas of a model, and write it down on the log under a name.

    Any machine then serves it, sends to it and receives from it by that name. Doing it again
    changes nothing; options that are given anew are changed, the others stay. A model with a new
    minor version gets new topics beside the old, and is served from then on; another schema under
    the same version is refused.
    """
    if not NAME.fullmatch(name):
        raise UsageError(
            "pipeline create expected a name of letters, digits, '-' and '_' with a letter or "
            f"digit first, got {name!r}"
        )
    given: dict[str, Any] = {
        "model": model,
        "partitions": partitions,
        "replication": replication,
        "configs": dict(parse_config(each) for each in config or ()) or None,
        "format": None if output_format is None else output_format.value,
        "timeout_s": timeout_s,
        "memory_mb": memory_mb,
        "inputs": inputs,
        "content_type": content_type,
    }
    given = {key: value for key, value in given.items() if value is not None}
    try:
        pipeline_of(name, prefix or DEFAULT_PREFIX, without_zeros(given))
    except BadKeptPipeline as error:
        raise UsageError(str(error)) from None
    metadata = loaded_metadata(name, model)
    with opened(make=True) as (log, settings):
        plan = plan_create(log, settings, name, prefix, given, metadata, adopt)
        for line in carried_out(log, settings, plan, partitions):
            typer.echo(line)


def loaded_metadata(name: str, model: str) -> Metadata:
    """What a model says of itself, once it is loaded. Raises UsageError that says what is
    missing."""
    # Here and not above: the other commands need not wait for what loads models.
    from streamrec.models.loading import BadModel
    from streamrec.models.serving.loading import load_predictor

    try:
        # What somebody's code prints is not this command's output.
        with redirect_stdout(sys.stderr):
            return load_predictor(model).metadata
    except BadModel as error:
        raise UsageError(f"pipeline {name!r}: {error}") from None
