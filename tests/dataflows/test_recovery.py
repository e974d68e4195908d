"""What is saved and what a restart finds: shards, watermarks, abandoned snapshots, replays."""

import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from bytewax.recovery import init_db_dir

from streamrec.connectors.state_files import Reference, read_newest
from streamrec.dataflows.engine.recovery import drop_abandoned_snapshots
from streamrec.dataflows.engine.stopping import Stopping
from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.job import saved_state
from streamrec.dataflows.job.kept import Keep, KeptShard
from streamrec.dataflows.job.saved_state import check_shape
from streamrec.dataflows.job.settings import SettingsError, load_settings
from streamrec.dataflows.job.starting_elsewhere import settle_replay
from streamrec.dataflows.job.topics import CLICKS
from streamrec.dataflows.steps.batches import ShardClicks
from streamrec.dataflows.steps.decode import DecodeClicks
from streamrec.dataflows.steps.shards import shard_name
from streamrec.dataflows.steps.user_features import UserFeatures
from streamrec.models.users.features import HOUR_MS, compile_features
from streamrec.models.users.state import UserState
from streamrec.models.users.watermarks import AGREE
from streamrec.schemas import load
from streamrec.schemas.wire import WireDecoder
from tests.dataflows.click_batches import START_MS, click, raw_batch

SHARD = shard_name(0)
STEP = "user features"
_FAR_AHEAD_S = 10**6  # no click here is too early


def shards(folder: Path) -> Callable[[Any], KeptShard]:
    """Builds, or resumes, a shard of the step; its files are in `folder`/user-features."""
    keep = Keep(lambda: UserFeatures(UserState(compile_features())), folder)
    return lambda resume: keep(STEP, resume)


def decoding() -> DecodeClicks:
    decoder = WireDecoder(load("clicks"), {1: load("clicks")}.__getitem__)
    return DecodeClicks(lambda: decoder, len(compile_features()), 1, _FAR_AHEAD_S)


def take(shard: KeptShard, decode: DecodeClicks, *values: bytes) -> list[Any]:
    """What the step makes of clicks of one shard."""
    decoded = decode([raw_batch(list(values))])
    return shard.on_batch([part for part in decoded if isinstance(part, ShardClicks)])


def features_of(out: Sequence[Any]) -> list[list[float]]:
    return [part.clicks.features[part.rows].tolist() for part in out]


def test_resumed_shard_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    decode, build = decoding(), shards(tmp_path)
    first, second = click(user_id="u1"), click(user_id="u1", timestamp=START_MS + 1_000)
    whole = build(None)
    take(whole, decode, first)
    expected = features_of(take(whole, decode, second))

    stopped = build(None)
    take(stopped, decode, first)
    resumed = build(stopped.snapshot())

    assert features_of(take(resumed, decode, second)) == expected


def test_shard_that_resumes_and_sees_no_click_keeps_its_state(tmp_path: Path) -> None:
    """The engine also asks shards that were only built: they must know where their files are."""
    decode, build = decoding(), shards(tmp_path)
    first = build(None)
    take(first, decode, click(user_id="u1"))

    snapshot = build(build(first.snapshot()).snapshot()).snapshot()

    assert snapshot is not None
    assert snapshot["shard"] == SHARD
    assert [len(table) for table in read_newest(tmp_path / "user-features" / SHARD)] == [1]


def test_watermark_is_restored_so_that_late_stays_late(tmp_path: Path) -> None:
    decode, build = decoding(), shards(tmp_path)
    shard = build(None)
    for number in range(AGREE + 1):
        take(shard, decode, click(user_id=f"v{number}", timestamp=START_MS + 3 * HOUR_MS))

    [late] = take(build(shard.snapshot()), decode, click(user_id="u2", timestamp=START_MS))

    assert isinstance(late, Failed)
    assert late.reason == "too_late"
    assert str(START_MS + 2 * HOUR_MS) in late.message


def test_what_is_being_weighed_is_restored(tmp_path: Path) -> None:
    """Users as far ahead as one that was seen before the stop count with it after the start."""
    decode, build = decoding(), shards(tmp_path)
    shard = build(None)
    for number in range(AGREE + 1):
        take(shard, decode, click(user_id=f"v{number}"))
    later_ms = START_MS + 9 * HOUR_MS
    for number in range(AGREE + 1):
        snapshot = shard.snapshot()
        assert snapshot is not None
        json.dumps(snapshot["reference"])  # as the manifest has it
        shard = build(snapshot)
        [taken] = take(shard, decode, click(user_id=f"v{number}", timestamp=later_ms + number))
        assert not isinstance(taken, Failed)

    [late] = take(build(shard.snapshot()), decode, click(user_id="u2"))

    assert isinstance(late, Failed)


def test_watermarks_saved_before_there_were_doubts_hold(tmp_path: Path) -> None:
    decode, build = decoding(), shards(tmp_path)
    shard = build(None)
    take(shard, decode, click(user_id="u1", timestamp=START_MS + 3 * HOUR_MS))
    snapshot = shard.snapshot()
    assert snapshot is not None
    del snapshot["reference"]["facts"]["doubts"]

    [late] = take(build(snapshot), decode, click(user_id="u2", timestamp=START_MS))

    assert isinstance(late, Failed)


def test_idle_users_leave_memory_and_with_the_next_base_the_files(tmp_path: Path) -> None:
    decode, build = decoding(), shards(tmp_path)
    shard = build(None)
    take(shard, decode, *(click(user_id=f"u{number}") for number in range(500)))
    shard.snapshot()
    later_ms = START_MS + 24 * HOUR_MS
    for number in range(40):  # enough changes for a new base
        time_ms = later_ms + number
        take(shard, decode, click(user_id=f"v{number}", timestamp=time_ms))
        snapshot = shard.snapshot()

    assert snapshot is not None
    tables = read_newest(tmp_path / "user-features" / SHARD)
    users = {user for table in tables for user in table["user_id"].to_pylist()}
    assert users == {f"v{number}".encode() for number in range(40)}
    reference = Reference.of_plain(snapshot["reference"])
    kept = {file.name for file in reference.files}
    assert len(list((tmp_path / "user-features" / SHARD).glob("*.arrow"))) <= len(kept) + 2 * 24
    assert kept <= {path.name for path in (tmp_path / "user-features" / SHARD).iterdir()}


def test_state_of_other_features_is_refused(tmp_path: Path) -> None:
    decode, build = decoding(), shards(tmp_path)
    shard = build(None)
    take(shard, decode, click(user_id="u1"))
    snapshot = shard.snapshot()
    assert snapshot is not None
    snapshot["reference"]["facts"]["feature_set"] = "another"

    with pytest.raises(ValueError, match=r"got another and .* start from a new"):
        build(snapshot)


def recovery_store(folder: Path, fronts: list[tuple[int, int, int]]) -> None:
    """An engine's store after execution 1 of two workers, which began with epoch 3."""
    init_db_dir(folder, 2)  # type: ignore[no-untyped-call]  # native
    with closing(sqlite3.connect(folder / "part-0.sqlite3")) as db, db:
        db.execute("INSERT INTO exs (ex_num, worker_count, resume_epoch) VALUES (0, 2, 1)")
        db.execute("INSERT INTO exs (ex_num, worker_count, resume_epoch) VALUES (1, 2, 3)")
    with closing(sqlite3.connect(folder / "part-1.sqlite3")) as db, db:
        db.executemany(
            "INSERT INTO fronts (ex_num, worker_index, worker_frontier) VALUES (?, ?, ?)", fronts
        )
        db.executemany(
            "INSERT INTO snaps (step_id, state_key, snap_epoch) VALUES ('step', 'key', ?)",
            [(epoch,) for epoch in range(1, 8)],
        )


def epochs_left(folder: Path) -> list[int]:
    with closing(sqlite3.connect(folder / "part-1.sqlite3")) as db:
        return [epoch for (epoch,) in db.execute("SELECT snap_epoch FROM snaps ORDER BY 1")]


@pytest.mark.parametrize(
    ("fronts", "resume_epoch"),
    [([(1, 0, 6), (1, 1, 5)], 5), ([(1, 0, 6)], 3), ([(0, 0, 9), (0, 1, 9)], 3)],
    ids=["slowest worker", "worker without progress", "progress of an older execution"],
)
def test_snapshots_of_epochs_that_will_run_again_are_dropped(
    tmp_path: Path, fronts: list[tuple[int, int, int]], resume_epoch: int
) -> None:
    recovery_store(tmp_path, fronts)

    assert drop_abandoned_snapshots(tmp_path) == 8 - resume_epoch
    assert epochs_left(tmp_path) == list(range(1, resume_epoch))


def test_store_that_is_only_partly_here_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recovery_store(tmp_path, [(1, 0, 6), (1, 1, 5)])
    (tmp_path / "part-0.sqlite3").unlink()

    assert drop_abandoned_snapshots(tmp_path) == 0
    assert epochs_left(tmp_path) == list(range(1, 8))
    assert "1 of 2 recovery partitions are on other machines" in caplog.text


@pytest.fixture
def started_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recovery directory that the process was started with."""
    folder = tmp_path / "recovery"
    arguments = ["bytewax.run", "dataflows.recommender", "-r", str(folder), "-s", "5", "-b", "0"]
    monkeypatch.setattr(sys, "argv", arguments)
    return folder


def test_process_told_to_stop_tells_its_peers(
    started_with: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started_with.mkdir()
    monkeypatch.setenv("BYTEWAX_ADDRESSES", "127.0.0.1:1;127.0.0.1:2")
    peer = Stopping()
    assert not peer()

    (started_with / "stop").touch()
    os.utime(started_with / "stop", (time.time() + 1, time.time() + 1))
    time.sleep(0.25)  # it looks five times a second

    assert peer()


def test_notice_of_an_earlier_run_stops_nobody(
    started_with: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started_with.mkdir()
    (started_with / "stop").touch()
    monkeypatch.setenv("BYTEWAX_ADDRESSES", "127.0.0.1:1;127.0.0.1:2")
    os.utime(started_with / "stop", (1, 1))

    assert not Stopping()()


def began_with(folder: Path, start: str) -> Path:
    init_db_dir(_made(folder), 1)  # type: ignore[no-untyped-call]  # native
    path = _made(folder / "state" / "inputs") / "clicks.json"
    path.write_text(json.dumps({"start": start, "offsets": {"0": 0}}))
    return path


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_saved_state_of_another_shape_is_refused(tmp_path: Path) -> None:
    check_shape(load_settings(state_dir=tmp_path), "recommender", [CLICKS])
    check_shape(load_settings(state_dir=tmp_path), "recommender", [CLICKS])

    with pytest.raises(
        SettingsError, match=r"STREAMREC_SHARDS: expected 8, .* got 16; set it back"
    ):
        check_shape(load_settings(state_dir=tmp_path, shards=16), "recommender", [CLICKS])
    with pytest.raises(SettingsError, match=r"dataflow: expected 'recommender', .* got 'scoring'"):
        check_shape(load_settings(state_dir=tmp_path), "scoring", [CLICKS])


def test_saved_state_of_an_older_layout_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved_state, "LAYOUT", 1)
    check_shape(load_settings(state_dir=tmp_path), "recommender", [CLICKS])
    monkeypatch.undo()

    with pytest.raises(SettingsError, match=r"layout of the state: expected 1, .* got 2"):
        check_shape(load_settings(state_dir=tmp_path), "recommender", [CLICKS])


def test_replay_over_saved_state_is_refused_and_names_the_choices(started_with: Path) -> None:
    began_with(started_with, "committed")

    with pytest.raises(
        SettingsError,
        match=r"expected 'committed', .* got 'earliest'; .*REPLAY=reset .*REPLAY=fork",
    ):
        settle_replay(load_settings(start_from="earliest"))


@pytest.mark.parametrize("start", ["earliest", "0:17,3:5", "1767225600000"])
def test_restart_with_the_start_it_began_with_goes_on(started_with: Path, start: str) -> None:
    began_with(started_with, start)

    settle_replay(load_settings(start_from=start))
    settle_replay(load_settings())


def test_reset_puts_the_state_aside_once(started_with: Path) -> None:
    path = began_with(started_with, "committed")
    settings = load_settings(start_from="earliest", replay="reset")

    settle_replay(settings)

    assert not path.exists()
    assert not list(started_with.glob("part-*"))
    [aside] = started_with.glob("replaced-*")
    assert {p.name for p in aside.iterdir()} == {"part-0.sqlite3", "state"}
    began_with(started_with, "earliest")
    settle_replay(settings)
    assert path.exists()


def test_fork_runs_in_a_directory_beside(
    started_with: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = began_with(started_with, "committed")
    ran: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, arguments: ran.append(arguments))

    settle_replay(load_settings(start_from="0:17,3:5", replay="fork"))

    beside = started_with.with_name("recovery-from-0-17-3-5")
    rest = ["dataflows.recommender", "-s", "5", "-b", "0", f"--recovery-directory={beside}"]
    assert ran == [[sys.executable, "-m", "bytewax.run", *rest]]
    assert path.exists()


def test_transactions_are_refused_on_the_embedded_log() -> None:
    with pytest.raises(SettingsError, match="DELIVERY expected read_back on the embedded log"):
        load_settings(delivery="transactions", kafka_bootstrap_servers=None)
