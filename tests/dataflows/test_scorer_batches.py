"""What a model says does not depend on how its inputs were cut, nor on how they came."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamrec.models.serving.avro import made_avro_schema
from streamrec.models.serving.contract import Metadata
from streamrec.models.serving.loading import load_predictor
from streamrec.schemas.json_codec import JsonDecoder
from streamrec.schemas.served import with_served
from tests.dataflows.serving import on_paper
from tests.dataflows.serving.on_paper import Scored, scored, write_list

LATE = """
name = "late"
[[inputs]]
name = "km"
type = "number"
min = 0
max = 900
[[inputs]]
name = "parcels"
type = "integer"
nullable = true
[[inputs]]
name = "day"
type = "category"
categories = ["mon", "tue", "sun"]
unseen = "pass"
nullable = true
[[inputs]]
name = "express"
type = "boolean"
nullable = true
[output]
name = "late"
"""
STEM = "models.late.1.0"
INPUTS, OUTPUTS, ERRORS = (f"{STEM}.{kind}" for kind in ("inputs", "outputs", "errors"))

PARCELS = st.fixed_dictionaries(
    {
        "km": st.floats(-50, 1_000, allow_nan=False),
        "parcels": st.none() | st.integers(-3, 2**60),
        "day": st.none() | st.sampled_from(["mon", "tue", "sun", "fri", "", "é"]),
        "express": st.none() | st.booleans(),
    }
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("late")
    random = np.random.default_rng(1)
    km, parcels = random.uniform(0, 900, 2_000), random.integers(0, 9, 2_000)
    day, express = random.integers(0, 3, 2_000), random.integers(0, 2, 2_000)
    late = random.random(2_000) < 0.1 + 0.5 * (km > 500) + 0.2 * (day == 2) + 0.1 * express
    data = lightgbm.Dataset(
        np.column_stack([km, parcels, day, express]),
        late,
        feature_name=["km", "parcels", "day", "express"],
        categorical_feature=[2],
    )
    options = {"objective": "binary", "num_leaves": 7, "num_threads": 1, "verbose": -1}
    lightgbm.train(options, data, 20).save_model(found / "late.txt")
    (found / "late.toml").write_text(LATE)
    return found


@pytest.fixture(scope="module")
def metadata(folder: Path) -> Metadata:
    return load_predictor("late.txt", folder=folder).metadata


def outcomes(found: Scored, decode: Callable[[bytes], Any] | None) -> dict[int, Any]:
    """By offset, what was answered, or the reason why not."""
    said: dict[int, Any] = dict(found.reasons(ERRORS))
    for record in found.records(OUTPUTS):
        if decode is None:
            said[record.source[1]] = record.json
        else:
            value = decode(record.value)
            said[value.pop("served")["source_offset"]] = value
    return said


def run(
    folder: Path, metadata: Metadata, parcels: Sequence[Any], sizes: Sequence[int], form: str
) -> dict[int, Any]:
    """Parcels in batches of some sizes; `form` of inputs and outputs: `avro-json`, ..."""
    of_inputs, of_outputs = form.split("-")
    schema = made_avro_schema(metadata.input_schema, "lateInput") if of_inputs == "avro" else None
    models = write_list(folder, f'[[models]]\nmodel = "late.txt"\nformat = "{of_outputs}"\n')
    batches, at = [], 0
    for size in [*sizes, len(parcels)]:
        part = parcels[at : at + size]
        if part:
            batches.append(on_paper.given(INPUTS, part, schema=schema, first_offset=at))
        at += size
    decode = None
    if of_outputs == "avro":
        whole = with_served(made_avro_schema(metadata.output_schema, "lateOutput"))
        decoder = JsonDecoder(lambda _: whole)
        decode = decoder.decode
    return outcomes(scored(models, {INPUTS: batches}), decode)


@given(
    parcels=st.lists(PARCELS, min_size=1, max_size=12),
    sizes=st.lists(st.integers(1, 5), max_size=4),
)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_trained_file_answers_columns_values_and_single_records_alike(
    folder: Path, metadata: Metadata, parcels: list[Any], sizes: list[int]
) -> None:
    alone = run(folder, metadata, parcels, [1] * len(parcels), "json-json")
    assert alone.keys() == set(range(len(parcels)))
    for form in ("json-json", "json-avro", "avro-json", "avro-avro"):
        assert run(folder, metadata, parcels, sizes, form) == alone, form


DO = st.sampled_from([None, "raise", "nan", "text", "nothing"])
NUMBERS = st.fixed_dictionaries(
    {"n": st.integers(-2, 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.none()},
    optional={"do": DO, "key": st.text(max_size=3)},
)


@given(
    values=st.lists(NUMBERS | st.sampled_from([b"{", b"", [], 3]), min_size=1, max_size=12),
    sizes=st.lists(st.integers(1, 5), max_size=4),
)
@settings(max_examples=10, deadline=None)
def test_a_class_answers_batches_as_it_answers_single_records(
    tmp_path_factory: pytest.TempPathFactory, values: list[Any], sizes: list[int]
) -> None:
    where = tmp_path_factory.mktemp("list")
    stem = "models.twice.1.0"

    def run_as(model: str, cuts: Sequence[int]) -> dict[int, Any]:
        text = f'[[models]]\nmodel = "MODELS:{model}"\nname = "twice"\n'
        batches, at = [], 0
        for size in [*cuts, len(values)]:
            if part := values[at : at + size]:
                batches.append(on_paper.given(f"{stem}.inputs", part, first_offset=at))
            at += size
        found = scored(write_list(where, text), {f"{stem}.inputs": batches})
        said: dict[int, Any] = {
            error["offset"]: (error["reason"], error["message"])
            for error in found.errors(f"{stem}.errors")
        }
        return said | {r.source[1]: r.json for r in found.records(f"{stem}.outputs")}

    alone = run_as("Twice", [1] * len(values))
    assert run_as("TwiceBatched", sizes) == {
        offset: (each[0], each[1].replace("model twice ", "model twice-batched "))
        if isinstance(each, tuple)
        else each
        for offset, each in alone.items()
    }
