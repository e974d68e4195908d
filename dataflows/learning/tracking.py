"""Training runs at MLflow (extra `mlflow`): parameters, metrics, the model with its signature,
tags, and the aliases `champion` and `challenger`; stages, which MLflow gave up, are not used.

The program of a process: `python -m … URI`, with what is tracked on standard input. Importing
MLflow takes seconds and a hundred megabytes, which no dataflow is to have.
"""

import json
import logging
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from streamrec.models.serving.apart.process import give_way

_PROGRAM = "streamrec.dataflows.learning.tracking"
_WAIT_S = 300.0  # a database that is new takes a minute
_FOLDER = "model"
_TYPES = {"number": "double", "integer": "long", "boolean": "boolean", "string": "string"}
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tracked:
    """A version that was published."""

    model: str
    version: str
    alias: str | None
    files: Mapping[str, bytes]
    about: Mapping[str, Any]


def track_apart(uri: str, tracked: Tracked) -> None:
    """Track it in a process of its own. A server that is away, or an extra that is not there, is
    logged: it keeps no model from answering."""
    command = [sys.executable, "-P", "-m", _PROGRAM, uri]
    paths = os.pathsep.join(path for path in sys.path if path)
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": paths},
        start_new_session=True,
    )
    give_way(process.pid, 10)
    try:
        said, _ = process.communicate(pickle.dumps(tracked), _WAIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
    if process.returncode:
        lines = said.decode(errors="replace").strip().splitlines()
        _logger.warning(
            "model %s: version %s is not tracked at MLflow: %s",
            tracked.model,
            tracked.version,
            lines[-1] if lines else f"status {process.returncode}",
        )


def track(uri: str, tracked: Tracked) -> str:
    """Track a version once; returns the run's id. Raises what MLflow raises."""
    from mlflow import MlflowClient  # an extra, which takes seconds

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    experiment = client.get_experiment_by_name(tracked.model)
    number = experiment.experiment_id if experiment else client.create_experiment(tracked.model)
    told = f"tags.`streamrec.version` = '{tracked.version}'"
    found = client.search_runs([number], told)
    ended = [run for run in found if run.info.status == "FINISHED"]
    run_id = str(ended[0].info.run_id) if ended else _log(client, number, tracked)
    _register(client, run_id, tracked)
    return run_id


def _log(client: Any, experiment: str, tracked: Tracked) -> str:
    about = tracked.about
    facts = {name: about.get(name) for name in ("kind", "trainer", "recipe", "threshold")}
    facts |= {f"run.{name}": value for name, value in about.get("run", {}).items()}
    facts |= {f"trained.{name}": value for name, value in about.get("trained", {}).items()}
    tags = {f"streamrec.{n}": str(value) for n, value in facts.items() if value is not None}
    tags["streamrec.version"] = tracked.version
    run = client.create_run(experiment, tags=tags, run_name=tracked.version)
    run_id = str(run.info.run_id)
    for name, value in about.get("parameters", {}).items():
        client.log_param(run_id, name, value)
    for name, value in about["metrics"].items():
        client.log_metric(run_id, name, value)
    with tempfile.TemporaryDirectory() as folder:
        for name, content in tracked.files.items():
            (Path(folder) / name).write_bytes(content)
        (Path(folder) / "MLmodel").write_text(_described(tracked, run_id))
        client.log_artifacts(run_id, folder, _FOLDER)
    client.set_terminated(run_id)
    return run_id


def _described(tracked: Tracked, run_id: str) -> str:
    """MLflow's own description of a model, its file `MLmodel`, with the signature. The flavor is
    ours, since nothing of it is executed. Written by hand: MLflow's classes need pandas."""

    def columns(schema: Mapping[str, Any]) -> str:
        required = set(schema.get("required", ()))
        made = []
        for name, field in schema["properties"].items():
            kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
            kind = next((_TYPES[each] for each in kinds if each in _TYPES), None)
            if kind is not None:  # of an object, such as chances by label, there is no column
                made.append({"name": name, "type": kind, "required": name in required})
        return json.dumps(made)

    said = {
        "artifact_path": _FOLDER,
        "flavors": {"streamrec": {"data": tracked.about["file"], "version": tracked.version}},
        "run_id": run_id,
        "signature": {
            "inputs": columns(tracked.about["input_schema"]),
            "outputs": columns(tracked.about["output_schema"]),
            "params": None,
        },
    }
    return str(yaml.safe_dump(said))


def _register(client: Any, run_id: str, tracked: Tracked) -> None:
    if not client.search_registered_models(f"name = '{tracked.model}'"):
        client.create_registered_model(tracked.model)
    known = client.search_model_versions(f"name = '{tracked.model}'")
    made = next((each for each in known if each.run_id == run_id), None)
    if made is None:
        place = f"{client.get_run(run_id).info.artifact_uri}/{_FOLDER}"
        made = client.create_model_version(
            tracked.model, place, run_id, tags={"streamrec.version": tracked.version}
        )
    if tracked.alias is not None:
        client.set_registered_model_alias(tracked.model, tracked.alias, made.version)


if __name__ == "__main__":
    logging.disable(logging.INFO)
    track(sys.argv[1], pickle.loads(sys.stdin.buffer.read()))


__all__ = ["Tracked", "track", "track_apart"]
