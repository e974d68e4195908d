"""Saved state that was harmed, one file at a time, with unread clicks behind it.

Either the start refuses it and names the file, or every click has in the end what a run has that
was never killed. Whatever the harm, those are the only answers.
"""

import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
import pytest

from benchmarks.place import embedded_place
from streamrec.connectors.embedded.log import EmbeddedLog
from streamrec.connectors.reading import read_all
from streamrec.connectors.state_files import StateFileError
from streamrec.dataflows.engine.recovery import prepare_recovery_directory
from streamrec.schemas import load
from tests.dataflows.test_recovery_processes import FLOW, Runs

pytestmark = pytest.mark.timeout(300)

_PARTS = 4
_STEPS = 14  # bits that are fed before the kill
_FED = 250  # records each
_OLDER_AFTER = 6  # bits, when the older copy is taken
_UNREAD = 1_500

Place = tuple[int, int]


@dataclass(frozen=True)
class Killed:
    """A dataflow that was killed, and what must come out in the end."""

    folder: Path  # log.sqlite, recovery/, older/
    environment: dict[str, str]
    topics: tuple[str, str]  # answers and errors
    expected: dict[Place, Any]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    folder = tmp_path_factory.mktemp("killed")
    runs = Runs(embedded_place(folder, lambda text: None))
    cluster = runs.cluster(1)
    try:
        for step in range(_STEPS):
            runs.feed(_FED)
            time.sleep(0.5)
            if step == _OLDER_AFTER:
                runs.await_caught_up(cluster)
                _copy_partitions(folder / "recovery", folder / "older")
        runs.await_caught_up(cluster)
        runs.feed(_FED)
        runs.await_written(cluster, runs.written() + 1)
        for process in cluster.processes:
            process.kill()
    finally:
        cluster.end(0.0)
    runs.feed(_UNREAD)
    topics = (runs.topics.answers, runs.topics.errors)
    environment = runs.environment(runs.topics, runs.place.prefix, follow="false")
    untouched = folder / "untouched"
    _copy(folder, untouched)
    run = _run(untouched, environment)
    assert run.returncode == 0, run.stdout
    expected = _outcomes(untouched / "log.sqlite", topics)
    assert len(expected) == _STEPS * _FED + _FED + _UNREAD
    return Killed(folder, environment, topics, expected)


def _copy_partitions(recovery: Path, to: Path) -> None:
    """Each whole, as of now, while the engine goes on."""
    to.mkdir()
    for part in recovery.glob("part-*.sqlite3"):
        with (
            closing(sqlite3.connect(part)) as source,
            closing(sqlite3.connect(to / part.name)) as target,
        ):
            source.backup(target)


def _copy(folder: Path, to: Path) -> None:
    to.mkdir()
    for path in folder.glob("log.sqlite*"):
        if path.is_file():  # not who holds it
            shutil.copy2(path, to / path.name)
    shutil.copytree(folder / "recovery", to / "recovery")
    shutil.rmtree(to / "recovery" / "leases")
    shutil.copytree(folder / "older", to / "older")


def _run(folder: Path, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """The dataflow to the end of what there is."""
    flags = ["-r", str(folder / "recovery"), "-s", "1", "-b", "0"]
    return subprocess.run(
        [sys.executable, "-m", "bytewax.run", FLOW.module, *flags],
        env={**environment, "EMBEDDED_LOG_PATH": str(folder / "log.sqlite")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )


def _outcomes(path: Path, topics: tuple[str, str]) -> dict[Place, Any]:
    """What came of each click; raises AssertionError where one has two outcomes."""
    log = EmbeddedLog(path)
    found: list[tuple[Place, Any]] = []
    for topic, schema, prefix in (
        (topics[0], load(FLOW.answers), "source_"),
        (topics[1], load("errors"), ""),
    ):
        parsed = fastavro.parse_schema(json.loads(schema))
        for record in read_all(log, topic):
            assert record.value is not None
            fields = fastavro.schemaless_reader(io.BytesIO(record.value[5:]), parsed, None)
            assert isinstance(fields, dict)
            place = (fields[f"{prefix}partition"], fields[f"{prefix}offset"])
            found.append((place, [fields.get(name) for name in (*FLOW.same, "reason")]))
    twice = [place for place, count in Counter(place for place, _ in found).items() if count > 1]
    assert not twice, f"two outcomes for {twice[:5]} of {len(twice)}"
    return dict(found)


@pytest.fixture
def harmed(
    killed: Killed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator["Callable[[], str]"]:
    """A copy in `tmp_path/here`, and what a start makes of it: "refused: ..." or "nothing lost"."""
    here = tmp_path / "here"
    _copy(killed.folder, here)
    flags = ["bytewax.run", FLOW.module, "-r", str(here / "recovery"), "-s", "1", "-b", "0"]
    monkeypatch.setattr(sys, "argv", flags)
    for name in [name for name in os.environ if name.startswith(("STREAMREC_", "BYTEWAX_"))]:
        monkeypatch.delenv(name)

    def answer() -> str:
        try:
            prepare_recovery_directory(here / "recovery" / "state")
        except StateFileError as error:
            return f"refused: {error}"
        run = _run(here, killed.environment)
        if run.returncode:
            return f"refused: {run.stdout}"
        assert _outcomes(here / "log.sqlite", killed.topics) == killed.expected
        return "nothing lost"

    yield answer


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garble(path: Path) -> None:
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(byte ^ 0x5A for byte in content[middle : middle + 64])
    path.write_bytes(content)


def remove(path: Path) -> None:
    path.unlink()


def put_older_back(path: Path) -> None:
    for stale in path.parent.glob(f"{path.name}-*"):
        stale.unlink()
    shutil.copy2(path.parents[1] / "older" / path.name, path)


def checkpoint(path: Path) -> None:
    """All that the partition holds into its main file, as after a stop in good order."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@pytest.mark.parametrize("number", range(_PARTS))
@pytest.mark.parametrize("harm", [cut, empty, remove, put_older_back])
def test_harmed_partition_is_refused_by_name(
    harm: Callable[[Path], None],
    number: int,
    harmed: Callable[[], str],
    tmp_path: Path,
) -> None:
    part = tmp_path / "here" / "recovery" / f"part-{number}.sqlite3"
    checkpoint(part)
    harm(part)

    said = harmed()

    assert said.startswith("refused: ") and str(part) in said, said


@pytest.mark.parametrize("number", range(_PARTS))
def test_garbled_partition_is_refused_by_name_unless_nothing_stood_there(
    number: int, harmed: Callable[[], str], tmp_path: Path
) -> None:
    part = tmp_path / "here" / "recovery" / f"part-{number}.sqlite3"
    checkpoint(part)
    garble(part)

    said = harmed()

    assert said == "nothing lost" or (said.startswith("refused: ") and str(part) in said), said


@pytest.mark.parametrize("number", range(_PARTS))
@pytest.mark.parametrize("harm", [cut, empty, garble, remove])
def test_harmed_write_ahead_file_loses_nothing_unseen(
    harm: Callable[[Path], None],
    number: int,
    harmed: Callable[[], str],
    tmp_path: Path,
) -> None:
    """What SQLite makes of it is an older partition, which the others and the shards give away."""
    wal = tmp_path / "here" / "recovery" / f"part-{number}.sqlite3-wal"
    harm(wal)

    said = harmed()

    assert said == "nothing lost" or (
        said.startswith("refused: ") and str(wal).removesuffix("-wal") in said
    ), said
    if harm in (empty, remove):
        assert said != "nothing lost"


@pytest.mark.parametrize("harm", [empty, garble, remove])
def test_harmed_index_of_the_write_ahead_file_loses_nothing(
    harm: Callable[[Path], None], harmed: Callable[[], str], tmp_path: Path
) -> None:
    """SQLite makes it anew."""
    for path in (tmp_path / "here" / "recovery").glob("part-*.sqlite3-shm"):
        harm(path)

    assert harmed() == "nothing lost"


def test_all_partitions_missing_with_state_left_is_refused(
    harmed: Callable[[], str], tmp_path: Path
) -> None:
    for path in (tmp_path / "here" / "recovery").glob("part-*"):
        path.unlink()

    said = harmed()

    assert "part-0.sqlite3 and all other partitions are missing, but " in said
    assert "begin anew on purpose: `streamrec state reset`" in said


def test_store_that_is_older_as_a_whole_repeats_nothing(
    harmed: Callable[[], str], tmp_path: Path
) -> None:
    """Or is refused by the first file that has been superseded since."""
    recovery = tmp_path / "here" / "recovery"
    for number in range(_PARTS):
        put_older_back(recovery / f"part-{number}.sqlite3")

    said = harmed()

    assert said == "nothing lost" or ".arrow expected to be readable" in said, said


@pytest.mark.parametrize("harm", [cut, empty, garble, remove])
def test_harmed_manifest_is_made_anew(
    harm: Callable[[Path], None], harmed: Callable[[], str], tmp_path: Path
) -> None:
    manifests = sorted((tmp_path / "here" / "recovery" / "state").glob("*/*/MANIFEST.json"))
    harm(manifests[0])

    assert harmed() == "nothing lost"
    assert json.loads(manifests[0].read_text())["sequence"]


@pytest.mark.usefixtures("harmed")
def test_start_that_is_refused_removes_no_manifest(tmp_path: Path) -> None:
    state = tmp_path / "here" / "recovery" / "state"
    before = prepare_recovery_directory(state)
    assert before
    taken = set(state.glob("*/*/MANIFEST.json"))
    manifest = {"files": [], "facts": {}, "sequence": 1, "epoch": before + 1}
    for number in range(3):  # of shards that were first saved in the epoch that broke off
        folder = state / "step" / f"new-{number}"
        folder.mkdir(parents=True)
        (folder / "MANIFEST.json").write_text(json.dumps(manifest))
    added = [path for path in state.glob("*/*/MANIFEST.json") if path not in taken]
    added[-1].write_text(json.dumps({**manifest, "sequence": 5}))  # the last that is looked at

    with pytest.raises(StateFileError, match="bears witness of snapshot 5"):
        prepare_recovery_directory(state)
    assert all(path.exists() for path in added)

    added[-1].write_text(json.dumps(manifest))
    assert prepare_recovery_directory(state) == before
    assert set(state.glob("*/*/MANIFEST.json")) == taken


@pytest.mark.parametrize("harm", [cut, empty, garble, remove])
def test_harmed_file_of_a_shard_is_refused_by_name(
    harm: Callable[[Path], None], harmed: Callable[[], str], tmp_path: Path
) -> None:
    manifests = sorted((tmp_path / "here" / "recovery" / "state").glob("*/*/MANIFEST.json"))
    name = json.loads(manifests[0].read_text())["files"][0][0]  # its base, in every snapshot
    harm(manifests[0].with_name(name))

    said = harmed()

    assert said.startswith("refused: ") and str(manifests[0].with_name(name)) in said, said


@pytest.mark.parametrize("harm", [cut, empty, remove])
@pytest.mark.parametrize("name", ["shape.json", "inputs/*.json", "outputs/*.json"])
def test_harmed_record_of_the_first_start_is_made_from_its_copy(
    harm: Callable[[Path], None], name: str, harmed: Callable[[], str], tmp_path: Path
) -> None:
    for path in (tmp_path / "here" / "recovery" / "state").glob(name):
        harm(path)

    assert harmed() == "nothing lost"


def test_altered_place_of_a_lane_is_refused(harmed: Callable[[], str], tmp_path: Path) -> None:
    """SQLite has no checksums: a bit that fell over within a snapshot is ours to find."""
    for number in range(_PARTS):
        part = tmp_path / "here" / "recovery" / f"part-{number}.sqlite3"
        with closing(sqlite3.connect(part)) as db, db:
            row = db.execute(
                "SELECT rowid, ser_change FROM snaps WHERE step_id LIKE '%.clicks' LIMIT 1"
            ).fetchone()
            if row is None:
                continue
            content = bytearray(row[1])
            at = next(i for i, byte in enumerate(content) if byte in b"KM" and i > 4) + 1
            content[at] ^= 1
            db.execute("UPDATE snaps SET ser_change = ? WHERE rowid = ?", (bytes(content), row[0]))
        said = harmed()
        assert f"{part}: the snapshot of 'lane-" in said and "is garbled" in said, said
        return
    pytest.fail("no partition holds a lane")
