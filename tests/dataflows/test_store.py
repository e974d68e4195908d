"""The store's flow: what the topic of recommendations holds is what the store says of each user."""

import io
import json
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import fastavro
import pytest
from bytewax.testing import cluster_main, run_main

from streamrec.connectors.starts import Start
from streamrec.dataflows.job.opening import open_job_with
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.job.start_error import StartError
from streamrec.dataflows.job.topics import RECOMMENDATIONS
from streamrec.dataflows.store import FLOW_ID, build_flow
from streamrec.services.store.opening import open_store
from streamrec.services.store.users import HISTORY_MAX, USERS, PastClick, UserValue, unpacked
from tests.dataflows.main_job import START_MS, Answer, MainJob

MakeJob = Callable[..., MainJob]


@pytest.fixture
def make(make_job: MakeJob, tmp_path: Path) -> MakeJob:
    """Makes a main job whose settings name a store of its own."""
    return lambda **given: make_job(**{"store": str(tmp_path / "store"), **given})


@pytest.fixture
def embedded(embedded_job: MakeJob, tmp_path: Path) -> MakeJob:
    return lambda **given: embedded_job(**{"store": str(tmp_path / "store"), **given})


def run_store(settings: Settings, workers: int = 1) -> None:
    """Run the real dataflow to the end of the topic."""
    flow = build_flow(open_job_with(FLOW_ID, settings))
    if workers == 1:
        run_main(flow)  # type: ignore[no-untyped-call]  # bytewax leaves it so
    else:
        cluster_main(flow, [], 0, worker_count_per_proc=workers)  # type: ignore[no-untyped-call]


def stored(settings: Settings, users: Sequence[str]) -> list[UserValue | None]:
    store = open_store(settings.store)
    values = store.get(USERS, [user.encode() for user in users])
    store.close()
    return [None if value is None else unpacked(value) for value in values]


def expected(answers: Sequence[Answer]) -> dict[str, UserValue]:
    """By user, what the records of the topic say, the plain way."""
    found = {}
    for user in {answer.fields["user_id"] for answer in answers}:
        own = [answer for answer in answers if answer.fields["user_id"] == user]
        newest = max(own, key=_order)
        seen = {(_order(answer)[0], answer.fields["item_id"]) for answer in own}
        history = [PastClick(*event) for event in sorted(seen, reverse=True)[:HISTORY_MAX]]
        value = newest.record.value
        assert value is not None
        found[user] = UserValue(_order(newest), history, value)
    return found


def _order(answer: Answer) -> Any:
    fields = answer.fields
    asked = int(fields["requested_at"].timestamp() * 1_000 + 0.5)
    return asked, fields["source_partition"], fields["source_offset"]


@pytest.mark.parametrize("workers", [1, 2])
def test_each_user_has_the_newest_recommendation_and_what_was_asked_at(
    make: MakeJob, workers: int
) -> None:
    job = make()
    job.send_shop(3_000)
    job.run()

    run_store(job.settings, workers)

    wanted = expected(job.recommendations())
    assert len(wanted) > 300
    assert dict(zip(wanted, stored(job.settings, [*wanted]), strict=True)) == wanted


def test_clicks_out_of_order_leave_the_newest_by_event_time(embedded: MakeJob) -> None:
    job = embedded()
    times = [3_000, 1_000, 2_000]
    job.send_clicks({"item_id": f"i{at}", "timestamp": START_MS + at} for at in times)
    job.run()

    run_store(job.settings)

    (value,) = stored(job.settings, ["u1"])
    assert value is not None
    assert value.asked.time_ms == START_MS + 3_000
    assert [event.item_id for event in value.history] == ["i3000", "i2000", "i1000"]


def test_a_replay_from_the_beginning_changes_nothing(embedded: MakeJob) -> None:
    job = embedded()
    job.send_shop(1_000)
    job.run()
    run_store(job.settings)
    users = [*expected(job.recommendations())]
    before = stored(job.settings, users)

    again = job.settings.model_copy(update={"start_from": Start("earliest")})
    run_store(again)

    assert stored(job.settings, users) == before


def test_a_recommendation_that_cannot_be_read_is_an_error_and_its_neighbours_are_there(
    embedded: MakeJob,
) -> None:
    job = embedded()
    job.send_clicks([{"user_id": "u1"}])
    job.run()
    (good,) = job.recommendations()
    assert good.record.value is not None
    with closing(job.log.writer()) as writer:
        values = [b"broken", None, good.record.value[:-9]]
        writer.write_columns(good.record.topic, good.record.partition, [b"u1"] * 3, values)

    run_store(job.settings)

    assert stored(job.settings, ["u1"]) == [expected([good])["u1"]]
    reasons = sorted(error.fields["reason"] for error in job.errors())
    assert reasons == ["not_wire_format", "not_wire_format", "undecodable"]


def test_what_a_shadow_recommends_is_not_shown(embedded: MakeJob) -> None:
    job = embedded()
    job.send_clicks([{"user_id": "u1"}])
    job.run()
    (shown,) = job.recommendations()
    schema = fastavro.parse_schema(json.loads(RECOMMENDATIONS.schema))
    out = io.BytesIO()
    later = shown.fields | {"mode": "shadow", "source_offset": 9, "item_id": "other"}
    fastavro.schemaless_writer(out, schema, later)
    assert shown.record.value is not None
    with closing(job.log.writer()) as writer:
        value = shown.record.value[:5] + out.getvalue()
        writer.write_columns(shown.record.topic, 0, [b"u1"], [value])

    run_store(job.settings)

    assert stored(job.settings, ["u1"]) == [expected([shown])["u1"]]


def test_a_folder_is_refused_where_processes_run_on_several_machines(
    embedded: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = embedded()
    monkeypatch.setenv("BYTEWAX_ADDRESSES", "one:2101;two:2101")

    with pytest.raises(StartError, match=r"expected STREAMREC_STORE=redis://\.\.\. where its"):
        build_flow(open_job_with(FLOW_ID, job.settings))
