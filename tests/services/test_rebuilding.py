"""A store that is made anew from the topic, beside the one that is read and written."""

import random
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from bytewax.testing import run_main
from typer.testing import CliRunner

from streamrec.dataflows.job.opening import open_job_with
from streamrec.dataflows.job.topics import RECOMMENDATIONS
from streamrec.dataflows.store import FLOW_ID, build_flow
from streamrec.program import app
from streamrec.services.rebuilding import rebuild
from streamrec.services.store.contract import StoreError
from streamrec.services.store.opening import open_replacement, open_store
from streamrec.services.store.users import USERS, packed
from tests.dataflows.conftest import SettingsFor
from tests.dataflows.faults.running import environment_of, running
from tests.dataflows.main_job import MainJob
from tests.services.conftest import RedisServer
from tests.services.store.recommended import USERS_ASKED, newest, offsets, send

MakeJob = Callable[..., MainJob]


def silent(text: str) -> None:
    pass


@pytest.fixture(params=["lmdb", "redis"])
def job(request: pytest.FixtureRequest, job_settings: SettingsFor, tmp_path: Path) -> MainJob:
    """A job whose settings name a store, on each back end in turn."""
    named = str(tmp_path / "store")
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        server.flush()
        named = server.url
    return MainJob(job_settings(store=named))


def run_store(job: MainJob) -> None:
    run_main(build_flow(open_job_with(FLOW_ID, job.settings)))  # type: ignore[no-untyped-call]


def test_what_the_topic_does_not_hold_is_gone_and_what_it_holds_is_there(job: MainJob) -> None:
    send(job, 0, 1_000)
    with closing(open_store(job.settings.store, make=True)) as store:
        store.put(USERS, [(b"made up", packed(1, 0, 0, b"i", b"")), (USERS_ASKED[0], _far_ahead())])

        made = rebuild(job.log, job.settings, silent)

        assert (made.put, made.unreadable) == (1_000, 0)
    with closing(open_store(job.settings.store)) as store:
        assert offsets(store) == newest(1_000)
        assert store.get(USERS, [b"made up"]) == [None]


def _far_ahead() -> bytes:
    return packed(1 << 50, 0, 1 << 40, b"i", b"wrong")


def test_a_flow_that_runs_meanwhile_loses_nothing_and_nothing_goes_back(
    job: MainJob, tmp_path: Path
) -> None:
    rng, sent, before = random.Random(1), 0, [-1] * len(USERS_ASKED)
    reader = open_store(job.settings.store)

    def readings() -> list[int]:
        nonlocal before
        now = offsets(reader)
        assert all(a <= b for a, b in zip(before, now, strict=True))
        before = now
        return now

    with running(job.settings, tmp_path, "dataflows.store") as flow:
        flow.until(lambda: "store reads" in flow.log, "a start")  # or rebuilding does it all
        for _ in range(2):
            for _ in range(10):
                count = rng.randrange(1, 400)
                send(job, sent, count)
                sent += count
                readings()
            rebuild(job.log, job.settings, silent)
        flow.until(lambda: readings() == newest(sent), "the newest of all")
        flow.stop()
    reader.close()


def test_a_rebuild_that_fails_leaves_the_store_as_it_was(job: MainJob) -> None:
    send(job, 0, 400)
    run_store(job)
    new = open_replacement(job.settings.store)
    new.store.put(USERS, [(USERS_ASKED[0], _far_ahead())])

    with pytest.raises(StoreError, match=r"expected one rebuild at a time"):
        open_replacement(job.settings.store)
    with pytest.raises(RuntimeError):
        new.swap(_fail)
    new.close()

    with closing(open_store(job.settings.store)) as store:
        assert offsets(store) == newest(400)
    send(job, 400, 400)
    run_store(job)  # nobody holds it up
    with closing(open_store(job.settings.store)) as store:
        assert offsets(store) == newest(800)


def _fail() -> None:
    raise RuntimeError("in the middle")


def test_the_command_says_what_it_put(
    job_settings: SettingsFor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = MainJob(job_settings(store=str(tmp_path / "store")))
    send(job, 0, 50)
    topic = job.settings.topic(RECOMMENDATIONS)
    with closing(job.log.writer()) as writer:
        writer.write_columns(topic, 0, [b"k"], [b"broken"])
    for name, value in environment_of(job.settings).items():
        monkeypatch.setenv(name, value)

    done = CliRunner().invoke(app, ["store", "rebuild"])

    assert done.exit_code == 0, done.output
    assert "put 50 recommendations in " in done.output
    assert "s, 1 could not be read" in done.output
