"""The scorer, record by record: what is read, what is written, and why a record fails."""

from pathlib import Path

import pytest

from streamrec.connectors.log import Headers
from streamrec.dataflows.serving.outputs import REQUEST_ID
from streamrec.models.serving.avro import made_avro_schema
from streamrec.schemas.json_codec import JsonDecoder
from streamrec.schemas.served import with_served
from tests.dataflows.serving.on_paper import START_MS, Scored, given, scored, write_list
from tests.dataflows.serving.served_models import Twice, power

INPUTS, OUTPUTS, ERRORS = (f"models.twice.1.0.{kind}" for kind in ("inputs", "outputs", "errors"))
ONE = '[[models]]\nmodel = "MODELS:Twice"\n'


def run_twice(folder: Path, *values: object, text: str = ONE) -> Scored:
    return scored(write_list(folder, text), {INPUTS: [given(INPUTS, values)]})


def test_json_and_avro_on_one_topic_are_told_apart_by_content(tmp_path: Path) -> None:
    schema = made_avro_schema(Twice.input_schema, "twiceInput")
    avro = given(INPUTS, [{"n": 1.0, "do": None, "key": None}], schema=schema)
    found = scored(
        write_list(tmp_path, ONE),
        {INPUTS: [given(INPUTS, [{"n": 4}, avro.values[0], {"n": 0.5}])]},
    )
    assert found.values(OUTPUTS) == [{"twice": 8}, {"twice": 2.0}, {"twice": 1.0}]
    assert found.errors(ERRORS) == []


def test_bytes_have_the_content_type_of_their_header_or_of_the_list(tmp_path: Path) -> None:
    text = '[[models]]\nmodel = "MODELS:measured"\ncontent_type = "text/plain"\n'
    inputs = "models.measured.1.0.inputs"
    raw = given(
        inputs,
        [b"\0\0\0\0\1\2", b"abc", b"{}"],
        headers=[[("content-type", b"image/png")], [], [("content-type", b"video/ogg")]],
    )
    found = scored(write_list(tmp_path, text), {inputs: [raw]})
    assert found.values("models.measured.1.0.outputs") == [
        {"bytes": 6, "type": "image/png"},
        {"bytes": 3, "type": "text/plain"},
    ]
    (error,) = found.errors("models.measured.1.0.errors")
    assert (error["offset"], error["reason"]) == (2, "invalid_value")
    assert "content-type expected text/plain or image/png, got 'video/ogg'" in error["message"]


@pytest.mark.parametrize(
    ("value", "reason", "told"),
    [
        (b"", "undecodable", "expected JSON, got"),
        (b"{", "undecodable", "expected JSON, got"),
        (b"\xff\xfe", "undecodable", "expected JSON, got"),
        (b'{"n": NaN}', "undecodable", "expected JSON, got"),
        ({"n": "1"}, "invalid_value", "$.n expected a number, got '1'"),
        ({"n": -1}, "invalid_value", "$.n expected"),
        ({}, "invalid_value", "n"),
        ([], "invalid_value", "$ expected an object"),
        ({"n": 1, "do": "raise"}, "model_failed", "no such number"),
        ({"n": 1, "do": "nan"}, "output_invalid", "answer $.twice expected a finite number"),
        ({"n": 1, "do": "text"}, "output_invalid", "answer $.twice expected a number, got 'two'"),
        ({"n": 1, "do": "nothing"}, "output_invalid", "answer $ expected an object"),
        ({"n": 1, "do": "object"}, "output_invalid", "answer $.twice expected"),
    ],
)
@pytest.mark.parametrize("model", ["Twice", "TwiceBatched"])
def test_a_bad_record_fails_alone_with_its_reason(
    tmp_path: Path, model: str, value: object, reason: str, told: str
) -> None:
    text = f'[[models]]\nmodel = "MODELS:{model}"\nname = "twice"\n'
    found = run_twice(tmp_path, {"n": 1}, value, {"n": 3}, {"n": 2}, text=text)
    assert found.values(OUTPUTS) == [{"twice": 2}, {"twice": 6}, {"twice": 4}]
    assert [record.source[1] for record in found.records(OUTPUTS)] == [0, 2, 3]
    (error,) = found.errors(ERRORS)
    assert (error["offset"], error["reason"]) == (1, reason)
    assert told in error["message"]
    if isinstance(value, bytes):
        assert error["value"] is not None


def test_a_tombstone_is_no_input(tmp_path: Path) -> None:
    batch = given(INPUTS, [{"n": 1}, {"n": 2}])
    values = [*batch.values]
    values[0] = None
    without = type(batch)(
        batch.topic, batch.partition, batch.offsets, values, batch.detail, batch.times_ms
    )
    found = scored(write_list(tmp_path, ONE), {INPUTS: [without]})
    assert found.reasons(ERRORS) == {0: "undecodable"}
    assert found.values(OUTPUTS) == [{"twice": 4}]


def test_what_a_model_raised_is_kept_with_its_stacktrace(tmp_path: Path) -> None:
    (error,) = run_twice(tmp_path, {"n": 1, "do": "raise"}).errors(ERRORS)
    assert error["exception"] == "ArithmeticError"
    assert error["stage"] == "score twice:1:0"
    assert 'raise ArithmeticError("no such number")' in error["stacktrace"]


def test_key_headers_and_time_are_kept_and_the_output_says_who_answered(tmp_path: Path) -> None:
    own = [("trace", b"\1"), ("trace", b"\2"), ("empty", None)]
    batch = given(
        INPUTS,
        [{"n": 1}, {"n": 2}, {"n": 3}],
        partition=3,
        first_offset=40,
        keys=[b"k", None, b""],
        headers=[own, [], [(REQUEST_ID, b"mine"), ("streamrec-model", b"before/1.0")]],
    )
    job = scored(write_list(tmp_path, ONE), {INPUTS: [batch]})
    found = {record.source[1]: record for record in job.records(OUTPUTS)}
    assert [found[offset].key for offset in (40, 41, 42)] == [b"k", None, b""]
    assert [found[offset].time_ms for offset in (40, 41, 42)] == [START_MS + n for n in range(3)]
    assert all(
        int(record.headers.pop("streamrec-took-us") or b"") >= 0 for record in found.values()
    )
    ours = {"streamrec-model": b"twice/1.0"}
    place = f"{INPUTS}/3/4".encode()
    assert found[40].headers == {
        "trace": b"\2",
        "empty": None,
        "streamrec-source": place + b"0",
        **ours,
    }
    assert found[41].headers == {"streamrec-source": place + b"1", **ours}
    assert found[42].headers == {"streamrec-source": place + b"2", REQUEST_ID: b"mine", **ours}


def test_an_error_keeps_the_original_with_its_key_headers_and_time(tmp_path: Path) -> None:
    batch = given(INPUTS, [b"\0{"], keys=[b"k"], headers=[[("trace", b"\1")]])
    (error,) = scored(write_list(tmp_path, ONE), {INPUTS: [batch]}).errors(ERRORS)
    assert (error["topic"], error["partition"], error["offset"]) == (INPUTS, 0, 0)
    assert error["timestamp"] == START_MS
    assert [header["name"] for header in error["headers"]] == ["trace"]


def test_order_is_kept_for_each_key(tmp_path: Path) -> None:
    keys = [b"a", b"b", b"c", b"d", b"e"]
    batches = [
        given(
            INPUTS,
            [{"n": part * 1000 + number, "key": keys[number % 5].decode()} for number in range(50)],
            partition=part,
            keys=[keys[number % 5] for number in range(50)],
        )
        for part in range(3)
    ]
    found = scored(write_list(tmp_path, ONE), {INPUTS: batches}).records(OUTPUTS)
    for key in keys:
        for part in range(3):
            said = [r.json["twice"] for r in found if r.key == key and r.source[0] == part]
            assert said == sorted(said)
            assert len(said) == 10
        assert len({record.partition for record in found if record.key == key}) == 1


def test_avro_outputs_say_in_a_field_who_answered(tmp_path: Path) -> None:
    text = '[[models]]\nmodel = "MODELS:Twice"\nformat = "avro"\n'
    batch = given(
        INPUTS,
        [{"n": 1}, {"n": 2}],
        keys=[b"k", None],
        headers=[[(REQUEST_ID, b"mine")], []],
    )
    found = scored(write_list(tmp_path, text), {INPUTS: [batch]}).records(OUTPUTS)
    schema = with_served(made_avro_schema(Twice.output_schema, "twiceOutput"))
    decode = JsonDecoder(lambda _: schema).decode
    said = {record.key: decode(record.value) for record in found}
    served = said[b"k"]["served"]
    assert said[b"k"]["twice"] == 2.0
    assert served.pop("took_us") >= 0
    assert served == {
        "request_id": "mine",
        "model": "twice",
        "version": "1.0",
        "experiment": None,
        "variant": None,
        "propensity": None,
        "mode": "served",
        "source_topic": INPUTS,
        "source_partition": 0,
        "source_offset": 0,
    }
    assert said[None]["served"]["request_id"] == f"{INPUTS}/0/1"
    assert {record.key: record.time_ms for record in found} == {b"k": START_MS, None: START_MS + 1}


def test_a_request_id_that_is_no_text_harms_nobody(tmp_path: Path) -> None:
    text = '[[models]]\nmodel = "MODELS:Twice"\nformat = "avro"\n'
    headers: list[Headers] = [
        [(REQUEST_ID, b"\xff\xfe")],
        [(REQUEST_ID, None)],
        [(REQUEST_ID, b"")],
    ]
    batch = given(INPUTS, [{"n": 1}, {"n": 2}, {"n": 3}], headers=headers)
    found = scored(write_list(tmp_path, text), {INPUTS: [batch]}).records(OUTPUTS)
    schema = with_served(made_avro_schema(Twice.output_schema, "twiceOutput"))
    decode = JsonDecoder(lambda _: schema).decode
    said = {
        record["served"]["source_offset"]: record
        for record in map(decode, (r.value for r in found))
    }
    assert [said[offset]["twice"] for offset in range(3)] == [2.0, 4.0, 6.0]


def test_avro_outputs_of_what_came_as_json_outputs_name_their_own_model_alone(
    tmp_path: Path,
) -> None:
    text = '[[models]]\nmodel = "MODELS:Twice"\nformat = "avro"\n'
    headers: list[Headers] = [[("streamrec-model", b"before/1.0"), ("trace", b"\1")]]
    batch = given(INPUTS, [{"n": 1}], headers=headers)
    (found,) = scored(write_list(tmp_path, text), {INPUTS: [batch]}).records(OUTPUTS)
    assert found.headers == {"trace": b"\1"}


def test_a_number_that_avro_cannot_say_fails_alone(tmp_path: Path) -> None:
    text = '[[models]]\nmodel = "MODELS:power"\nformat = "avro"\n'
    inputs = "models.power.1.0.inputs"
    batch = given(inputs, [{"n": 3}, {"n": 64}, {"n": 62}])
    found = scored(write_list(tmp_path, text), {inputs: [batch]})
    assert found.reasons("models.power.1.0.errors") == {1: "output_unencodable"}
    schema = with_served(made_avro_schema(power.__streamrec_model__.output_schema, "powerOutput"))  # type: ignore[attr-defined]
    decode = JsonDecoder(lambda _: schema).decode
    outputs = found.records("models.power.1.0.outputs")
    assert [decode(record.value)["power"] for record in outputs] == [8, 2**62]


@pytest.mark.parametrize("form", ["json", "avro"])
def test_half_a_surrogate_pair_harms_nobody(tmp_path: Path, form: str) -> None:
    text = f'[[models]]\nmodel = "MODELS:said"\nformat = "{form}"\n'
    inputs = "models.said.1.0.inputs"
    batch = given(inputs, [{"text": "a"}, b'{"text": "\\ud800"}', {"text": "b"}])
    found = scored(write_list(tmp_path, text), {inputs: [batch]})
    assert found.reasons("models.said.1.0.errors") == {1: "undecodable"}
    assert len(found.records("models.said.1.0.outputs")) == 2


def test_an_output_that_is_too_large_is_an_error(tmp_path: Path) -> None:
    text = '[[models]]\nmodel = "MODELS:echo"\n'
    inputs = "models.echo.1.0.inputs"
    batch = given(inputs, [{"a": 1}, {"a": "x" * 5_000}, {"a": 2}])
    found = scored(write_list(tmp_path, text), {inputs: [batch]}, max_message_bytes=2_000)
    assert found.reasons("models.echo.1.0.errors") == {1: "output_too_large"}
    assert found.values("models.echo.1.0.outputs") == [{"got": {"a": 1}}, {"got": {"a": 2}}]


def test_a_class_with_two_predict_methods_has_a_pipeline_for_each(tmp_path: Path) -> None:
    text = '[[models]]\nmodel = "MODELS:TwoWays"\n'
    one, other = "models.ways.2.3", "models.ways-predict_length.2.3"
    found = scored(
        write_list(tmp_path, text),
        {
            f"{one}.inputs": [given(f"{one}.inputs", [{"text": "abc"}])],
            f"{other}.inputs": [given(f"{other}.inputs", [{"text": "abcd"}, {}])],
        },
    )
    assert found.values(f"{one}.outputs") == [{"said": "ABC"}]
    assert found.values(f"{other}.outputs") == [{"length": 4}]
    assert found.reasons(f"{other}.errors") == {1: "invalid_value"}


def test_two_models_interleaved_are_both_answered_on_their_own_topics(tmp_path: Path) -> None:
    text = ONE + '[[models]]\nmodel = "MODELS:TwiceBatched"\n'
    batched = "models.twice-batched.1.0"
    found = scored(
        write_list(tmp_path, text),
        {
            INPUTS: [given(INPUTS, [{"n": n}], partition=n) for n in range(4)],
            f"{batched}.inputs": [
                given(f"{batched}.inputs", [{"n": n}, {}], partition=n) for n in range(4)
            ],
        },
    )
    for outputs in (OUTPUTS, f"{batched}.outputs"):
        assert sorted(said["twice"] for said in found.values(outputs)) == [0, 2, 4, 6]
    assert len(found.errors(f"{batched}.errors")) == 4
