"""What a main job serves at /metrics while it runs, held against what is really on the log."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from streamrec.connectors.log import Outgoing
from streamrec.dataflows.job.topics import CLICKS, ERRORS, RECOMMENDATIONS
from streamrec.services.metrics.looking import Looked, _get, look_at
from streamrec.services.metrics.notes import Note, read_notes
from tests.dataflows.faults.running import RunningJob, running
from tests.dataflows.main_job import START_MS, MainJob

LABELS = {
    *("dataflow", "topic", "reader", "reason", "step", "model", "version"),  # of dataflows
    *("service", "route", "method", "status", "queue"),  # of services
    *("kind", "name", "index", "le"),
}
CLICKS_SENT = 400


@contextmanager
def watched(job: MainJob, folder: Path) -> Iterator[tuple[RunningJob, Note]]:
    """The main job as a process, found by its note."""
    runtime = folder / "runtime"
    runtime.mkdir()
    with running(job.settings, folder, XDG_RUNTIME_DIR=str(runtime)) as process:

        def notes() -> list[Note]:
            return read_notes(runtime / "streamrec")

        process.until(lambda: bool(notes()), "a note")
        yield process, notes()[0]


def until(process: RunningJob, note: Note, done: Callable[[Looked], bool], what: str) -> Looked:
    """Look until it serves what is wanted."""
    found: list[Looked] = []

    def looked() -> bool:
        now = look_at(note)
        if now is not None:
            found[:] = [now]
        return now is not None and done(now)

    process.until(looked, what)
    return found[0]


def send(job: MainJob) -> None:
    """Views, of which some are broken in two ways."""
    now_ms = int(time.time() * 1_000)

    def messages() -> Iterator[tuple[Outgoing, str | None]]:
        for n in range(CLICKS_SENT):
            user = f"user-{n % 40}".encode()
            fields: dict[str, Any] = {"user_id": user.decode(), "item_id": f"item-{n % 9}"}
            if n % 50 == 0:
                yield Outgoing(user, b"\xff broken", None, now_ms), "not_wire_format"
            elif n % 50 == 1:
                value = job.encode(**fields, timestamp=-1)
                yield Outgoing(user, value, None, now_ms), "invalid_value"
            else:
                yield Outgoing(user, job.encode(**fields, timestamp=START_MS), None, now_ms), None

    job.send(messages())


def test_main_job_serves_what_it_really_does(
    make_job: Callable[..., MainJob], tmp_path: Path
) -> None:
    job = make_job()
    with watched(job, tmp_path) as (process, note):
        until(process, note, lambda now: not now.reasons, "a job that is ready")
        send(job)
        process.until_answered(job, CLICKS_SENT)
        good, reasons = len(job.sent.good()), Counter(job.sent.reasons.values())

        def is_done(now: Looked) -> bool:
            lags = now.series.get("streamrec_lag_records", [])
            return now.total("streamrec_epochs_total") > 2 and {lag for _, lag in lags} == {0.0}  # type: ignore[operator]  # None fails, too

        now = until(process, note, is_done, "no lag")

        clicks = job.settings.topic(CLICKS)
        flow = {"dataflow": "recommender"}
        place = {**flow, "topic": clicks, "reader": ""}
        assert now.series["streamrec_records_read_total"] == [(place, CLICKS_SENT)]
        written = {
            labels["topic"]: count
            for labels, count in now.series["streamrec_records_written_total"]
        }
        assert written[job.settings.topic(RECOMMENDATIONS)] == good
        assert written[job.settings.topic(ERRORS)] == reasons.total()
        errors = {
            labels["reason"]: (count, labels["step"])
            for labels, count in now.series["streamrec_record_errors_total"]
        }
        assert errors == {reason: (count, "decode") for reason, count in reasons.items()}
        assert now.total("streamrec_batch_records_sum") == CLICKS_SENT
        latencies = now.series["streamrec_source_to_sink_seconds_count"]
        assert {labels["topic"]: count for labels, count in latencies} == {
            job.settings.topic(RECOMMENDATIONS): good,
            job.settings.topic(ERRORS): reasons.total(),
        }
        assert 0.0 < now.total("streamrec_source_to_sink_seconds_sum") / CLICKS_SENT < 30.0  # type: ignore[operator]
        assert 0.5 < mean(now, "streamrec_epoch_duration_seconds") < 5.0  # -s 1
        assert 0.0 < mean(now, "streamrec_epoch_closing_seconds") < 2.0
        (model,) = now.labels("streamrec_model_info")
        assert model["version"] and model["model"]
        assert now.total("streamrec_log_up") == 1.0
        assert now.total("streamrec_unacknowledged_records") == 0.0
        assert_no_ids(now)
        assert "user-" not in _get(note.address, "/metrics")
        process.stop()
        assert not (tmp_path / "runtime" / "streamrec" / f"{note.pid}.json").exists()
        assert re.search(r"serves /metrics and /health on http://127\.0\.0\.1:\d+", process.log)


def mean(now: Looked, name: str) -> float:
    total, count = now.total(f"{name}_sum"), now.total(f"{name}_count")
    assert total is not None and count
    return total / count


def assert_no_ids(now: Looked) -> None:
    names = {name for series in now.series.values() for labels, _ in series for name in labels}
    assert names <= LABELS
