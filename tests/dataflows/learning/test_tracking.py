"""Versions at MLflow: once each, with what is known of them."""

import json
from pathlib import Path

import pytest
import yaml

from streamrec.dataflows.learning.tracking import Tracked, track
from streamrec.models.learning.examples import examples_of
from streamrec.models.learning.fit import fit
from tests.models.learning.people import people, recipe

pytestmark = [
    pytest.mark.slow,  # MLflow makes a database
    pytest.mark.timeout(400),
    pytest.mark.filterwarnings("ignore"),  # its own, of libraries that it uses
]


def test_a_version_is_tracked_once_with_its_metrics_signature_tags_and_alias(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)  # where MLflow puts files
    said = recipe(model={"kind": "lightgbm", "parameters": {"rounds": 5}})
    made = fit(said, examples_of(said, *people(100)), facts={"run": {"count": 100}})
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    tracked = Tracked("people", "abc", "champion", made.files, made.about)
    run_id = track(uri, tracked)
    assert track(uri, tracked) == run_id
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    version = client.get_model_version_by_alias("people", "champion")
    assert version.run_id == run_id
    assert version.tags == {"streamrec.version": "abc"}
    run = client.get_run(run_id)
    assert run.data.params == {"rounds": "5"}
    assert run.data.metrics["auc"] == pytest.approx(made.metrics["auc"])
    assert run.data.tags["streamrec.run.count"] == "100"
    folder = Path(str(version.source))
    assert (folder / "people.txt").read_bytes() == made.files["people.txt"]
    signature = yaml.safe_load((folder / "MLmodel").read_text())["signature"]
    assert [each["name"] for each in json.loads(signature["inputs"])] == [
        "age",
        "hours",
        "work",
        "town",
    ]
