"""`state show` and `state export` on the files of a shard, as a dataflow leaves them."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from streamrec.dataflows.steps.shards import shard_name
from streamrec.program import app
from tests.connectors.test_leases import held_by_another
from tests.dataflows.click_batches import START_MS, click
from tests.dataflows.test_recovery import decoding, shards, take


@pytest.fixture
def recovery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recovery directory with two users, one of whom changed after the first snapshot."""
    monkeypatch.delenv("STREAMREC_STATE_DIR", raising=False)
    decode = decoding()
    shard = shards(tmp_path / "state")(None)
    take(shard, decode, click(user_id="u1"), click(user_id="u2"))
    shard.snapshot()
    take(shard, decode, click(user_id="u2", timestamp=START_MS + 1_000))
    shard.snapshot()
    return tmp_path


def test_user_is_shown_as_of_the_last_snapshot(recovery: Path) -> None:
    result = CliRunner().invoke(app, ["state", "show", "u2", "-r", str(recovery)])

    assert result.exit_code == 0, result.output
    shown = json.loads(result.output)
    assert shown["shard"] == shard_name(0)
    assert shown["session_clicks"] == 2
    assert shown["newest_ms"] == "2026-01-01T00:00:01+00:00"


def test_user_that_is_not_saved_is_named(recovery: Path) -> None:
    result = CliRunner().invoke(app, ["state", "show", "nobody", "-r", str(recovery)])

    assert result.exit_code == 1
    assert "expected a user that is saved, got 'nobody'" in result.output


def test_every_user_is_exported_once(recovery: Path, tmp_path: Path) -> None:
    out = tmp_path / "users.parquet"

    result = CliRunner().invoke(app, ["state", "export", str(out), "-r", str(recovery)])

    assert result.exit_code == 0, result.output
    table = pq.read_table(out)
    clicks = zip(table["user_id"].to_pylist(), table["session_clicks"].to_pylist(), strict=True)
    assert sorted(clicks) == [(b"u1", 1), (b"u2", 2)]


def test_damaged_file_is_named_and_not_shown(recovery: Path) -> None:
    [base] = (recovery / "state" / "user-features" / shard_name(0)).glob("*base*.arrow")
    base.write_bytes(base.read_bytes()[:-1])

    result = CliRunner().invoke(app, ["state", "show", "u1", "-r", str(recovery)])

    assert result.exit_code == 1
    assert base.name in result.output
    assert "torn or altered" in result.output


def test_reset_puts_all_that_is_saved_aside(recovery: Path) -> None:
    (recovery / "part-0.sqlite3").write_bytes(b"")

    result = CliRunner().invoke(app, ["state", "reset", "-r", str(recovery)])

    assert result.exit_code == 0, result.output
    [aside] = recovery.glob("replaced-*")
    assert str(aside) in result.output
    assert {path.name for path in aside.iterdir()} == {"part-0.sqlite3", "state"}
    assert not (recovery / "state").exists()
    again = CliRunner().invoke(app, ["state", "reset", "-r", str(recovery)])
    assert again.exit_code == 1
    assert "expected saved state in" in again.output


def test_reset_is_refused_while_a_dataflow_runs_there(
    recovery: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMREC_LEASE_S", "1")
    with held_by_another(recovery / "leases", 0, 1.0):
        result = CliRunner().invoke(app, ["state", "reset", "-r", str(recovery)])

    assert result.exit_code == 1
    assert f"recovery directory {recovery} is in use by host" in result.output
    assert (recovery / "state").exists()
