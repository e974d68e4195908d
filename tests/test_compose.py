"""docker-compose.yml, as far as it can be checked where no containers can be started."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from streamrec.connectors.log_settings import LogSettings
from streamrec.dataflows.job.settings import Settings

_ROOT = Path(__file__).parents[1]
_FILE = _ROOT / "docker-compose.yml"
_SCHEMA = Path(__file__).parent / "compose_spec" / "compose-spec.json"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return loaded


def test_file_follows_the_compose_specification(compose: dict[str, Any]) -> None:
    schema = json.loads(_SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft201909Validator(schema).validate(compose)


def test_the_vendored_schema_finds_mistakes(compose: dict[str, Any]) -> None:
    schema = json.loads(_SCHEMA.read_text(encoding="utf-8"))
    wrong = {**compose, "services": {"kafka": {"image": "kafka", "healthchek": {}}}}
    with pytest.raises(jsonschema.ValidationError, match="healthchek"):
        jsonschema.Draft201909Validator(schema).validate(wrong)


def test_file_is_accepted_by_docker_compose() -> None:
    docker = shutil.which("docker")
    if docker is None:
        pytest.skip("no docker on this machine")
    version = subprocess.run([docker, "compose", "version"], capture_output=True, check=False)
    if version.returncode != 0:
        pytest.skip("docker on this machine has no compose plugin")
    command = [docker, "compose", "--file", str(_FILE), "config", "--quiet"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_every_service_that_goes_on_has_a_health_check(compose: dict[str, Any]) -> None:
    without = {name for name, s in compose["services"].items() if "healthcheck" not in s}
    ends_by_itself = {"topics"}
    assert without == ends_by_itself


def test_services_wait_for_what_they_need(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            assert needed in services, name
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[needed], f"{name} waits for {needed}"


def test_ports_of_this_machine_are_given_once(compose: dict[str, Any]) -> None:
    ports = [p.split(":") for s in compose["services"].values() for p in s.get("ports", ())]
    assert len(ports) == len({host_port for _, host_port, _ in ports})
    assert {address for address, _, _ in ports} == {"127.0.0.1"}, "nobody else is let in"


def test_a_restart_finds_what_was_saved(compose: dict[str, Any]) -> None:
    recommender = compose["services"]["recommender"]
    folder = recommender["environment"]["BYTEWAX_RECOVERY_DIRECTORY"]
    assert any(folder.startswith(volume.split(":")[1]) for volume in recommender["volumes"])
    assert "/state" in (_ROOT / "Dockerfile").read_text()  # the user owns what is mounted there


def test_our_services_are_given_settings_that_exist(compose: dict[str, Any]) -> None:
    known = {name.upper() for name in LogSettings.model_fields}
    known |= {f"STREAMREC_{name.upper()}" for name in Settings.model_fields}
    for service in compose["services"].values():
        for variable in service["environment"] if "build" in service else ():
            assert variable in known or variable.startswith("BYTEWAX_")


def test_the_image_copies_what_exists_and_is_not_ignored() -> None:
    dockerfile = (_ROOT / "Dockerfile").read_text(encoding="utf-8")
    ignored = (_ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = re.findall(r"^COPY (\S+)", dockerfile, flags=re.MULTILINE)
    assert {"connectors", "dataflows", "models", "schemas"} < set(copied)
    for name in copied:
        assert (_ROOT / name).exists()
        assert f"!{name}" in ignored
