"""Each command once on the embedded log and once on Kafka: the details are in the other modules."""

import json
from pathlib import Path

from streamrec.connectors.backend import open_log
from streamrec.connectors.log import Log
from streamrec.connectors.reading import read_all
from streamrec.dataflows.job.settings import load_settings
from tests.program.conftest import Shell, Topics
from tests.program.error_records import error, write_errors
from tests.program.served_models import models as models
from tests.program.served_models import run_pipeline


def _log() -> Log:
    return open_log(load_settings())


def _click(user: str, item: str) -> str:
    fields = {"user_id": user, "item_id": item, "event_type": "view", "timestamp": 1767225600000}
    return json.dumps(fields) + "\n"


def test_topics_are_made_described_grown_and_deleted(shell: Shell, topics: Topics) -> None:
    assert shell("topics", "create").status == 0
    assert set(vars(topics).values()) < set(shell("topics", "list").lines)
    again = shell("topics", "create", topics.errors, "--config", "retention.ms=77777777")
    assert again.out.splitlines()[0] == (
        f"topic {topics.errors}: exists; retention.ms expected 77777777, got 1209600000"
    )
    grown = shell("topics", "create", topics.clicks, "--partitions", "9").out
    assert f"topic {topics.clicks}: grew from 8 to 9 partitions" in grown
    described = shell("topics", "describe", topics.clicks).out
    assert f"{topics.clicks}: 9 partitions, replication 1, 0 records" in described
    assert f"schema: {topics.clicks}-value, version 1" in described
    assert shell("topics", "delete", topics.clicks, "--yes").status == 0
    assert topics.clicks not in shell("topics", "list").lines


def test_lines_are_sent_and_received(shell: Shell, topics: Topics) -> None:
    shell("topics", "create", topics.clicks)
    sent = shell("send", topics.clicks, stdin=_click("u1", "i1") + "nope\n" + _click("u1", "i2"))
    assert sent.status == 1
    assert sent.err.splitlines()[-1] == f"sent 2 to {topics.clicks!r}, refused 1"
    received = shell("receive", topics.clicks, "--meta")
    assert received.status == 0
    records = [json.loads(line) for line in received.lines]
    assert [record["value"]["item_id"] for record in records] == ["i1", "i2"]
    assert {record["key"] for record in records} == {"u1"}
    second = f"{records[1]['partition']}:{records[1]['offset']}"
    (line,) = shell("receive", topics.clicks, "--from", second).lines
    assert json.loads(line)["item_id"] == "i2"
    assert shell("receive", topics.clicks, "--from", "latest").out == ""


def test_errors_are_listed_and_redriven_once(shell: Shell, topics: Topics) -> None:
    shell("topics", "create")
    failures = [error(n, partition=n, topic=topics.clicks) for n in range(3)]
    write_errors(_log(), failures, topics.errors)
    assert [line.split("\t")[0] for line in shell("errors", "list").lines] == [
        f"{topics.clicks}/{n}/{n}" for n in range(3)
    ]
    name = f"{topics.clicks}/1/1"
    assert shell("errors", "redrive", name).out == "redriven 1, were already 0\n"
    assert shell("errors", "redrive", "--all").out == "redriven 2, were already 1\n"
    assert shell("errors", "redrive", "--all").out == "redriven 0, were already 3\n"
    redriven = {(r.partition, r.key, r.value) for r in read_all(_log(), topics.clicks)}
    assert redriven == {(n, f"u{n}".encode(), f"\0\0value {n}".encode()) for n in range(3)}


def test_a_file_is_imported(shell: Shell, topics: Topics, tmp_path: Path) -> None:
    shell("topics", "create", topics.clicks)
    file = tmp_path / "clicks.csv"
    file.write_text(
        "user_id,item_id,timestamp\nu1,i1,1767225600\nu1,,1767225601\nu2,i2,1767225602\n"
    )
    answer = shell("import", str(file), "--topic", topics.clicks)
    assert answer.status == 0
    assert "line 3: item_id expected 1 to 256 bytes, got nothing" in answer.err
    received = [json.loads(line) for line in shell("receive", topics.clicks).lines]
    assert {(r["user_id"], r["item_id"], r["timestamp"]) for r in received} == {
        ("u1", "i1", 1767225600000),
        ("u2", "i2", 1767225602000),
    }


def test_a_pipeline_is_created_sent_to_run_received_from_and_deleted(
    shell: Shell, topic_name: str, models: Path
) -> None:
    create = ("pipeline", "create", "iris", "--model", "flowers:Iris", "--prefix", topic_name)
    stem = f"{topic_name}.iris.1.0"
    made = shell(*create, "--partitions", "2", "-c", "retention.ms=77777777")
    assert made.status == 0, made.err
    assert f"topic {stem}.inputs: made, 2 partitions" in made.lines
    again = shell(*create)
    assert again.status == 0, again.err
    assert again.lines[-1] == "pipeline iris: exists, version 1.0 of flowers:Iris"
    assert not any("expected" in line for line in again.lines)  # it is as it was made
    lines = '{"petal_width": 1.25}\n{"petal_width": "wide"}\n{"petal_width": 2.5}\n'
    assert shell("send", "--pipeline", "iris", "--key", "k", stdin=lines).status == 0
    before = json.loads(shell("pipeline", "status", "iris", "--json").out)
    assert (before["lag"], before["inputs"][0]["rate"]) == (3, 3 / 60)
    assert run_pipeline("iris", "--until-end").returncode == 0
    answers = shell("receive", "--pipeline", "iris", "--max", "2", "--wait", "30")
    assert (answers.status, answers.lines) == (
        0,
        ['{"species": "setosa"}', '{"species": "virginica"}'],
    )
    failed = shell("receive", "--pipeline", "iris", "--errors", "--wait", "0.1")
    assert [json.loads(line)["value"] for line in failed.lines] == [{"petal_width": "wide"}]
    after = json.loads(shell("pipeline", "status", "iris", "--json").out)
    assert (after["lag"], after["reasons"]) == (0, {"invalid_value": 1})
    assert shell("errors", "redrive", "--all", "--pipeline", "iris").lines == [
        "redriven 1, were already 0"
    ]
    assert shell("pipeline", "delete", "iris").status == 2
    deleted = shell("pipeline", "delete", "iris", "--yes")
    assert deleted.status == 0, deleted.err
    assert f"topic {stem}.inputs: deleted, 4 records" in deleted.lines
    assert [t for t in shell("topics", "list").lines if t.startswith(stem)] == []
    assert shell("pipeline", "list").out == ""
