"""Makes the archives of this folder: recovery directories of dataflows that were killed.

    python -m tests.dataflows.saved_before.make [NAME ...]

The ones that are committed were made by commit 15e3219. That is what they are for: later code must
resume what that commit has saved (`test_saved_before`), so make none anew unless saved state is
meant to become invalid. Those on Kafka need an empty one, as `./justw kafka` starts it; of what it
prints set KAFKA_BOOTSTRAP_SERVERS only, so that schemas stay in the archive.

A dataflow answers the first clicks of the simulated shop, some of them broken, and saves that. More
come, bit by bit, and when it has answered some that it has not saved yet it is killed. The rest
comes when it is dead.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

from streamrec.connectors.log import Outgoing
from streamrec.dataflows.job.settings import load_settings
from streamrec.shop.shop import Shop
from tests.dataflows.main_job import MainJob
from tests.dataflows.saved_before.cases import CASES, TOPICS, Case, outcomes, topic
from tests.dataflows.saved_before.kafka_topics import save_topics

CLICKS = 700
SAVED = 400  # are answered and saved
UNSAVED = 60  # are written by then, and not saved
STEP, STEP_S = 10, 0.1

Message = tuple[Outgoing, str | None]  # with the reason under which it must fail


def make_job() -> tuple[MainJob, list[Message]]:
    """Topics that keep everything, and the shop's clicks for them."""
    create = [sys.executable, "-m", "streamrec", "topics", "create", "--config", "retention.ms=-1"]
    subprocess.run(create, check=True, stdout=subprocess.DEVNULL)
    job = MainJob(load_settings())
    shop = Shop(seed=23, clicks=CLICKS, schema_ids=job.ids, broken_share=0.1)
    return job, [
        (Outgoing(key, value), batch.reason_at(row))
        for batch in shop.batches()
        for row, (key, value) in enumerate(zip(batch.keys, batch.values, strict=True))
    ]


def write_expected(case: Case, folder: Path, to: Path) -> None:
    """What a run that is never killed makes of all clicks, on an embedded log of its own: places
    and features are the same on any."""
    os.environ.update(case.variables(folder), STREAMREC_DELIVERY="read_back")
    job, clicks = make_job()
    job.send(clicks)
    without_recovery = case.command(folder)[:4]
    subprocess.run(without_recovery, check=True, env={**os.environ, "STREAMREC_FOLLOW": "false"})

    found = [*outcomes(job.log, case.answers), *outcomes(job.log, "errors")]
    asks = (place for place, click in job.clicks().items() if case.asks(click["event_type"]))
    wanted = Counter(f"{partition}/{offset}" for partition, offset in [*asks, *job.sent.reasons])
    assert Counter(place for place, _ in found) == wanted
    to.write_text(json.dumps(dict(found)))


def run_and_kill(case: Case, folder: Path) -> MainJob:
    os.environ.update(case.variables(folder))
    job, clicks = make_job()
    job.send(clicks[:SAVED])
    rest, killed = clicks[SAVED:], threading.Event()

    def feed() -> None:
        while not killed.wait(STEP_S):
            job.send(rest[:STEP])
            del rest[:STEP]

    feeder = threading.Thread(target=feed)
    flow = subprocess.Popen(case.command(folder))
    try:
        with closing(job.log.admin()) as admin:

            def visible() -> int:
                return sum(admin.ends(topic(case.answers), committed=True).values())

            while case.saved_ends(folder, "clicks") != admin.ends(topic("clicks")):
                assert flow.poll() is None, "expected it to run"
                time.sleep(0.1)
            while visible() < (written := sum(admin.ends(topic(case.answers)).values())):
                pass  # a broker ends transactions a little after it has said so
            feeder.start()
            enough = written + (1 if case.is_on_kafka else UNSAVED)
            while visible() < enough:
                pass  # no pause: what is committed is saved within some 10 ms
    finally:
        flow.kill()
        flow.wait()
        killed.set()
    feeder.join()
    job.send(rest)
    print(f"{case.name}: {len(rest)} clicks came when it was dead")  # noqa: T201  # a program
    return job


def unsaved(case: Case, job: MainJob, folder: Path, name: str) -> int:
    """How many records of a topic a restart must find."""
    saved = case.saved_ends(folder, name)
    records = job.records(topic(name))
    return sum(record.offset >= saved.get(record.partition, 0) for record in records)


def is_open(job: MainJob, name: str) -> bool:
    """Whether the kill has left a transaction open."""
    with closing(job.log.admin()) as admin:
        return admin.ends(topic(name)) != admin.ends(topic(name), committed=True)


def make(case: Case, work: Path) -> None:
    kafka = os.environ.pop("KAFKA_BOOTSTRAP_SERVERS", None)
    expected, folder = work / "expected", work / "kept"
    expected.mkdir()
    folder.mkdir()
    write_expected(case, expected, to=folder / "expected.json")
    if case.is_on_kafka:
        assert kafka is not None, "expected KAFKA_BOOTSTRAP_SERVERS, got none"
        os.environ["KAFKA_BOOTSTRAP_SERVERS"] = kafka
    job = run_and_kill(case, folder)
    found = [unsaved(case, job, folder, name) for name in (case.answers, "errors")]
    print(f"{case.name}: {found} answers and errors were not saved")  # noqa: T201  # a program
    if case.is_on_kafka:
        assert found[0] and is_open(job, case.answers), "expected both kinds; try again"
        with (folder / "topics.jsonl").open("w") as lines:
            lines.writelines(save_topics({"bootstrap.servers": kafka}, map(topic, TOPICS)))
    else:
        assert all(found), "expected both; try again"
    archive = str(case.archive).removesuffix(".tar.xz")
    shutil.make_archive(archive, "xztar", folder)


def main(names: list[str]) -> None:
    for case in CASES:
        if case.name in names or not names:
            with tempfile.TemporaryDirectory() as work:
                make(case, Path(work))


if __name__ == "__main__":
    main(sys.argv[1:])
