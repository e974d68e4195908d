"""What `deploy/` runs before the first start: the engine's store is made once, and never beside
what is left of an older one."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

_DEPLOY = Path(__file__).parents[1] / "deploy"


def _of_kubernetes() -> str:
    for part in yaml.safe_load_all((_DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8")):
        if part["kind"] == "StatefulSet":
            command = part["spec"]["template"]["spec"]["initContainers"][0]["command"]
            assert command[:2] == ["sh", "-c"]
            return str(command[2])
    raise AssertionError("no StatefulSet")


def _of_compose() -> str:
    file = yaml.safe_load((_DEPLOY / "compose.cluster.yaml").read_text(encoding="utf-8"))
    command = file["services"]["store"]["command"]
    assert command[:2] == ["sh", "-c"]
    return str(command[2]).replace("$$", "$")  # as compose itself does


@pytest.fixture(params=[_of_kubernetes, _of_compose], ids=["kubernetes", "compose"])
def prepare(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Callable[[], "subprocess.CompletedProcess[str]"]:
    """Runs the command on a volume at `tmp_path/state`."""
    script = request.param().replace("/state/", f"{tmp_path}/state/")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def run() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["sh", "-c", script], env={"PATH": path}, capture_output=True, text=True, check=False
        )

    return run


def _parts(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("part-*")}


def test_store_is_made_once(
    prepare: Callable[[], "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    folder = tmp_path / "state" / "recommender"

    assert prepare().returncode == 0

    made = _parts(folder)
    assert sorted(made) == [f"part-{n}.sqlite3" for n in range(4)]
    (folder / "state").mkdir()
    assert prepare().returncode == 0
    assert _parts(folder) == made


def test_store_is_not_made_beside_state_or_beside_some_partitions(
    prepare: Callable[[], "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    folder = tmp_path / "state" / "recommender"
    (folder / "state").mkdir(parents=True)

    refused = prepare()

    assert refused.returncode == 1
    assert refused.stderr.startswith(
        f"{folder}: expected part-*.sqlite3 beside the folder state, got none; put them back"
    )
    assert refused.stderr.count("\n") == 1
    assert not _parts(folder)
    (folder / "part-2.sqlite3").write_bytes(b"")
    assert prepare().returncode == 0, "what is missing is for the job to say"
    assert sorted(_parts(folder)) == ["part-2.sqlite3"]
