"""Outputs of any format, written once, for a list of names that changes from start to start."""

import gc
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from streamrec.connectors.backend import open_log
from streamrec.connectors.log import Log
from streamrec.dataflows.errors.redrive import Redriver, read_errors
from streamrec.dataflows.job.settings import Settings
from tests.dataflows.named_models import Named, answered, make_topics, outputs, places, run, send

SettingsFor = Callable[..., Settings]


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def where(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Settings that name the back end."""
    if request.param == "embedded":
        return {}
    found = request.getfixturevalue("kafka_settings")
    request.getfixturevalue("kafka_log")  # deletes the topics at the end of the run
    return {
        "kafka_bootstrap_servers": found.kafka_bootstrap_servers,
        "kafka_options": found.kafka_options,
        "schema_registry_url": found.schema_registry_url,
    }


@pytest.fixture
def recovery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return tmp_path / "recovery"


@pytest.fixture
def settings(
    job_settings: SettingsFor,
    where: dict[str, Any],
    recovery: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Settings:
    monkeypatch.setenv("BYTEWAX_RECOVERY_DIRECTORY", str(recovery))
    return job_settings(lanes=2, shards=2, batch_messages=10, **where)


@pytest.fixture(params=["read_back", pytest.param("transactions", marks=pytest.mark.kafka)])
def delivery(request: pytest.FixtureRequest, where: dict[str, Any]) -> str:
    if request.param == "transactions" and not where:
        pytest.skip("the embedded log has no transactions")
    return str(request.param)


@pytest.fixture
def opened(settings: Settings) -> Log:
    return open_log(settings)


def test_json_that_headers_tell_is_written_once_over_a_kill(
    opened: Log, settings: Settings, recovery: Path, topic_name: str, delivery: str
) -> None:
    """Killed with outputs on the log that no snapshot knows: before the first one, and after."""
    settings = settings.model_copy(update={"delivery": delivery})
    model = Named(topic_name)
    make_topics(opened, model)
    sent = [{"n": n} for n in range(60)]
    send(opened, model, sent)
    run(opened, settings, recovery, [model], break_after=20)
    first = len(outputs(opened, model))
    assert 0 < first < 60 or (first == 0 and delivery == "transactions")
    run(opened, settings, recovery, [model])
    assert answered(opened, model) == places(model, 60)

    send(opened, model, sent)
    run(opened, settings, recovery, [model], break_after=30)
    assert 60 < len(outputs(opened, model)) < 120 or delivery == "transactions"
    run(opened, settings, recovery, [model])

    assert answered(opened, model) == places(model, 120)
    for record in outputs(opened, model):
        assert record.value is not None
        n = json.loads(record.value)["of"]["n"]
        assert record.key == (None if n % 5 == 4 else f"k{n}".encode())
        assert dict(record.headers)["trace"] == f"t{n}".encode()
        assert record.timestamp_ms == 1_700_000_000_000 + n


def test_errors_of_one_name_are_redriven_once_and_stay_apart(
    opened: Log, settings: Settings, recovery: Path, topic_name: str
) -> None:
    one, other = Named(f"{topic_name}.1.0"), Named(f"{topic_name}.1.1")
    make_topics(opened, one, other)
    send(opened, one, ["fail", "good", "fail"])
    send(opened, other, ["fail"])
    run(opened, settings, recovery, [one, other])
    held = one.errors.name
    failed = list(read_errors(opened, held))
    assert sorted(str(each.origin) for each in failed) == [
        f"{one.inputs.name}/0/0",
        f"{one.inputs.name}/0/1",
    ]
    assert len(list(read_errors(opened, other.errors.name))) == 1

    assert Redriver(opened, held).redrive(failed).redriven == 2
    assert Redriver(opened, held).redrive(failed).redriven == 0

    run(opened, settings, recovery, [one, other])
    assert [each.attempts for each in read_errors(opened, held)].count(1) == 2
    assert answered(opened, one) == [f"{one.inputs.name}/1/0".encode()]


def test_names_are_added_removed_and_reordered_and_each_goes_on_where_it_was(
    opened: Log, settings: Settings, recovery: Path, topic_name: str, delivery: str
) -> None:
    a, b, c = (Named(f"{topic_name}.{name}.1.0") for name in "abc")
    settings = settings.model_copy(update={"delivery": delivery})
    make_topics(opened, a, b, c)
    many = timedelta(0)  # an epoch for each batch
    for model in (a, b, c):
        send(opened, model, list(range(40)))
    run(opened, settings, recovery, [a, b], epoch=many)
    run(opened, settings, recovery, [c, a], epoch=many)
    for model in (a, b, c):
        send(opened, model, list(range(40, 80)))
    # Killed with `b` back: its place is older than the others'.
    run(opened, settings, recovery, [b, c, a], break_after=30, epoch=timedelta(seconds=30))
    run(opened, settings, recovery, [a, c], break_after=10, epoch=many)
    run(opened, settings, recovery, [a, c], epoch=many)
    run(opened, settings, recovery, [c, b, a], epoch=many)
    for model in (a, b, c):
        assert answered(opened, model) == places(model, 80)


def test_two_workers_share_the_lanes_of_all_names(
    opened: Log, settings: Settings, recovery: Path, topic_name: str, delivery: str
) -> None:
    """In transactions a lane of all topics must be one worker's."""
    settings = settings.model_copy(update={"delivery": delivery})
    models = [Named(f"{topic_name}.{n}") for n in range(3)]
    make_topics(opened, *models)
    for workers in (2, 1):
        for model in models:
            send(opened, model, list(range(20)))
        run(opened, settings, recovery, models, epoch=timedelta(0), workers=workers)
    for model in models:
        assert answered(opened, model) == places(model, 40)


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.parametrize("where", ["kafka"], indirect=True)
def test_threads_and_connections_do_not_grow_with_the_number_of_names(
    opened: Log, settings: Settings, recovery: Path, topic_name: str
) -> None:
    models = [Named(f"{topic_name}.{n}") for n in range(10)]
    make_topics(opened, *models)
    found = []
    for count in (2, 10):
        for model in models[:count]:
            send(opened, model, list(range(20)))
        most = [0, 0]

        def look(most: list[int] = most) -> None:
            gc.collect()  # what sent the inputs has gone
            for index, number in enumerate((threads(), connections())):
                most[index] = max(most[index], number)

        run(opened, settings, recovery, models[:count], on_answer=look)
        found.append(most)
    assert found[1][0] <= found[0][0]
    assert found[1][1] <= found[0][1]


def threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def connections() -> int:
    found = 0
    for each in Path("/proc/self/fd").iterdir():
        try:
            found += "socket:" in str(each.readlink())
        except FileNotFoundError:  # that of the listing itself
            continue
    return found
