"""`pipeline` as a user has it, on the embedded log: what is made, said, refused and taken away."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from streamrec.connectors.backend import open_log
from streamrec.connectors.leases.holder import Claim
from streamrec.connectors.log import Log, Outgoing
from streamrec.dataflows.job.settings import load_settings
from tests.program.conftest import Answer, Shell
from tests.program.error_records import error, write_errors
from tests.program.served_models import models as models

STEM = "models.iris.1.0"
ALL = [f"{STEM}.{kind}" for kind in ("errors", "errors-redrives", "inputs", "outputs")]


@pytest.fixture
def shell(embedded_shell: Shell, models: Path) -> Shell:
    return embedded_shell


@pytest.fixture
def log(shell: Shell) -> Iterator[Log]:
    yield open_log(load_settings())


def create(shell: Shell, model: str = "Iris", *options: str, name: str = "iris") -> Answer:
    return shell("pipeline", "create", name, "--model", f"flowers:{model}", *options)


def topics(shell: Shell) -> list[str]:
    return shell("topics", "list").lines


def write(log: Log, topic: str, value: bytes | None, key: bytes | None = None) -> None:
    with closing(log.writer()) as writer:
        writer.write(topic, [Outgoing(key, value, partition=0)])


def status(shell: Shell, name: str = "iris") -> dict[str, Any]:
    answer = shell("pipeline", "status", name, "--json")
    assert answer.status == 0, answer.err
    found: dict[str, Any] = json.loads(answer.out)
    return found


def test_create_makes_exactly_its_topics_and_schemas_and_says_so(shell: Shell) -> None:
    answer = create(shell, "Iris", "--partitions", "2", "-c", "retention.ms=77777777")
    assert answer.status == 0, answer.err
    assert answer.lines == [
        f"topic {STEM}.inputs: made, 2 partitions",
        f"topic {STEM}.outputs: made, 2 partitions",
        f"topic {STEM}.errors: made, 2 partitions",
        f"topic {STEM}.errors-redrives: made, 1 partition",
        f"schema {STEM}.inputs-value: version 1, id 1",
        f"schema {STEM}.errors-value: version 1, id 2",
        f"schema {STEM}.errors-redrives-value: version 1, id 3",
        "pipeline iris: made, version 1.0 of flowers:Iris",
    ]
    assert topics(shell) == [*ALL, "pipelines"]
    assert "retention.ms=77777777" in shell("topics", "describe", f"{STEM}.outputs").out
    assert "retention.ms=1209600000" in shell("topics", "describe", f"{STEM}.errors").out


def test_create_again_says_exists_and_changes_nothing(shell: Shell) -> None:
    create(shell)
    before = shell("topics", "describe").out
    again = create(shell)
    assert again.status == 0
    assert again.lines[:4] == [
        f"topic {STEM}.{kind}: exists"
        for kind in ("inputs", "outputs", "errors", "errors-redrives")
    ]
    assert again.lines[-1] == "pipeline iris: exists, version 1.0 of flowers:Iris"
    assert shell("topics", "describe").out == before


def test_another_schema_under_the_same_version_is_refused_and_both_are_named(shell: Shell) -> None:
    create(shell)
    before = shell("topics", "describe").out
    answer = create(shell, "Changed")
    assert answer.status == 1
    assert answer.err == (
        "streamrec: pipeline 'iris', version 1.0: input schema at properties.petal_width.type "
        'expected "number", got "string"; a model that takes or answers something else needs a new '
        "minor version\n"
    )
    assert shell("topics", "describe").out == before
    assert create(shell, "Described").status == 0  # what only describes it is no other schema


def test_a_new_minor_version_has_topics_beside_the_old_and_is_served(shell: Shell) -> None:
    create(shell)
    answer = create(shell, "Newer")
    assert answer.status == 0, answer.err
    assert answer.lines[-2:] == [
        "pipeline iris: version 1.1 of flowers:Newer is served, no longer 1.0",
        "pipeline iris: model is flowers:Newer, was flowers:Iris",
    ]
    assert set(topics(shell)) == {*ALL, *(t.replace("1.0", "1.1") for t in ALL), "pipelines"}
    found = status(shell)
    assert (found["version"], found["versions"]) == ("1.1", ["1.0", "1.1"])
    assert [each["topic"] for each in found["inputs"]] == ["models.iris.1.1.inputs"]
    create(shell)  # and back
    assert (status(shell)["version"], status(shell)["versions"]) == ("1.0", ["1.0", "1.1"])


def test_options_that_are_given_anew_change_and_the_others_stay(shell: Shell) -> None:
    create(shell, "Iris", "--timeout-s", "2", "--memory-mb", "512")
    answer = create(shell, "Iris", "--timeout-s", "0", "--partitions", "9")
    assert answer.lines[-2:] == [
        "pipeline iris: timeout_s is none, was 2.0",
        "pipeline iris: partitions is 9, was none",
    ]
    assert f"topic {STEM}.inputs: grew from 8 to 9 partitions" in answer.lines
    assert status(shell)["options"] == {"memory_mb": 512, "partitions": 9}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("iris", "--model", "flowers:Nothing"), "predict"),
        (("iris", "--model", "flowers:Rose"), "'Rose'"),
        (("iris", "--model", "nosuch:Rose"), "nosuch"),
        (("i.ris", "--model", "flowers:Iris"), "expected a name of letters"),
        (("iris", "--model", "flowers:Iris", "-c", "retention.ms"), "expected NAME=VALUE"),
        (("iris", "--model", "flowers:Iris", "--timeout-s", "9999"), "timeout_s expected"),
        (("iris", "--model", "flowers:Iris", "--prefix", "a b"), "prefix expected"),
        (("iris", "--model", "flowers:Iris", "--content-type", ""), "content_type expected"),
        (("iris", "--model", "flowers:Anything", "--format", "avro"), "an output schema that Avro"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_created_is_told_in_a_line_and_nothing_is_made(
    shell: Shell, arguments: tuple[str, ...], told: str
) -> None:
    shell("topics", "create", "other")
    answer = shell("pipeline", "create", *arguments)
    assert answer.status == 2
    assert told in answer.err and len(answer.err.splitlines()) == 1, answer.err
    assert topics(shell) == ["other"]


def test_a_pipeline_may_read_topics_of_others(shell: Shell) -> None:
    create(shell)
    assert "expected topic 'flowers'" in create(shell, "Iris", "--input", "flowers", name="b").err
    answer = create(shell, "Iris", "--input", "model:iris", name="b")
    assert answer.status == 0, answer.err
    assert "models.b.1.0.inputs" not in topics(shell)
    assert [each["topic"] for each in status(shell, "b")["inputs"]] == [f"{STEM}.outputs"]
    refused = shell("send", "--pipeline", "b", stdin="{}\n")
    assert refused.status == 1
    assert f"pipeline 'b' reads {STEM}.outputs" in refused.err
    unknown = create(shell, "Iris", "--input", "model:rose", name="c")
    assert "expected a pipeline of b, iris, got 'rose'" in unknown.err


@pytest.mark.parametrize(
    "command",
    [
        ("pipeline", "run", "rose"),
        ("pipeline", "status", "rose"),
        ("pipeline", "delete", "rose"),
        ("send", "--pipeline", "rose"),
        ("receive", "--pipeline", "rose"),
        ("errors", "list", "--pipeline", "rose"),
    ],
    ids=" ".join,
)
def test_an_unknown_name_is_told_with_those_that_there_are(
    shell: Shell, command: tuple[str, ...]
) -> None:
    create(shell)
    create(shell, name="tulip")
    answer = shell(*command)
    assert answer.status == 1
    assert answer.err.startswith("streamrec: pipeline expected one of iris, tulip, got 'rose'; ")


def test_status_tells_lag_rate_and_why_records_failed(shell: Shell, log: Log) -> None:
    create(shell)
    shell("send", "--pipeline", "iris", "--key", "k", stdin='{"petal_width": 1}\n' * 4)
    assert shell("pipeline", "status", "iris").lines[1] == (
        f"  inputs   {STEM}.inputs: 8 partitions, 4 records, 0.07/s, lag 4, none read yet"
    )
    (partition,) = [p for p, at in _ends(log, f"{STEM}.inputs").items() if at]
    with closing(log.reader()) as reader:
        reader.commit("streamrec-scorer", f"{STEM}.inputs", {partition: 3})
    for _ in range(3):
        write(log, f"{STEM}.outputs", b"{}")
    failed = [error(1), error(2), error(3, reason="model_failed")]
    write_errors(log, failed, f"{STEM}.errors")
    assert shell("pipeline", "status", "iris").lines == [
        "pipeline iris: version 1.0 of flowers:Iris",
        f"  inputs   {STEM}.inputs: 8 partitions, 4 records, 0.07/s, lag 1",
        f"  outputs  {STEM}.outputs: 8 partitions, 3 records, 0.05/s",
        f"  errors   {STEM}.errors: 8 partitions, 3 records, 0.05/s",
        "           of the last 3: 2 invalid_value, 1 model_failed",
    ]
    found = status(shell)
    assert (found["lag"], found["reasons"]) == (1, {"invalid_value": 2, "model_failed": 1})
    assert found["outputs"]["rate"] == pytest.approx(3 / 60)


def _ends(log: Log, topic: str) -> dict[int, int]:
    with closing(log.admin()) as admin:
        return admin.ends(topic)


def test_status_of_a_topic_that_is_gone_says_so(shell: Shell) -> None:
    create(shell)
    shell("topics", "delete", f"{STEM}.outputs", "--yes")
    answer = shell("pipeline", "status", "iris")
    assert answer.status == 0
    assert f"{STEM}.outputs: expected a topic, got none" in answer.out


def test_list_has_a_line_each_and_notes_what_cannot_be_read(shell: Shell, log: Log) -> None:
    assert shell("topics", "create", "other").status == 0
    assert (shell("pipeline", "list").status, shell("pipeline", "list").out) == (0, "")
    create(shell, name="b")
    create(shell, name="a")
    write(log, "pipelines", b'{"format": 2}', b"z")
    write(log, "pipelines", b"nope", b"y")
    answer = shell("pipeline", "list")
    assert answer.status == 0
    assert answer.lines == [
        f"{name}\t1.0\tflowers:Iris\tmodels.{name}.1.0.inputs" for name in ("a", "b")
    ]
    assert "note: topic 'pipelines': pipeline 'y': expected " in answer.err
    assert "note: topic 'pipelines': pipeline 'z': field format expected 1, got '2'" in answer.err
    rows = [json.loads(line) for line in shell("pipeline", "list", "--json").lines]
    assert {row["name"]: row["model"] for row in rows} == dict.fromkeys("ab", "flowers:Iris")
    assert "field format expected 1" in shell("pipeline", "status", "z").err
    assert shell("pipeline", "delete", "z").status == 0
    assert create(shell, name="y").status == 0
    assert [line.split("\t")[0] for line in shell("pipeline", "list").lines] == ["a", "b", "y"]


def test_delete_takes_away_all_versions_and_nothing_else(shell: Shell) -> None:
    create(shell)
    create(shell, "Newer")
    create(shell, name="other")
    answer = shell("pipeline", "delete", "iris")
    assert answer.status == 0, answer.err  # no records: nobody is asked
    assert answer.lines[0] == f"topic {STEM}.inputs: deleted, 0 records"
    assert answer.lines[-1] == "pipeline iris: deleted"
    assert len(answer.lines) == 9
    assert topics(shell) == [*(t.replace("iris", "other") for t in ALL), "pipelines"]
    assert [line.split("\t")[0] for line in shell("pipeline", "list").lines] == ["other"]


def test_a_schema_that_the_registry_refuses_is_told_with_what_to_do(shell: Shell) -> None:
    create(shell)
    shell("pipeline", "delete", "iris")
    answer = create(shell, "Changed")
    assert answer.status == 1
    assert "BACKWARD compatible with version 1" in answer.err
    assert answer.err.endswith(
        "; schemas stay registered when a pipeline is deleted: a model that takes or answers "
        "something else needs a new minor version\n"
    )
    assert topics(shell) == ["pipelines"]


def test_records_are_deleted_only_by_who_says_so(shell: Shell) -> None:
    create(shell)
    shell("send", "--pipeline", "iris", stdin="{}\n{}\n")
    refused = shell("pipeline", "delete", "iris", stdin="y\n")
    assert refused.status == 2
    assert f"2 records would be deleted: {STEM}.inputs (2); nothing was deleted" in refused.err
    assert topics(shell) == [*ALL, "pipelines"]
    answer = shell("pipeline", "delete", "iris", "--yes")
    assert answer.status == 0
    assert f"topic {STEM}.inputs: deleted, 2 records" in answer.lines
    assert topics(shell) == ["pipelines"]


def test_a_pipeline_that_is_served_is_not_deleted_under_it(shell: Shell, log: Log) -> None:
    create(shell)
    group = "streamrec-iris.scorer"  # what `pipeline run` holds
    lease = log.lease(group, Claim(0, "1 process of 1 worker", 5.0), None, lambda told: None)
    lease.claim()
    refused = shell("pipeline", "delete", "iris", "--yes")
    lease.leave()
    assert refused.status == 1
    assert "pipeline 'iris' is being served, nothing was deleted: " in refused.err
    assert topics(shell) == [*ALL, "pipelines"]
    assert shell("pipeline", "delete", "iris", "--yes").status == 0


def test_topics_with_records_of_others_are_not_taken_over(shell: Shell) -> None:
    create(shell)
    shell("send", "--pipeline", "iris", stdin="{}\n")
    shell("pipeline", "delete", "iris", "--keep-topics")
    refused = create(shell)
    assert refused.status == 1
    assert f"expected topics of its own, got '{STEM}.inputs' with 1 records" in refused.err
    assert shell("pipeline", "list").lines == []
    assert create(shell, "Iris", "--adopt").status == 0


def test_what_is_missing_already_is_no_error_for_delete(shell: Shell) -> None:
    create(shell)
    shell("topics", "delete", f"{STEM}.outputs", "--yes")
    answer = shell("pipeline", "delete", "iris")
    assert answer.status == 0, answer.err
    assert len(answer.lines) == 4
    assert topics(shell) == ["pipelines"]


def test_topics_may_be_kept_and_readers_are_noted(shell: Shell) -> None:
    create(shell)
    create(shell, "Iris", "--input", "model:iris", name="b")
    shell("send", "--pipeline", "iris", stdin="{}\n")
    answer = shell("pipeline", "delete", "iris", "--keep-topics")
    assert (answer.status, answer.lines) == (0, ["pipeline iris: deleted"])
    assert "note: pipeline 'b' reads its outputs" in answer.err
    assert set(ALL) < set(topics(shell))
    assert "input 'model:iris' expected a pipeline of b, got 'iris'" in (
        shell("pipeline", "status", "b").err
    )
    adopted = create(shell, "Iris", "--adopt")
    assert adopted.lines[0] == f"topic {STEM}.inputs: exists"
