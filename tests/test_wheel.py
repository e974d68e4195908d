"""The wheel in an environment of its own, and folders whose modules are called like ours."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOSTILE = ("models", "schemas", "connectors", "dataflows", "services", "program", "shop")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of what is committed or would be, so that no build is left in the tree."""
    source = tmp_path_factory.mktemp("source")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_symlink():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).symlink_to((ROOT / name).readlink())
        elif (ROOT / name).is_file() and not name.startswith(("tests/", "benchmarks/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    out = tmp_path_factory.mktemp("wheel")
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet")
    pip(sys.executable, "wheel", *offline, "--wheel-dir", str(out), str(source))
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel; its dependencies are those of this one, by a path."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    pip(sys.executable, "--python", python, "install", "--no-deps", "--no-index", "-q", str(wheel))
    (site,) = (folder / "lib").glob("python*/site-packages")
    # What is read from a .pth file reads no .pth files itself: our own editable install stays out.
    (dependencies,) = {p for p in map(Path, sys.path) if p.name == "site-packages"}
    (site / "dependencies.pth").write_text(f"{dependencies}\n")
    return folder / "bin"


def pip(python: str, *arguments: str) -> None:
    done = subprocess.run([python, "-m", "pip", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def run(command: list[str], cwd: Path, status: int = 0, **variables: str) -> str:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("STREAMREC_", "BYTEWAX_", "KAFKA_", "SCHEMA_", "PYTHONPATH"))
    }
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**kept, **variables},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == status, f"{command}: {done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_wheel_holds_streamrec_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
        names = set(archive.namelist())
    assert {top for top in tops if not top.endswith(".dist-info")} == {"streamrec"}
    assert "streamrec/schemas/clicks.avsc" in names
    assert "streamrec/models/artifacts/default/manifest.json" in names
    assert "streamrec/dataflows/recommender.py" in names


@pytest.mark.slow
@pytest.mark.timeout(300)  # it compiles all kernels anew
def test_the_installed_wheel_runs_the_demo_in_an_empty_folder(
    installed: Path, tmp_path: Path
) -> None:
    code = "import streamrec, pathlib; print(pathlib.Path(streamrec.__file__).resolve())"
    place = run([str(installed / "python"), "-c", code], tmp_path).strip()
    assert place.startswith(str(installed.parent.resolve()))

    shown = run(
        [str(installed / "streamrec"), "demo", "--clicks", "3000", "--models", "none"], tmp_path
    )

    assert "events in" in shown and "recommendations" in shown
    assert {path.name for path in tmp_path.iterdir()} <= {"data", "dataflow.json"}


@pytest.mark.parametrize("way", ["script", "module", "engine"])
def test_modules_of_a_user_that_are_called_like_ours_break_nothing(
    way: str, tmp_path: Path
) -> None:
    for name in HOSTILE:
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('the user\\'s own')\n")
    script = [str(Path(sys.executable).with_name("streamrec"))]
    module = [sys.executable, "-m", "streamrec"]
    streamrec = script if way == "script" else module
    engine = [sys.executable, "-m", "bytewax.run", "streamrec.dataflows.recommender"]
    assert "topic clicks: made" in run([*streamrec, "topics", "create"], tmp_path)
    assert "Dataflow: scoring" in run([*streamrec, "describe", "dataflows.scoring"], tmp_path)
    command = engine if way == "engine" else [*streamrec, "run"]

    run(command, tmp_path, STREAMREC_FOLLOW="false", STREAMREC_MODEL="none")
