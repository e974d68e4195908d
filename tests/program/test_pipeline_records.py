"""Records of a pipeline by its name: `send`, `receive` and `errors` with `--pipeline`."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from streamrec.connectors.backend import open_log
from streamrec.connectors.log import Log, Outgoing, Record
from streamrec.connectors.making_topics import subject_of
from streamrec.connectors.reading import read_all
from streamrec.dataflows.job.settings import load_settings
from streamrec.schemas.json_codec import JsonEncoder
from tests.program.conftest import Shell
from tests.program.error_records import error, write_errors
from tests.program.served_models import models as models

INPUTS, OUTPUTS, ERRORS = (f"models.iris.1.0.{kind}" for kind in ("inputs", "outputs", "errors"))


@pytest.fixture
def shell(embedded_shell: Shell, models: Path) -> Shell:
    return embedded_shell


@pytest.fixture
def log(shell: Shell) -> Iterator[Log]:
    yield open_log(load_settings())


def create(shell: Shell, model: str = "Iris", *options: str) -> None:
    answer = shell("pipeline", "create", "iris", "--model", f"flowers:{model}", *options)
    assert answer.status == 0, answer.err


def sent(log: Log) -> list[Record]:
    return sorted(read_all(log, INPUTS), key=lambda each: (each.value or b"", each.key is None))


def write(log: Log, topic: str, *values: bytes) -> None:
    with closing(log.writer()) as writer:
        writer.write(topic, [Outgoing(b"k", value, partition=0) for value in values])


def test_lines_of_json_go_to_its_inputs_as_they_stand(shell: Shell, log: Log) -> None:
    create(shell)
    answer = shell(
        "send", "--pipeline", "iris", "--key-field", "id", "--header", "trace=t=1", "--header",
        "tenant=a", stdin='{"id": "u1",  "petal_width": 1}\n[1]\n{"id": "u2"}\n',
    )  # fmt: skip
    assert answer.status == 1
    assert answer.err.splitlines() == [
        "line 2: expected an object with a string 'id', got '[1]'",
        f"sent 2 to {INPUTS!r}, refused 1",
    ]
    headers = [("trace", b"t=1"), ("tenant", b"a")]
    assert [(r.key, r.value, r.headers) for r in sent(log)] == [
        (b"u1", b'{"id": "u1",  "petal_width": 1}', headers),
        (b"u2", b'{"id": "u2"}', headers),
    ]


def test_one_key_may_be_given_to_all(shell: Shell, log: Log) -> None:
    create(shell)
    assert shell("send", "--pipeline", "iris", "--key", "u1", stdin="1\n2\n").status == 0
    assert [(r.key, r.value) for r in sent(log)] == [(b"u1", b"1"), (b"u1", b"2")]
    assert len({record.partition for record in sent(log)}) == 1


def test_files_are_sent_whole_with_their_content_type(
    shell: Shell, log: Log, tmp_path: Path
) -> None:
    create(shell, "Picture")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\n1\n")
    (tmp_path / "b").write_bytes(b"\xff\n")
    files = ("--file", str(tmp_path / "a.png"), "--file", str(tmp_path / "b"))
    assert shell("send", "--pipeline", "iris", *files, "--key", "k").status == 0
    assert shell("send", "--pipeline", "iris", *files[2:], "--content-type", "image/x").status == 0
    assert [(r.value, r.key, r.headers) for r in sent(log)] == [
        (b"\x89PNG\n1\n", b"k", [("content-type", b"image/png")]),
        (b"\xff\n", b"k", []),
        (b"\xff\n", None, [("content-type", b"image/x")]),
    ]


def test_a_model_of_pictures_takes_no_lines_of_text(shell: Shell, log: Log) -> None:
    create(shell, "Picture")
    answer = shell("send", "--pipeline", "iris", stdin="{}\n")
    assert answer.status == 1
    assert "pipeline 'iris' takes image/png: expected --file" in answer.err
    assert sent(log) == []


def test_a_model_of_text_takes_lines(shell: Shell, log: Log) -> None:
    create(shell, "Note")
    assert shell("send", "--pipeline", "iris", stdin="a b\nc\n").status == 0
    assert [record.value for record in sent(log)] == [b"a b", b"c"]


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("send",), "send expected a topic or --pipeline NAME, got neither"),
        (("send", "t", "--pipeline", "p"), "send expected a topic or --pipeline NAME, got both"),
        (("receive",), "receive expected a topic or --pipeline NAME, got neither"),
        (("receive", "t", "--errors"), "--errors expected --pipeline NAME beside it"),
        (("receive", "t", "--wait", "1", "-f"), "expected either --follow or --wait, got both"),
        (("send", "t", "--header", "x"), "--header expected NAME=VALUE, got 'x'"),
        (("send", "t", "--key", "k", "--key-field", "f"), "--key expected no other key"),
        (
            ("errors", "list", "--pipeline", "p", "--errors-topic", "t"),
            "errors expected either --errors-topic or --pipeline, got both",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_options_that_do_not_go_together_are_told(
    shell: Shell, command: tuple[str, ...], told: str
) -> None:
    shell("topics", "create", "t")
    answer = shell(*command)
    assert answer.status == 2
    assert told in answer.err


def test_outputs_are_json_or_avro_by_their_content(shell: Shell, log: Log) -> None:
    create(shell, "Iris", "--format", "avro")
    with closing(log.registry()) as registry:
        registered = registry.latest(subject_of(OUTPUTS))
    encode = JsonEncoder(registered.schema, registered.id).encode
    write(log, OUTPUTS, encode({"species": "setosa", "served": None}), b'{"species": "x"}', b"\0")
    answer = shell("receive", "--pipeline", "iris")
    assert [json.loads(line) for line in answer.lines] == [
        {"species": "setosa", "served": None},
        {"species": "x"},
    ]
    assert answer.status == 1
    assert f"topic {OUTPUTS!r}, partition 0, offset 2: expected wire format" in answer.err
    (line,) = shell("receive", "--pipeline", "iris", "--from", "0:1", "--max", "1", "--meta").lines
    assert (json.loads(line)["key"], json.loads(line)["value"]) == ("k", {"species": "x"})


def test_nothing_yet_is_no_error(shell: Shell) -> None:
    create(shell)
    for options in ((), ("--errors",), ("--wait", "0.2"), ("--from", "earliest", "--max", "3")):
        answer = shell("receive", "--pipeline", "iris", *options)
        assert (answer.status, answer.out, answer.err) == (0, "", "")


def test_wait_ends_when_as_many_came_as_were_asked_for(shell: Shell, log: Log) -> None:
    create(shell)
    write(log, OUTPUTS, b"1", b"2", b"3")
    answer = shell("receive", "--pipeline", "iris", "--max", "2", "--wait", "600")
    assert (answer.status, answer.lines) == (0, ["1", "2"])


def test_errors_show_the_original_as_it_was_meant(shell: Shell, log: Log) -> None:
    create(shell)
    values = ['{"petal_width": "wide"}', "no json", "\xff\x00"]
    failed = [error(n, value=value) for n, value in enumerate(values)]
    write_errors(log, failed, ERRORS)
    answer = shell("receive", "--pipeline", "iris", "--errors")
    assert answer.status == 0, answer.err
    found = [json.loads(line) for line in answer.lines]
    assert [each["value"] for each in found] == [{"petal_width": "wide"}, "no json", "\xff\x00"]
    assert [each["key"] for each in found] == ["u0", "u1", "u2"]
    assert found[0]["headers"] == {"trace": "t1"}
    assert found[0]["reason"] == "invalid_value"


def test_errors_of_a_pipeline_are_listed_shown_and_redriven(shell: Shell, log: Log) -> None:
    create(shell)
    write_errors(log, [error(n, topic=INPUTS) for n in range(2)], ERRORS)
    named = ("--pipeline", "iris")
    assert [line.split("\t")[0] for line in shell("errors", "list", *named).lines] == [
        f"{INPUTS}/0/{n}" for n in range(2)
    ]
    assert "invalid_value" in shell("errors", "show", f"{INPUTS}/0/1", *named).out
    done = shell("errors", "redrive", f"{INPUTS}/0/1", *named)
    assert done.out == "redriven 1, were already 0\n"
    assert shell("errors", "redrive", "--all", *named).out == "redriven 1, were already 1\n"
    assert [record.value for record in sent(log)] == [b"\0\0value 0", b"\0\0value 1"]
