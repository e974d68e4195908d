"""The store's flow, killed and on a full disk: nothing is lost, nothing goes back in time."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from bytewax.errors import BytewaxRuntimeError
from bytewax.testing import run_main

from streamrec.dataflows.engine.leaving import message_of
from streamrec.dataflows.job.opening import open_job_with
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.store import FLOW_ID, build_flow
from streamrec.services.rebuilding import rebuild
from streamrec.services.store.folder import FolderStore
from streamrec.services.store.opening import open_store
from tests.dataflows.faults.disks import fill
from tests.dataflows.faults.running import running
from tests.dataflows.main_job import MainJob
from tests.services.conftest import RedisServer
from tests.services.conftest import redis_server as redis_server
from tests.services.store.recommended import USERS_ASKED, newest, offsets, send


def run_store(settings: Settings) -> None:
    run_main(build_flow(open_job_with(FLOW_ID, settings)))  # type: ignore[no-untyped-call]


def test_a_store_whose_disk_is_full_stops_the_flow_and_the_next_start_completes_it(
    embedded_job: Callable[..., MainJob], tmp_path: Path, small_disk: Path
) -> None:
    folder = small_disk / "store"
    job = embedded_job(store=str(folder))
    send(job, 0, 400)
    rebuild(job.log, job.settings, lambda text: None)
    send(job, 400, 1_600)
    ballast = fill(small_disk)

    with running(job.settings, tmp_path, "dataflows.store") as flow:
        assert "the disk is full, or failed: free space, then start again" in flow.until_failed()

    with closing(FolderStore(folder)) as store:
        assert offsets(store) == newest(400)  # as it was, and readable
        ballast.unlink()
        with running(job.settings, tmp_path, "dataflows.store") as flow:
            flow.until(flow.says("store reads"), "the beginning")
            flow.until(lambda: offsets(store) == newest(2_000), "the newest of all")
            flow.stop()


def test_a_store_that_cannot_be_made_on_a_full_disk_is_told(
    embedded_job: Callable[..., MainJob], small_disk: Path
) -> None:
    job = embedded_job(store=str(small_disk / "store"))
    send(job, 0, 10)
    fill(small_disk)

    with pytest.raises(BytewaxRuntimeError) as raised:
        run_store(job.settings)

    assert "No space left on device" in message_of(raised.value)


@pytest.fixture
def readings(tmp_path: Path) -> Iterator[Callable[[], list[int]]]:
    """Reads the store, and says that nothing has gone back since it was read last."""
    store, before = FolderStore(tmp_path / "store"), [-1] * len(USERS_ASKED)

    def read() -> list[int]:
        nonlocal before
        now = offsets(store)
        assert all(a <= b for a, b in zip(before, now, strict=True))
        before = now
        return now

    yield read
    store.close()


def test_a_flow_that_is_killed_loses_nothing_and_nothing_goes_back_in_time(
    embedded_job: Callable[..., MainJob], tmp_path: Path, readings: Callable[[], list[int]]
) -> None:
    job, sent = embedded_job(store=str(tmp_path / "store")), 0

    def has_begun(first: int) -> Callable[[], bool]:
        return lambda: max(readings()) >= first

    for _ in range(2):
        with running(job.settings, tmp_path, "dataflows.store") as flow:
            for first in range(sent, sent + 7_000, 700):
                send(job, first, 700)
                flow.until(has_begun(first), "progress")
            flow.kill()  # in the middle of what was sent last
        sent += 7_000
    with running(job.settings, tmp_path, "dataflows.store") as flow:
        flow.until(flow.says("store reads"), "the beginning")
        flow.until(lambda: readings() == newest(sent), "the newest of all")
        flow.stop()


def test_a_server_that_is_killed_is_waited_for_and_nothing_is_lost(
    embedded_job: Callable[..., MainJob], tmp_path: Path, redis_server: RedisServer
) -> None:
    redis_server.flush()
    job = embedded_job(store=redis_server.url)
    store = open_store(redis_server.url)
    with running(job.settings, tmp_path, "dataflows.store") as flow:
        send(job, 0, 2_000)
        flow.until(lambda: offsets(store)[0] >= 0, "progress")

        redis_server.kill()
        send(job, 2_000, 2_000)
        flow.until(flow.says("is away: "), "a word of it")
        redis_server.start()

        flow.until(lambda: offsets(store) == newest(4_000), "the newest of all")
        flow.stop()
    store.close()
