"""`pipeline status` and `pipeline list`: how pipelines stand, and which there are."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

import typer

from streamrec.connectors.log import LogError
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.job.topics import RECOMMENDATIONS
from streamrec.dataflows.serving.kept import KeptPipeline
from streamrec.dataflows.serving.kept_topics import (
    group_of_pipeline,
    kept_pipelines,
    with_topics,
)
from streamrec.dataflows.serving.standing import Standing, TopicStanding, standing_of
from streamrec.program.serving.named import kept_of
from streamrec.program.shared import opened, say

FLOW_ID = "scorer"  # whose group of consumers commits how far the pipelines have come

_Json = Annotated[bool, typer.Option("--json", help="As JSON, an object a line.")]


def groups_of(settings: Settings, name: str) -> tuple[str, ...]:
    """The consumer groups of what may serve a pipeline: `pipeline run`, and a scorer of several."""
    return tuple(
        f"{group}-{FLOW_ID}"
        for group in (group_of_pipeline(settings, name), settings.consumer_group)
    )


def status(
    name: Annotated[str, typer.Argument(help="The pipeline.")], as_json: _Json = False
) -> None:
    """Print how a pipeline stands: its model and version, what its topics hold, lag, rate over the
    last minute, and why the newest errors failed.

    The rate goes by timestamps, which outputs have of their inputs. Lag counts what is not answered
    durably, so that it goes down with each snapshot.
    """
    with opened() as (log, settings):
        kept, everyone = kept_of(log, settings, name)
        named = with_topics(kept, everyone.good, settings.topic(RECOMMENDATIONS))
        found = standing_of(log, named, groups_of(settings, name), int(time.time() * 1000))
    if as_json:
        facts = {**_facts(kept), **asdict(found), "lag": found.lag}
        typer.echo(json.dumps(facts, ensure_ascii=False))
        return
    for line in _page(kept, found):
        typer.echo(line)


def list_pipelines(as_json: _Json = False) -> None:
    """Print the pipelines that the log keeps, one a line: name, version, model, inputs."""
    with opened() as (log, settings):
        kept = kept_pipelines(log, settings)
        features = settings.topic(RECOMMENDATIONS)
        for each in kept.good.values():
            try:
                inputs = with_topics(each, kept.good, features).topics.inputs
            except LogError as error:  # it reads the outputs of one that is gone
                say(f"note: {error}")
                inputs = ()
            if as_json:
                typer.echo(json.dumps({**_facts(each), "inputs": inputs}, ensure_ascii=False))
            else:
                typer.echo("\t".join([each.name, each.version, each.model, ",".join(inputs)]))
    for wrong in kept.bad.values():
        say(f"note: {wrong}")


def _facts(kept: KeptPipeline) -> dict[str, Any]:
    return {
        "name": kept.name,
        "version": kept.version,
        "versions": [each.version for each in kept.versions],
        "model": kept.model,
        "prefix": kept.prefix,
        "description": kept.current.metadata.description,
        "options": {key: value for key, value in kept.entry.items() if key != "model"},
    }


def _page(kept: KeptPipeline, found: Standing) -> Iterator[str]:
    others = [each.version for each in kept.versions if each.version != kept.version]
    beside = f" (beside it {', '.join(others)})" if others else ""
    yield f"pipeline {kept.name}: version {kept.version} of {kept.model}{beside}"
    for each in found.inputs:
        lag = f", lag {each.lag}" + ("" if each.started else ", none read yet")
        yield f"  inputs   {_topic(each)}{lag if each.partitions else ''}"
    yield f"  outputs  {_topic(found.outputs)}"
    yield f"  errors   {_topic(found.errors)}"
    if found.reasons:
        reasons = ", ".join(f"{count} {reason}" for reason, count in found.reasons.items())
        yield f"           of the last {found.reasons_of}: {reasons}"


def _topic(standing: TopicStanding) -> str:
    if not standing.partitions:
        return f"{standing.topic}: expected a topic, got none; `streamrec pipeline create`"
    parts = f"{standing.partitions} partition{'s' if standing.partitions != 1 else ''}"
    records = f"{standing.records} record{'s' if standing.records != 1 else ''}"
    return f"{standing.topic}: {parts}, {records}, {_rate(standing.rate or 0.0)}"


def _rate(per_s: float) -> str:
    return f"{per_s:.2f}/s" if per_s < 10 else f"{per_s:,.0f}/s"
