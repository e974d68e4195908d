"""Records and lists that once ended the scorer, or did harm to others."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bytewax.testing import run_main

from streamrec import PaperJob
from streamrec.dataflows.job.paper import batch_of
from streamrec.dataflows.job.settings import load_settings
from streamrec.dataflows.job.start_error import StartError
from streamrec.dataflows.job.topics import RECOMMENDATIONS
from streamrec.dataflows.scorer import build_flow
from streamrec.schemas.json_codec import JsonDecoder, JsonEncoder
from tests.dataflows.serving.on_paper import Scored, given, scored, write_list


def test_an_integer_that_python_cannot_write_fails_alone(tmp_path: Path) -> None:
    inputs = "models.huge.1.0.inputs"
    batch = given(inputs, [{"n": 1}, {"n": 10_000}, {"n": 2}])
    found = scored(write_list(tmp_path, '[[models]]\nmodel = "MODELS:huge"\n'), {inputs: [batch]})
    assert found.values("models.huge.1.0.outputs") == [{"got": 10}, {"got": 100}]
    assert found.reasons("models.huge.1.0.errors") == {1: "output_invalid"}


class Registry(PaperJob):
    """Where one schema is known that is none of a model's."""

    def __init__(self, schema: str, *given: Any) -> None:
        super().__init__(*given)
        self._schema = schema

    def value_decoder(self) -> Callable[..., Any]:
        return JsonDecoder(lambda _: self._schema).decode


def test_avro_of_another_schema_that_has_a_number_for_a_list_fails_alone(tmp_path: Path) -> None:
    another = json.dumps(
        {"type": "record", "name": "Other", "fields": [{"name": "parts", "type": "int"}]}
    )
    inputs = "models.counted.1.0.inputs"
    values = [{"parts": []}, JsonEncoder(another, 7).encode({"parts": 3}), {"parts": [{"n": 1}]}]
    models = write_list(tmp_path, '[[models]]\nmodel = "MODELS:counted"\n')
    job = Registry(
        another, "scorer", {inputs: [given(inputs, values)]}, load_settings(models=str(models))
    )
    run_main(build_flow(job))  # type: ignore[no-untyped-call]
    found = Scored(job)
    assert found.values("models.counted.1.0.outputs") == [{"parts": 0}, {"parts": 1}]
    assert found.errors("models.counted.1.0.errors")[0]["offset"] == 1


@pytest.mark.parametrize("value", [b"{}", b'{"features": []}', b"3", b'{"user_id": "u"}'])
def test_json_among_user_features_that_is_no_recommendation_fails_alone(
    tmp_path: Path, value: bytes
) -> None:
    models = write_list(tmp_path, '[[models]]\nmodel = "MODELS:echo"\ninputs = ["features"]\n')
    batch = batch_of(RECOMMENDATIONS, [value], keys=[b"k"])
    found = scored(models, {"recommendations": [batch]})
    assert found.reasons("models.echo.1.0.errors") == {0: "invalid_value"}


def test_a_model_apart_is_found_from_the_folder_of_its_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "list").mkdir()
    (tmp_path / "elsewhere").mkdir()
    for folder, answer in (("list", "here"), ("elsewhere", "there")):
        text = f"def told(data):\n    return {{'said': '{answer}'}}\n"
        (tmp_path / folder / "told_models.py").write_text(text)
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(("", str(Path(__file__).parents[2]))))
    models = tmp_path / "list" / "served.toml"
    models.write_text('[[models]]\nmodel = "told_models:told"\ntimeout_s = 30\n')
    inputs = "models.told.1.0.inputs"
    found = scored(models, {inputs: [given(inputs, [{}])]})
    assert found.values("models.told.1.0.outputs") == [{"said": "here"}]


def test_variants_of_an_experiment_take_all_bytes_or_all_json(tmp_path: Path) -> None:
    text = (
        '[[experiments]]\nname = "mixed"\n'
        '[[experiments.variants]]\nname = "a"\nmodel = "MODELS:echo"\n'
        '[[experiments.variants]]\nname = "b"\nmodel = "MODELS:measured"\n'
    )
    with pytest.raises(
        StartError, match="variant 'b' expected a model of JSON, as 'a' is, got one of bytes"
    ):
        scored(write_list(tmp_path, text), {})
