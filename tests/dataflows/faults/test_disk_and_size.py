"""A disk that is full, a record of 10 MB, and retention that overtook reading, on real parts."""

import os
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest

from streamrec.connectors.embedded.log import EmbeddedLog
from streamrec.connectors.log import Outgoing, TopicSpec, WriteError
from streamrec.connectors.state_files import StateFileError, StateFiles
from streamrec.dataflows.job.opening import open_job_with
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.job.topics import CLICKS
from streamrec.dataflows.recommender import FLOW_ID, build_flow
from tests.connectors.log_reading import read_from
from tests.dataflows.faults.disks import fill
from tests.dataflows.main_job import MainJob, places, reasons_by_place

MB = 1_000_000


def test_disk_full_for_state_files_names_the_file_and_keeps_what_was_saved(
    small_disk: Path,
) -> None:
    table = pa.table({"n": list(range(1_000))})
    files = StateFiles(small_disk / "shard")
    saved = files.write(table, True, {"at": 1})
    ballast = fill(small_disk)

    with pytest.raises(StateFileError) as raised:
        files.write(table, False, {"at": 2})

    assert "could not be written: [Errno 28] No space left on device" in str(raised.value)
    assert "nothing is lost, the flow resumes from its last snapshot" in str(raised.value)
    ballast.unlink()
    resumed = StateFiles(small_disk / "shard")
    assert [part.to_pydict() for part in resumed.read(saved)] == [table.to_pydict()]
    resumed.write(table, False, {"at": 2})


def test_disk_full_for_the_embedded_log_refuses_whole_batches_and_goes_on_later(
    small_disk: Path,
) -> None:
    log = EmbeddedLog(small_disk / "log.sqlite")
    with closing(log.admin()) as admin:
        admin.create(TopicSpec("clicks", 1))
    with closing(log.writer()) as writer:
        writer.write("clicks", [Outgoing(None, b"before")])
    writer = log.writer()
    ballast = fill(small_disk)

    with pytest.raises(WriteError, match=r"the disk (is full|failed or is full)"):
        writer.write("clicks", [Outgoing(None, os.urandom(1_000)) for _ in range(900)])
        writer.flush(20)
    with pytest.raises(WriteError):  # what was refused is not forgotten by closing
        writer.close()

    ballast.unlink()
    with closing(log.writer()) as writer:
        writer.write("clicks", [Outgoing(None, b"after")])
    with closing(log.admin()) as admin:
        end = admin.bounds("clicks")[0].high
    values = [record.value for record in read_from(log, "clicks", {0: 0}, end)]
    assert values == [b"before", b"after"], "a batch is on the log whole or not at all"


def make_room_for_large_records(job: MainJob) -> None:
    with closing(job.log.admin()) as admin:
        admin.delete(job.settings.topic(CLICKS))
        sizes = {"max.message.bytes": str(16 * MB)}
        admin.create(TopicSpec(job.settings.topic(CLICKS), 8, configs=sizes))


@pytest.mark.timeout(300)
def test_record_of_10_mb_is_processed_or_an_error_and_its_neighbours_pass(
    make_job: Callable[..., MainJob],
) -> None:
    job = make_job()
    make_room_for_large_records(job)
    large = job.encode(category_id="c" * 10 * MB)
    broken = large[:-1]
    job.send(
        [
            (Outgoing(b"u1", job.encode()), None),
            (Outgoing(b"u1", large), None),
            (Outgoing(b"u1", broken), "undecodable"),
            (Outgoing(b"u1", job.encode()), None),
        ]
    )

    job.run()

    (error,) = job.errors()
    assert reasons_by_place([error]) == job.sent.reasons
    assert places(job.recommendations()) == Counter(job.sent.good())
    # The original is in the error where the topic has room for it; if not, the error says so.
    assert error.fields["value"] == broken or "the original is left out" in error.fields["message"]


def expire_by_size(settings: Settings) -> MainJob:
    """A log whose retention keeps little, with a group that stands before what is kept."""
    job = MainJob(settings)
    with closing(job.log.admin()) as admin:
        admin.delete(settings.topic(CLICKS))
        admin.create(TopicSpec(settings.topic(CLICKS), 8, configs={"retention.bytes": "20000"}))
    job.send_clicks([{}])
    job.run()
    for n in range(40):
        job.send_clicks([{"item_id": f"{n}-{i}".ljust(100, "x")} for i in range(20)])
    return job


def test_clicks_that_retention_removed_unread_stop_the_job_or_are_skipped_by_setting(
    job_settings: Callable[..., Settings],
) -> None:
    from bytewax.errors import BytewaxRuntimeError
    from bytewax.testing import run_main

    job = expire_by_size(job_settings())
    with closing(job.log.admin()) as admin:
        low = {p: bounds.low for p, bounds in admin.bounds(job.settings.topic(CLICKS)).items()}
    (partition,) = (p for p, at in low.items() if at)

    with pytest.raises(BytewaxRuntimeError) as raised:
        job.run()

    cause = raised.value.__cause__
    assert cause is not None
    assert f"up to {low[partition] - 1} records are gone that were never read" in str(cause)
    assert f"partition {partition} from offset 1 to {low[partition] - 1}" in str(cause)
    assert "set STREAMREC_LOST_RECORDS=skip" in str(cause)
    assert len(job.recommendations()) == 1

    skipping = open_job_with(FLOW_ID, job_settings(lost_records="skip"))
    run_main(build_flow(skipping))  # type: ignore[no-untyped-call]  # bytewax leaves it so
    kept = {place for place in job.sent.values if place[1] >= low[partition]} | {(partition, 0)}
    assert places(job.recommendations()) == Counter(kept)
