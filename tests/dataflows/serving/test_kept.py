import json
from contextlib import closing
from dataclasses import replace

import pytest

from streamrec.connectors.log import Log, Outgoing
from streamrec.dataflows.job.settings import load_settings
from streamrec.dataflows.serving.kept import (
    BadKeptPipeline,
    KeptPipeline,
    KeptVersion,
    forget,
    keep,
    read_kept,
)
from streamrec.dataflows.serving.kept_list import check_models, kept_list, names_of_kept
from streamrec.dataflows.serving.kept_topics import ChangedModel, UnknownPipeline
from streamrec.dataflows.serving.pipelines import BadModelList
from streamrec.models.serving.contract import Metadata

INPUT = {"type": "object", "properties": {"title": {"type": "string"}}}
METADATA = Metadata("iris", "Iris", "Blumen: \u00fc", 1, 0, INPUT, None, ("image/png",))
IRIS = KeptPipeline(
    "iris",
    "live",
    {"model": "flowers:Iris", "timeout_s": 2.0, "configs": {"retention.ms": "5"}},
    "1.0",
    (KeptVersion(METADATA, ("live.iris.1.0.inputs", "live.iris.1.0.outputs")),),
)
NEWER = replace(METADATA, minor_version=1, input_schema=None)


def test_what_is_kept_is_read_again_and_the_last_word_holds(embedded_log: Log) -> None:
    assert read_kept(embedded_log).good == {}  # nor is there such a topic
    keep(embedded_log, IRIS)
    assert read_kept(embedded_log).good == {"iris": IRIS}
    newer = replace(IRIS, version="1.1", versions=(*IRIS.versions, KeptVersion(NEWER, ())))
    keep(embedded_log, newer)
    keep(embedded_log, replace(IRIS, name="other"))
    forget(embedded_log, "other")
    assert read_kept(embedded_log).good == {"iris": newer}


def _with(**changed: object) -> bytes:
    version = {"metadata": {**_METADATA, "content_types": []}, "topics": []}
    record = {
        "format": 1, "prefix": "m", "entry": {"model": "a:B"}, "version": "1.0",
        "versions": [version],
    }  # fmt: skip
    return json.dumps({**record, **changed}).encode()


_METADATA = {
    "qualified_name": "iris", "display_name": "", "description": "", "major_version": 1,
    "minor_version": 0, "input_schema": None, "output_schema": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b"{nope", "pipeline 'x': expected "),
        (b"[]", "pipeline 'x': expected "),
        (_with(format=2), "field format expected 1, got '2'"),
        (_with(prefix=None), "field prefix expected a valid string, got 'None'"),
        (_with(versions=[]), "field versions expected "),
        (_with(versions=[{"metadata": {}, "topics": []}]), "field versions.0.metadata."),
        (_with(version="1.7"), "field version expected one of 1.0, got '1.7'"),
        (_with(entry={"model": "a:B", "timeout_s": -1}), "timeout_s expected"),
        (_with(entry={}), "expected a key 'model', got none"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_was_not_written_so_is_told_with_its_field_and_harms_no_other(
    embedded_log: Log, value: bytes, told: str
) -> None:
    keep(embedded_log, IRIS)
    with closing(embedded_log.writer()) as writer:
        writer.write("pipelines", [Outgoing(b"x", value), Outgoing(b"y", _with())])
    found = read_kept(embedded_log)
    assert list(found.good) == ["iris", "y"]
    assert told in str(found.bad["x"])
    settings = load_settings()
    with pytest.raises(BadKeptPipeline):
        kept_list(embedded_log, settings, ["x"])


def test_pipelines_are_a_list_of_models_by_their_names(embedded_log: Log) -> None:
    keep(embedded_log, IRIS)
    keep(embedded_log, replace(IRIS, name="b", entry={"model": "m:B", "inputs": ["model:iris"]}))
    settings = load_settings()
    models, named = kept_list(embedded_log, settings, names_of_kept("pipeline:b, pipeline:iris"))
    assert [each.name for each in models.pipelines] == ["b", "iris"]
    assert models.pipelines[1].variants[0].timeout_s == 2.0
    assert named[0].topics.inputs == ("live.iris.1.0.outputs",)
    assert named[1].topics.inputs == ("live.iris.1.0.inputs",)
    assert named[1].metadata == (METADATA,)
    with pytest.raises(UnknownPipeline, match="expected one of b, iris, got 'c'"):
        kept_list(embedded_log, settings, ["c"])


def test_a_list_is_of_pipelines_or_of_models() -> None:
    assert names_of_kept(None) == names_of_kept("flowers:Iris, x.skops") == ()
    with pytest.raises(BadModelList, match="expected either pipeline:NAME, or models and files"):
        names_of_kept("pipeline:iris,flowers:Iris")


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (NEWER, "expected its model in version 1.0, got 1.1; `streamrec pipeline create iris"),
        (replace(METADATA, input_schema=None), "input schema expected .*, got null; "),
        (replace(METADATA, output_schema={}), "output schema expected null, got {}; "),
        (replace(METADATA, content_types=()), r"content types expected \["),
    ],
    ids=["version", "input", "output", "content types"],
)
def test_a_model_that_changed_is_told_with_what_to_do(
    embedded_log: Log, now: Metadata, told: str
) -> None:
    keep(embedded_log, IRIS)
    _, named = kept_list(embedded_log, load_settings(), ["iris"])
    check_models(named, lambda _: [replace(METADATA, description="another")])
    with pytest.raises(ChangedModel, match=told):
        check_models(named, lambda _: [now])
