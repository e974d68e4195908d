"""Experiments in the scorer: records split by key or chosen by hand, and what outputs say."""

from pathlib import Path

from streamrec.models.serving.avro import made_avro_schema
from streamrec.models.serving.split import split_of
from streamrec.schemas.columns import strings
from streamrec.schemas.json_codec import JsonDecoder
from streamrec.schemas.served import with_served
from tests.dataflows.serving.on_paper import given, scored, write_list
from tests.dataflows.serving.served_models import Twice

STEM = "models.two-or-three.1.0"
INPUTS, OUTPUTS, ERRORS = (f"{STEM}.{kind}" for kind in ("inputs", "outputs", "errors"))
EXPERIMENT = """
[[experiments]]
name = "two-or-three"
salt = "2026-11"
{more}
[[experiments.variants]]
name = "a"
model = "MODELS:Twice"
weight = 3
[[experiments.variants]]
name = "b"
model = "MODELS:Thrice"
weight = 1
"""
KEYS = [f"u{number}".encode() for number in range(200)]


def as_split_of(keys: list[bytes]) -> list[str]:
    split = split_of("2026-11", {"a": 0.75, "b": 0.25})
    return [split.names[index] for index in split.of_keys(strings(keys)).variants.tolist()]


def test_each_key_is_answered_by_the_variant_of_its_split(tmp_path: Path) -> None:
    batches = [given(INPUTS, [{"n": 1}] * 200, partition=part, keys=KEYS) for part in (0, 5)]
    found = scored(write_list(tmp_path, EXPERIMENT.format(more="")), {INPUTS: batches})
    records = found.records(OUTPUTS)
    by_key = dict(zip(KEYS, as_split_of(KEYS), strict=True))
    assert len(records) == 400
    for record in records:
        assert record.key is not None
        variant = by_key[record.key]
        named, times = {"a": ("twice", 2), "b": ("thrice", 3)}[variant]
        assert record.json == {"twice": times}
        assert record.headers["streamrec-variant"] == variant.encode()
        assert record.headers["streamrec-model"] == f"{named}/1.0".encode()
        assert record.headers["streamrec-experiment"] == b"two-or-three"
        assert record.headers["streamrec-mode"] == b"served"
        assert record.headers["streamrec-propensity"] == {"a": b"0.75", "b": b"0.25"}[variant]
    assert 20 < sum(variant == "b" for variant in by_key.values()) < 80


def test_avro_outputs_of_an_experiment_say_the_same_in_their_field(tmp_path: Path) -> None:
    text = EXPERIMENT.format(more='format = "avro"')
    batch = given(INPUTS, [{"n": 1}] * 200, keys=KEYS)
    found = scored(write_list(tmp_path, text), {INPUTS: [batch]}).records(OUTPUTS)
    schema = with_served(made_avro_schema(Twice.output_schema, "two-or-threeOutput"))
    decode = JsonDecoder(lambda _: schema).decode
    said = {record.key: decode(record.value) for record in found}
    for key, variant in zip(KEYS, as_split_of(KEYS), strict=True):
        served = said[key]["served"]
        assert said[key]["twice"] == {"a": 2.0, "b": 3.0}[variant]
        assert (served["experiment"], served["variant"]) == ("two-or-three", variant)
        assert served["model"] == {"a": "twice", "b": "thrice"}[variant]
        assert served["propensity"] == {"a": 0.75, "b": 0.25}[variant]


def test_a_header_chooses_a_variant_by_hand_and_one_that_is_not_there_is_an_error(
    tmp_path: Path,
) -> None:
    text = EXPERIMENT.format(more='choose = "header:variant"')
    headers = [[("variant", name)] for name in (b"a", b"b", b"c", None, b"\xff")]
    batch = given(INPUTS, [{"n": 1}] * 6, keys=KEYS[:6], headers=[*headers, []])
    found = scored(write_list(tmp_path, text), {INPUTS: [batch]})
    chosen = {r.source[1]: r.headers for r in found.records(OUTPUTS)}
    assert {offset: headers["streamrec-variant"] for offset, headers in chosen.items()} == {
        0: b"a",
        1: b"b",
        5: as_split_of(KEYS[5:6])[0].encode(),
    }
    assert "streamrec-propensity" not in chosen[0]
    assert "streamrec-propensity" in chosen[5]
    assert found.reasons(ERRORS) == dict.fromkeys((2, 3, 4), "invalid_value")
    assert (
        "header 'variant' expected a variant of a, b, got 'c'" in found.errors(ERRORS)[0]["message"]
    )


def test_a_field_chooses_a_variant_by_hand(tmp_path: Path) -> None:
    text = EXPERIMENT.format(more='choose = "field:do"')
    values = [{"n": 1, "do": "a"}, {"n": 1, "do": "b"}, {"n": 1, "do": "c"}, {"n": 1}]
    batch = given(INPUTS, values, keys=KEYS[:4])
    found = scored(write_list(tmp_path, text), {INPUTS: [batch]})
    chosen = {r.source[1]: r.headers["streamrec-variant"] for r in found.records(OUTPUTS)}
    assert chosen == {0: b"a", 1: b"b", 3: as_split_of(KEYS[3:4])[0].encode()}
    assert found.reasons(ERRORS) == {2: "invalid_value"}


def test_records_without_a_key_stay_with_the_variant_of_their_place(tmp_path: Path) -> None:
    models = write_list(tmp_path, EXPERIMENT.format(more=""))
    said = []
    for size in (200, 7):  # read in other parts, as after a restart
        batches = [
            given(INPUTS, [{"n": 1}] * len(range(at, min(at + size, 200))), first_offset=at)
            for at in range(0, 200, size)
        ]
        records = scored(models, {INPUTS: batches}).records(OUTPUTS)
        said.append({r.source: r.headers["streamrec-variant"] for r in records})
    assert said[0] == said[1]
    assert set(said[0].values()) == {b"a", b"b"}


def test_a_shadow_answers_all_on_a_topic_of_its_own(tmp_path: Path) -> None:
    text = EXPERIMENT.format(more="") + (
        '[[experiments.variants]]\nname = "s"\nmodel = "MODELS:Thrice"\nshadow = true\n'
    )
    batch = given(INPUTS, [{"n": 2}] * 5 + [{}], keys=KEYS[:6])
    found = scored(write_list(tmp_path, text), {INPUTS: [batch]})
    assert len(found.records(OUTPUTS)) == 5
    shadows = found.records(f"{STEM}.shadows")
    assert [record.json for record in shadows] == [{"twice": 6}] * 5
    assert {record.headers["streamrec-mode"] for record in shadows} == {b"shadow"}
    assert {record.headers["streamrec-variant"] for record in shadows} == {b"s"}
    assert all("streamrec-propensity" not in record.headers for record in shadows)
    assert found.reasons(ERRORS) == {5: "invalid_value"}
