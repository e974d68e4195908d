"""The quick answer says what the general one says, and leaves to it what it cannot say."""

import io
import json
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrec.dataflows.job.topics import RECOMMENDATIONS
from streamrec.schemas.json_codec import JsonDecoder, UnreadableError
from streamrec.services.api.answers import of_record
from streamrec.services.api.asking import Asking
from streamrec.services.api.quick_answers import QuickAnswers

OURS = fastavro.parse_schema(json.loads(RECOMMENDATIONS.schema))
HEADER = b"\0\0\0\0\7"
SMALL, LARGE = st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCORE = st.floats(width=32, allow_nan=False, allow_infinity=False)
ITEM = st.fixed_dictionaries({"item_id": TEXT, "score": SCORE, "methods": SMALL})
RECORDS = st.fixed_dictionaries(
    {
        **dict.fromkeys(("user_id", "source_topic", "item_id", "model_name"), TEXT),
        **dict.fromkeys(("model_version", "method_names", "feature_set"), TEXT),
        "source_partition": SMALL,
        "source_offset": LARGE,
        "requested_at": st.integers(0, 2**52),
        "items": st.lists(ITEM, max_size=25),
        "features": st.lists(SCORE, max_size=5),
        **dict.fromkeys(("recommendation_id", "experiment", "variant"), st.none() | TEXT),
        "propensity": st.none() | st.floats(0, 1),
        "mode": st.sampled_from(["served", "shadow"]),
    }
)
NOW_MS = 2**53


class OneSchema:
    """A registry's answers, of one schema under the id 7."""

    def __init__(self, schema: str = RECOMMENDATIONS.schema) -> None:
        self.schema = schema

    def by_id(self, schema_id: int) -> str:
        assert schema_id == 7
        return self.schema


def quick(schema: str = RECOMMENDATIONS.schema) -> QuickAnswers:
    registry: Any = OneSchema(schema)
    return QuickAnswers(registry)


def general(value: bytes, n: int) -> Any:
    record = JsonDecoder(lambda _: RECOMMENDATIONS.schema).decode(value)
    return of_record(record, Asking(n=n), [], NOW_MS)


def encoded(record: Any, schema: Any = OURS) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, record)
    return HEADER + out.getvalue()


@given(RECORDS, st.integers(1, 30))
def test_it_says_what_the_general_answer_says(record: dict[str, Any], n: int) -> None:
    value = encoded(record)

    answer = quick().answer(record["user_id"], value, n, NOW_MS)

    if n > len(record["items"]):
        assert answer is None
        return
    assert answer is not None
    found, wanted = json.loads(answer), general(value, n)
    for item, other in zip(found["items"], wanted["items"], strict=True):
        assert item["item_id"] == other["item_id"]
        assert item["score"] == pytest.approx(other["score"], rel=1e-8, abs=1e-44)
    del found["items"], wanted["items"]
    assert found == wanted


@given(SCORE)
def test_a_score_is_told_from_every_other(score: float) -> None:
    item = {"item_id": "i", "score": score, "methods": 0}
    answer = quick().answer("u", encoded(_plain() | {"items": [item]}), 1, NOW_MS)
    assert answer is not None

    (found,) = json.loads(answer)["items"]

    out = io.BytesIO()
    fastavro.schemaless_writer(out, "float", found["score"])
    fastavro.schemaless_writer(out, "float", score)
    assert out.getvalue()[:4] == out.getvalue()[4:] or score == 0


@given(RECORDS, st.data())
def test_what_was_cut_or_garbled_is_left_to_the_general_way_or_said_alike(
    record: dict[str, Any], data: st.DataObject
) -> None:
    value = bytearray(encoded(record))
    at = data.draw(st.integers(5, len(value) - 1))
    if data.draw(st.booleans()):
        del value[at:]
    else:
        value[at] = data.draw(st.integers(0, 255))

    answer = quick().answer("u", bytes(value), 1, NOW_MS)

    if answer is None:
        return
    wanted = general(bytes(value), 1)
    found = json.loads(answer)
    assert [i["item_id"] for i in found["items"]] == [i["item_id"] for i in wanted["items"]]
    assert (found["model"], found["source"]) == (wanted["model"], wanted["source"])


def test_bytes_that_no_reader_takes_are_left_to_the_general_way() -> None:
    value = encoded(_plain())

    for broken in (b"", b"\0", HEADER, value[:-1], value + b"\0"):
        assert quick().answer("u", broken, 1, NOW_MS) is None
    with pytest.raises(UnreadableError):
        general(value[:-1], 1)


def test_another_writers_schema_is_left_to_the_general_way() -> None:
    schema = json.loads(RECOMMENDATIONS.schema)
    schema["fields"].insert(0, {"name": "added", "type": "string"})
    value = encoded({"added": "x", **_plain()}, fastavro.parse_schema(schema))

    assert quick(json.dumps(schema)).answer("u", value, 1, NOW_MS) is None


def _plain() -> dict[str, Any]:
    return {
        **dict.fromkeys(("user_id", "source_topic", "item_id", "model_name"), "t"),
        **dict.fromkeys(("model_version", "method_names", "feature_set"), "t"),
        **dict.fromkeys(("source_partition", "source_offset", "requested_at"), 1),
        "items": [{"item_id": "i1", "score": 1.5, "methods": 1}],
        "features": [0.5],
    }
