import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from streamrec.connectors.embedded.log import EmbeddedLog
from streamrec.connectors.log import Outgoing
from tests.program.conftest import Shell


def click(user: str = "u1", item: str = "i1", **more: Any) -> dict[str, Any]:
    optional = {"price_cents": None, "category_id": None, "session_id": None}
    fields = {"user_id": user, "item_id": item, "event_type": "view", "timestamp": 1767225600000}
    return {**fields, **optional, **more}


def lines(*records: object) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def test_what_is_sent_is_received(embedded_shell: Shell) -> None:
    embedded_shell("topics", "create")
    sent = [click("u1"), click("u1", "i2", price_cents=5), click("u1", "ü", session_id="s")]
    assert embedded_shell("send", "clicks", stdin=lines(*sent)).status == 0
    answer = embedded_shell("receive", "clicks")
    assert answer.status == 0
    assert [json.loads(line) for line in answer.lines] == sent


def test_defaults_may_be_left_out_and_the_key_is_the_topics(embedded_shell: Shell) -> None:
    embedded_shell("topics", "create")
    short = {"user_id": "u9", "item_id": "i1", "event_type": "cart", "timestamp": 1}
    embedded_shell("send", "clicks", stdin=lines(short))
    received = json.loads(embedded_shell("receive", "clicks", "--meta").out)
    assert received["key"] == "u9"
    assert received["value"] == click("u9", event_type="cart", timestamp=1)


def test_bad_lines_are_named_and_the_rest_goes_on(embedded_shell: Shell) -> None:
    embedded_shell("topics", "create")
    bad_type, bad_enum, extra = click(user=7), click(event_type="pv"), click(colour="red")  # type: ignore[arg-type]
    missing = {key: value for key, value in click().items() if key != "timestamp"}
    stdin = lines(click("a"), bad_type, bad_enum, extra, missing) + "{nope\n\n" + lines(click("b"))
    answer = embedded_shell("send", "clicks", stdin=stdin)
    assert answer.status == 1
    assert answer.err.splitlines() == [
        "line 2: field user_id expected string, got 7",
        "line 3: field event_type expected one of view, cart, favorite, purchase, other, got 'pv'",
        "line 4: expected fields ['user_id', 'item_id', 'event_type', 'timestamp', "
        "'price_cents', 'category_id', 'session_id'], got also ['colour']",
        "line 5: field timestamp expected long, got nothing",
        "line 6: expected JSON, got '{nope': Expecting property name enclosed in double quotes: "
        "line 1 column 2 (char 1)",
        "sent 2 to 'clicks', refused 5",
    ]
    users = {json.loads(line)["user_id"] for line in embedded_shell("receive", "clicks").lines}
    assert users == {"a", "b"}


def test_raw_lines_are_sent_as_they_are(embedded_shell: Shell) -> None:
    embedded_shell("topics", "create", "notes", "--partitions", "1")
    embedded_shell("send", "notes", "--raw", "--key-separator", ":", stdin="k1:one\nk2:two:2\n")
    assert [json.loads(line) for line in embedded_shell("receive", "notes", "--raw").lines] == [
        "one",
        "two:2",
    ]


def test_what_cannot_be_decoded_is_named_and_the_rest_goes_on(embedded_shell: Shell) -> None:
    embedded_shell("topics", "create", "clicks", "--partitions", "1")
    embedded_shell("send", "clicks", "--raw", stdin="no avro\n")
    embedded_shell("send", "clicks", stdin=lines(click()))
    answer = embedded_shell("receive", "clicks")
    assert answer.status == 1
    assert [json.loads(line) for line in answer.lines] == [click()]
    assert "partition " in answer.err and "expected wire format" in answer.err


def test_empty_topic_is_no_error(embedded_shell: Shell) -> None:
    embedded_shell("topics", "create")
    answer = embedded_shell("receive", "recommendations")
    assert (answer.status, answer.out) == (0, "")


def test_start_may_be_an_offset_a_time_or_an_end(embedded_shell: Shell) -> None:
    embedded_shell("topics", "create", "clicks")
    partition = 0
    embedded_shell("send", "clicks", stdin=lines(*(click("u1", f"i{n}") for n in range(5))))
    first = json.loads(embedded_shell("receive", "clicks", "--meta", "--max", "1").out)
    partition = first["partition"]

    def items(start: str) -> list[str]:
        received = embedded_shell("receive", "clicks", "--from", start)
        assert received.status == 0, received.err
        return [json.loads(line)["item_id"] for line in received.lines]

    everything = [f"i{n}" for n in range(5)]
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert items(f"{partition}:3") == ["i3", "i4"]
    assert items("latest") == []
    assert items("1h") == everything
    assert items(str(first["timestamp"])) == everything
    assert items(tomorrow.isoformat()) == []


def test_wrong_start_is_named(embedded_shell: Shell) -> None:
    embedded_shell("topics", "create", "clicks")
    for start, expected in [
        ("0:9", "expected offset 0 to 0, got 9"),
        ("99:0", "expected partition 0 to 7, got 99"),
        ("soon", "expected Unix milliseconds"),
    ]:
        answer = embedded_shell("receive", "clicks", "--from", start)
        assert answer.status == 2
        assert expected in answer.err


def test_bytes_survive_the_way_through_json(embedded_shell: Shell, tmp_path: Path) -> None:
    schema = tmp_path / "blob.avsc"
    schema.write_text(
        '{"type": "record", "name": "Blob", "fields": ['
        '{"name": "content", "type": ["null", "bytes"]},'
        '{"name": "tags", "type": {"type": "map", "values": "double"}},'
        '{"name": "inner", "type": {"type": "array", "items": '
        '{"type": "fixed", "name": "Two", "size": 2}}}]}'
    )
    embedded_shell("topics", "create", "blobs", "--schema", str(schema))
    blob = {"content": "\x00ÿ", "tags": {"a": 1.5}, "inner": ["\x01\x02"]}
    answer = embedded_shell("send", "blobs", stdin=lines(blob, {**blob, "inner": ["x"]}))
    assert "line 2: field inner[0] expected 2 bytes, got 1" in answer.err
    assert json.loads(embedded_shell("receive", "blobs").out) == blob


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (lines(click(user="\ud800x")), r"field user_id expected string of whole characters, got "),
        (b'{"user_id": "\xff"}\n', r"""expected JSON, got '{"user_id": "\xff"}'"""),
        ('{"user_id": "a", "user_id": "b"}\n', "expected each field once, got 'user_id' again"),
        ("[" * 100_000 + "\n", "expected fewer levels, one inside the other"),
        ('{"user_id": ' + "[" * 900 + "]" * 900 + "}\n", ""),
        ("1" * 5_000 + "\n", "expected JSON, got '111"),
        (lines(click(timestamp=10**400)), "field timestamp expected long"),
        (lines(click(user="x" * 2_000_000)), "max.message.bytes"),
        ("null\n", "expected an object"),
        ("[1]\n", "expected an object"),
    ],
    ids=range(10),
)  # fmt: skip
def test_what_stands_before_and_behind_a_bad_line_is_sent(
    embedded_shell: Shell, line: str | bytes, said: str
) -> None:
    embedded_shell("topics", "create")
    bad = line if isinstance(line, bytes) else line.encode()
    stdin = lines(click("before")).encode() + bad + lines(click("behind")).encode()
    answer = embedded_shell("send", "clicks", stdin=stdin)
    assert answer.status == 1
    first, last = answer.err.splitlines()
    assert first.startswith("line 2: ")
    assert said in first
    assert last == "sent 2 to 'clicks', refused 1"
    users = {json.loads(each)["user_id"] for each in embedded_shell("receive", "clicks").lines}
    assert users == {"before", "behind"}


def test_a_number_that_no_double_holds_is_named(embedded_shell: Shell, tmp_path: Path) -> None:
    schema = tmp_path / "double.avsc"
    schema.write_text('"double"')
    embedded_shell("topics", "create", "numbers", "--schema", str(schema))
    answer = embedded_shell("send", "numbers", stdin=f"1.5\n{10**400}\n-2\n")
    assert answer.err.splitlines()[0].startswith("line 2: expected double, got 1000")
    received = {float(line) for line in embedded_shell("receive", "numbers").lines}
    assert received == {1.5, -2.0}


def test_headers_of_one_name_are_all_shown(embedded_shell: Shell, tmp_path: Path) -> None:
    embedded_shell("topics", "create", "notes", "--partitions", "1")
    log = EmbeddedLog(tmp_path / "log.sqlite")
    with closing(log.writer()) as writer:
        headers = [("trace", b"one"), ("once", b"x"), ("trace", None), ("trace", b"\xff")]
        writer.write("notes", [Outgoing(None, b"value", headers)])
    shown = json.loads(embedded_shell("receive", "notes", "--raw", "--meta").out)
    assert shown["headers"] == {"trace": ["one", None, "\\xff"], "once": "x"}


def test_json_without_a_schema_is_sent_and_received(embedded_shell: Shell) -> None:
    embedded_shell("topics", "create", "stock", "--partitions", "1")
    sent = [{"shop": "ü", "n": [1, 2.5, None]}, {"shop": "s1", "n": 10**30}]
    answer = embedded_shell("send", "stock", "--json", "--key-field", "shop", stdin=lines(*sent))
    assert (answer.status, answer.err) == (0, "sent 2 to 'stock'\n")
    received = embedded_shell("receive", "stock", "--json", "--meta")
    found = [json.loads(line) for line in received.lines]
    assert [each["value"] for each in found] == sent
    assert [each["key"] for each in found] == ["ü", "s1"]
    # The very bytes that stood in the line.
    raw = embedded_shell("receive", "stock", "--raw").lines
    assert [json.loads(line) for line in raw] == [json.dumps(each) for each in sent]


def test_lines_that_are_no_json_or_have_no_key_are_named(embedded_shell: Shell) -> None:
    embedded_shell("topics", "create", "stock")
    bad = '{"shop": NaN}\n[1]\n{"shop": 7}\n"\\ud800"\n{"shop": 1e999}\n{nope\n'
    stdin = lines({"shop": "a"}) + bad + lines({"shop": "b"})
    answer = embedded_shell("send", "stock", "--json", "--key-field", "shop", stdin=stdin)
    assert answer.status == 1
    assert answer.err.splitlines() == [
        """line 2: expected JSON, got '{"shop": NaN}': expected a number, got NaN""",
        "line 3: expected an object with a string 'shop', got '[1]'",
        """line 4: expected an object with a string 'shop', got '{"shop": 7}'""",
        """line 5: expected JSON, got '"\\\\ud800"': expected whole characters, got '\\ud800'""",
        """line 6: expected JSON, got '{"shop": 1e999}': expected a number that a double holds, """
        "got 1e999",
        "line 7: expected JSON, got '{nope': Expecting property name enclosed in double quotes: "
        "line 1 column 2 (char 1)",
        "sent 2 to 'stock', refused 6",
    ]
    answer = embedded_shell("send", "stock", "--json", stdin="[1]\nnull\n")
    assert (answer.status, answer.err) == (0, "sent 2 to 'stock'\n")


def test_what_is_no_json_is_named_and_the_rest_is_received(embedded_shell: Shell) -> None:
    embedded_shell("topics", "create", "stock", "--partitions", "1")
    embedded_shell("send", "stock", "--raw", stdin='{"a": 1}\nnope\n{"a": 2}\n')
    answer = embedded_shell("receive", "stock", "--json")
    assert answer.status == 1
    assert [json.loads(line) for line in answer.lines] == [{"a": 1}, {"a": 2}]
    assert answer.err == (
        "topic 'stock', partition 0, offset 1: expected JSON, got 'nope': "
        "Expecting value: line 1 column 1 (char 0)\n"
    )


def test_what_has_no_schema_can_be_sent_without_one_and_that_is_said(embedded_shell: Shell) -> None:
    embedded_shell("topics", "create", "stock")
    answer = embedded_shell("send", "stock", stdin="{}\n")
    assert answer.status == 1
    assert answer.err.count("\n") == 1
    assert "expected a schema under subject 'stock-value', got none" in answer.err
    assert answer.err.endswith("or send without one: --json, --raw\n")
    for command in (["send", "stock"], ["receive", "stock"]):
        answer = embedded_shell(*command, "--json", "--raw")
        assert answer.status == 2
        assert f"{command[0]} expected either --raw or --json, got both" in answer.err
