"""Rows of topics that cannot be written as they say are told before anything is read."""

import json
from pathlib import Path

import pytest

from streamrec import CLICKS, PaperJob, StartError, Topic
from streamrec.dataflows.job.topics import TOPICS

FIELDS = {"user_id": "string", "part": "int", "place": "long", "of": "string", "n": "double"}


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    path = tmp_path / "carts.avsc"
    fields = [{"name": name, "type": kind} for name, kind in FIELDS.items()]
    path.write_text(json.dumps({"type": "record", "name": "Cart", "fields": fields}))
    return path


@pytest.mark.parametrize(
    ("key_field", "answers", "told"),
    [
        (None, None, "topic 'carts' expected a key_field to be written by, got none"),
        ("user", None, "key_field 'user' expected a field of type string in carts.avsc, got no"),
        ("n", None, "key_field 'n' expected a field of type string in carts.avsc, got 'double'"),
        ("user_id", ("part",), "topic 'carts' expected two to six answers"),
        ("user_id", ("part", "offset"), "answers 'offset' expected a field of type int or long"),
        ("user_id", ("part", "n"), "answers 'n' expected a field of type int or long"),
        ("user_id", ("part", "place", "n"), "answers 'n' expected a field of type string"),
    ],
)
def test_a_row_that_does_not_fit_its_schema_is_told(
    schema: Path, key_field: str | None, answers: tuple[str, ...] | None, told: str
) -> None:
    with pytest.raises(StartError) as raised:
        Topic("carts", schema, key_field, answers=answers).checked()
    assert told in str(raised.value)


def test_a_row_that_fits_is_taken(schema: Path) -> None:
    Topic("carts", schema, "user_id", answers=("part", "place", "of")).checked()
    for topic in TOPICS:
        if topic.key_field:
            topic.checked()


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"type": "record"}'])
def test_a_schema_that_is_none_is_named(schema: Path, text: str) -> None:
    schema.write_text(text)
    with pytest.raises(StartError, match=r"topic 'carts' expected an Avro record in carts\.avsc"):
        Topic("carts", schema, "user_id").checked()


def test_a_schema_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"topic 'carts' expected its schema in .*none\.avsc, got"):
        Topic("carts", tmp_path / "none.avsc", "user_id").checked()


def test_the_variable_of_a_topic_can_be_set_in_a_shell() -> None:
    assert Topic("shop.cart-counts v2", "clicks.avsc").setting == "shop_cart_counts_v2_topic"


def test_a_table_on_paper_is_what_was_given() -> None:
    job = PaperJob("x", tables={"clicks": {"u1": 3}})
    assert job.table(CLICKS) == {"u1": 3}
    assert job.topics_read == [CLICKS]
