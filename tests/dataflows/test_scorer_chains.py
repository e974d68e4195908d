"""Models that take what others made: a chain, an ensemble, the main job's user features."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bytewax.testing import run_main

from streamrec import PaperJob
from streamrec.connectors.log import RawBatch
from streamrec.connectors.ticks.tick import Tick
from streamrec.dataflows import gather
from streamrec.dataflows.job.paper import batch_of
from streamrec.dataflows.job.settings import load_settings
from streamrec.dataflows.job.topics import RECOMMENDATIONS
from streamrec.dataflows.scorer import build_flow
from streamrec.dataflows.serving.outputs import REQUEST_ID
from streamrec.models.serving.avro import made_avro_schema
from streamrec.models.users.features import declared
from streamrec.schemas.json_codec import JsonDecoder
from tests.dataflows.serving.on_paper import START_MS, Scored, given, scored, write_list
from tests.dataflows.serving.served_models import Twice

CHAIN = """
[[models]]
model = "MODELS:Twice"
name = "first"
format = "{form}"

[[models]]
model = "MODELS:echo"
name = "second"
inputs = ["model:first"]
"""
FIRST, SECOND = "models.first.1.0", "models.second.1.0"


def test_the_second_of_a_chain_reads_the_outputs_of_the_first(tmp_path: Path) -> None:
    models = write_list(tmp_path, CHAIN.format(form="json"))
    before = scored(
        models, {f"{FIRST}.inputs": [given(f"{FIRST}.inputs", [{"n": 4}], keys=[b"k"])]}
    )
    (output,) = before.records(f"{FIRST}.outputs")
    batch = given(
        f"{FIRST}.outputs",
        [output.value],
        keys=[output.key],
        headers=[list(output.headers.items())],
    )
    (found,) = scored(models, {f"{FIRST}.outputs": [batch]}).records(f"{SECOND}.outputs")
    assert found.json == {"got": {"twice": 8}}
    assert found.key == b"k"
    assert found.headers["streamrec-model"] == b"second/1.0"
    assert found.headers[REQUEST_ID] == f"{FIRST}.inputs/0/0".encode()
    assert found.headers["streamrec-source"] == f"{FIRST}.outputs/0/0".encode()


def test_features_of_the_main_job_are_inputs_by_their_names(tmp_path: Path) -> None:
    text = '[[models]]\nmodel = "MODELS:echo"\ninputs = ["features"]\n'
    features = declared(load_settings().windows)
    record = {
        "user_id": "u1",
        "source_topic": "clicks",
        "source_partition": 0,
        "source_offset": 7,
        "requested_at": START_MS,
        "item_id": "i1",
        "items": [],
        "model_name": "none",
        "model_version": "",
        "method_names": "",
        "feature_set": features.digest,
        "features": [float(number) for number in range(len(features.names))],
        "recommendation_id": None,
        "experiment": None,
        "variant": None,
        "propensity": None,
        "mode": "served",
    }
    job = FeaturesPaper(
        "scorer",
        {
            "recommendations": [
                batch_of(RECOMMENDATIONS, [record, {**record, "feature_set": "another"}])
            ]
        },
        load_settings(models=str(write_list(tmp_path, text))),
    )
    run_main(build_flow(job))  # type: ignore[no-untyped-call]
    found = Scored(job)
    (said,) = found.values("models.echo.1.0.outputs")
    assert said["got"]["user_id"] == "u1"
    assert said["got"]["item_id"] == "i1"
    assert [said["got"][name] for name in features.names] == record["features"]
    (error,) = found.errors("models.echo.1.0.errors")
    assert (error["offset"], error["reason"]) == (1, "invalid_value")
    assert "field feature_set expected" in error["message"]


class FeaturesPaper(PaperJob):
    """Whose registry knows what recommendations are written with."""

    def value_decoder(self) -> Any:
        return JsonDecoder(lambda _: RECOMMENDATIONS.schema).decode


ENSEMBLE = """
[[models]]
model = "MODELS:Twice"
format = "{form}"

[[models]]
model = "MODELS:Thrice"

[[models]]
model = "MODELS:echo"
name = "both"
inputs = ["model:twice", "model:thrice", "notes"]
gather = {{ within_s = 60, missing = "{missing}" }}
"""
LATER = [f"k{number}" for number in range(40)]
TWICE, THRICE, BOTH = "models.twice.1.0", "models.thrice.1.0", "models.both.1.0"


def gathered(
    folder: Path, inputs: dict[str, Sequence[RawBatch | Tick]], missing: str, form: str = "json"
) -> Scored:
    models = write_list(folder, ENSEMBLE.format(missing=missing, form=form))
    job = PaperJob(gather.FLOW_ID, inputs, load_settings(models=str(models)))
    run_main(gather.build_flow(job))  # type: ignore[no-untyped-call]
    return Scored(job)


def at(topic: str, seconds: Sequence[int], values: Sequence[Any], keys: Sequence[str]) -> RawBatch:
    """Records whose time on the log is so many seconds after the start."""
    row = given(topic, values, keys=[key.encode() for key in keys])
    times = [START_MS + 1_000 * each for each in seconds]

    def detail(index: int) -> Any:
        return row.detail(index)._replace(timestamp_ms=times[index])

    return RawBatch(
        row.topic, row.partition, row.offsets, row.values, detail, np.array(times, np.int64)
    )


def in_two_seconds(*came: RawBatch) -> dict[str, Sequence[RawBatch | Tick]]:
    """By topic; then the time goes on by 200 s, in many keys, so that all of it is taken in."""
    first, second, third = ticks(0, 2, 200)
    found: dict[str, list[RawBatch | Tick]] = {b.topic: [first, b, second, third] for b in came}
    found["notes"].insert(3, at("notes", [200] * 40, [0] * 40, LATER))
    return dict(found)


def ticks(*seconds: int) -> list[Tick]:
    return [Tick(number + 1, START_MS + 1_000 * at_s, {}) for number, at_s in enumerate(seconds)]


@pytest.mark.parametrize("missing", ["null", "error"])
def test_records_of_a_key_are_gathered_the_first_with_the_first(
    tmp_path: Path, missing: str
) -> None:
    found = gathered(
        tmp_path,
        in_two_seconds(
            at(f"{TWICE}.outputs", [0, 0, 1], [1, 2, 3], "aba"),
            at(f"{THRICE}.outputs", [0, 1, 1], [4, 5, 6], "aab"),
            at("notes", [0, 0, 1], [7, 8, 9], "aab"),
        ),
        missing,
    )
    records = found.records(f"{BOTH}.inputs")
    said = {key: [r.json for r in records if r.key == key] for key in (b"a", b"b")}
    assert said == {
        b"a": [
            {"notes": 7, "thrice": 4, "twice": 1},
            {"notes": 8, "thrice": 5, "twice": 3},
        ],
        b"b": [{"notes": 9, "thrice": 6, "twice": 2}],
    }
    assert found.errors(f"{BOTH}.errors") == []


def of_time(missing: str, folder: Path) -> Scored:
    """`a` lacks a note; the time then goes on by two windows, in ten keys."""
    first, second, third = ticks(0, 2, 200)
    return gathered(
        folder,
        {
            f"{TWICE}.outputs": [first, at(f"{TWICE}.outputs", [0], [1], ["a"]), second, third],
            f"{THRICE}.outputs": [first, at(f"{THRICE}.outputs", [1], [4], ["a"]), second, third],
            "notes": [first, second, at("notes", [200] * 40, [0] * 40, LATER), third],
        },
        missing,
    )


def test_what_is_missing_when_the_window_ends_is_null(tmp_path: Path) -> None:
    found = of_time("null", tmp_path)
    said = {record.key: record.json for record in found.records(f"{BOTH}.inputs")}
    assert said[b"a"] == {"notes": None, "thrice": 4, "twice": 1}
    assert found.errors(f"{BOTH}.errors") == []


def test_what_is_missing_when_the_window_ends_is_an_error_of_each_that_came(tmp_path: Path) -> None:
    found = of_time("error", tmp_path)
    errors = [error for error in found.errors(f"{BOTH}.errors") if error["topic"] != "notes"]
    assert sorted(error["topic"] for error in errors) == [f"{THRICE}.outputs", f"{TWICE}.outputs"]
    assert {error["reason"] for error in errors} == {"invalid_value"}
    assert "inputs expected a record of notes of the same key within 60 s" in errors[0]["message"]
    assert b"a" not in {record.key for record in found.records(f"{BOTH}.inputs")}


def test_what_is_gathered_is_answered_by_the_scorer(tmp_path: Path) -> None:
    models = write_list(tmp_path, ENSEMBLE.format(missing="null", form="json"))
    value = {"notes": None, "thrice": {"twice": 4}, "twice": {"twice": 1}}
    found = scored(models, {f"{BOTH}.inputs": [given(f"{BOTH}.inputs", [value], keys=[b"a"])]})
    assert found.values(f"{BOTH}.outputs") == [{"got": value}]


def test_avro_outputs_are_gathered_beside_json(tmp_path: Path) -> None:
    schema = made_avro_schema(Twice.output_schema, "twiceOutput")
    avro = given(f"{TWICE}.outputs", [{"twice": 2.0}], schema=schema)
    found = gathered(
        tmp_path,
        in_two_seconds(
            at(f"{TWICE}.outputs", [0], [avro.values[0]], ["a"]),
            at(f"{THRICE}.outputs", [0], [{"twice": 3}], ["a"]),
            at("notes", [0, 0], ["n", b"{"], ["a", "b"]),
        ),
        "null",
        "avro",
    )
    assert found.values(f"{BOTH}.inputs") == [
        {"notes": "n", "thrice": {"twice": 3}, "twice": {"twice": 2.0}}
    ]
    assert found.reasons(f"{BOTH}.errors") == {1: "undecodable"}
