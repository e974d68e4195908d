"""Making topics and registering schemas, on each back end."""

import json
from contextlib import closing

import pytest

from streamrec.connectors.log import IncompatibleSchemaError, Log, TopicSpec
from streamrec.connectors.making_topics import Difference, ensure_topics


def schema(**types: str) -> str:
    fields = [{"name": name, "type": kind} for name, kind in types.items()]
    return json.dumps({"type": "record", "name": "row", "fields": fields})


def test_missing_topics_are_made_and_a_second_run_changes_nothing(
    log: Log, topic_name: str
) -> None:
    specs = [TopicSpec(f"{topic_name}-{part}", 3) for part in "ab"]
    schemas = {spec.name: schema(x="int") for spec in specs}
    first = ensure_topics(log, specs, schemas)
    assert first.created == [spec.name for spec in specs]
    assert [found.subject for found in first.schemas] == [f"{s.name}-value" for s in specs]
    again = ensure_topics(log, specs, schemas)
    assert again.created == []
    assert again.existing == first.created
    assert again.differences == []
    assert [(s.subject, s.version, s.id) for s in again.schemas] == [
        (s.subject, s.version, s.id) for s in first.schemas
    ]


def test_what_differs_from_the_spec_is_told_and_left_as_it_is(log: Log, topic_name: str) -> None:
    ensure_topics(log, [TopicSpec(topic_name, 2, configs={"retention.ms": "1000000"})], {})
    wanted = TopicSpec(
        topic_name, 4, configs={"retention.ms": "2000000", "cleanup.policy": "compact"}
    )
    report = ensure_topics(log, [wanted], {})
    assert report.differences == [
        Difference(topic_name, "partitions", "4", "2"),
        Difference(topic_name, "retention.ms", "2000000", "1000000"),
        Difference(topic_name, "cleanup.policy", "compact", "the broker's default"),
    ]
    with closing(log.admin()) as admin:
        assert len(admin.bounds(topic_name)) == 2


def test_a_refused_schema_leaves_no_topic_behind(log: Log, topic_name: str) -> None:
    registry = log.registry()
    with closing(registry):
        registry.set_compatibility(f"{topic_name}-value", "BACKWARD")  # type: ignore[attr-defined]  # both have it
        registry.register(f"{topic_name}-value", schema(x="int"))
    with pytest.raises(IncompatibleSchemaError):
        ensure_topics(log, [TopicSpec(topic_name)], {topic_name: schema(x="int", y="int")})
    with closing(log.admin()) as admin:
        assert topic_name not in admin.topics()
