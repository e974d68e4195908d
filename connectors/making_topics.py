"""Makes topics and registers schemas, as often as one likes; never done by a running dataflow."""

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple

from streamrec.connectors.log import (
    Log,
    LogAdmin,
    RegisteredSchema,
    TopicInfo,
    TopicSpec,
    UnknownTopicError,
)


def subject_of(topic: str) -> str:
    """The registry's subject of a topic's values (Confluent's TopicNameStrategy)."""
    return f"{topic}-value"


class Difference(NamedTuple):
    """Where a topic that exists is not as its spec says."""

    topic: str
    what: str  # "partitions", "replication", or the name of an option
    expected: str
    got: str


@dataclass(frozen=True, slots=True)
class TopicsReport:
    """What `ensure_topics` found and did."""

    created: list[str] = field(default_factory=list)
    existing: list[str] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    schemas: list[RegisteredSchema] = field(default_factory=list)


def ensure_topics(log: Log, specs: Iterable[TopicSpec], schemas: Mapping[str, str]) -> TopicsReport:
    """Create the topics that are missing and register each topic's schema under `<topic>-value`.

    A topic that exists stays as it is, and the report says how it differs from its spec.
    `schemas` are JSON texts by topic. Schemas come first: when one is refused, no topic is made.
    Raises LogError, IncompatibleSchemaError, RegistryUnavailableError.
    """
    report = TopicsReport()
    if schemas:
        with closing(log.registry()) as registry:
            for topic, schema in schemas.items():
                report.schemas.append(registry.register(subject_of(topic), schema))
    with closing(log.admin()) as admin:
        for spec in specs:
            _ensure(admin, spec, report)
    return report


def _ensure(admin: LogAdmin, spec: TopicSpec, report: TopicsReport) -> None:
    try:
        found = admin.describe(spec.name)
    except UnknownTopicError:
        admin.create(spec)
        report.created.append(spec.name)
    else:
        report.existing.append(spec.name)
        report.differences.extend(differences(spec, found))


def differences(spec: TopicSpec, found: TopicInfo) -> list[Difference]:
    """How a topic differs from its spec. Options that the spec does not name are not compared."""
    pairs = [
        ("partitions", str(spec.partitions), str(len(found.bounds))),
        ("replication", str(spec.replication), str(found.replication)),
        *(
            (name, value, found.configs.get(name, "the broker's default"))
            for name, value in spec.configs.items()
        ),
    ]
    return [Difference(spec.name, *pair) for pair in pairs if pair[1] != pair[2]]
