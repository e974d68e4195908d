"""The scorer on a log: nothing is skipped, and its list may change on the same saved state."""

import json
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from bytewax.errors import BytewaxRuntimeError

from streamrec.connectors.making_topics import ensure_topics
from streamrec.connectors.reading import read_all
from streamrec.dataflows.engine.stopping import Stopping
from streamrec.dataflows.engine.store import snapshots_before
from streamrec.dataflows.errors.redrive import Redriver
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.job.start_error import StartError
from streamrec.models.serving.split import split_of
from streamrec.schemas.columns import strings
from streamrec.schemas.json_codec import JsonEncoder
from tests.dataflows.serving.bench import ScorerBench

pytestmark = pytest.mark.timeout(120)

TWICE, NEWER, THRICE, ECHO, SLOW = (
    f'[[models]]\nmodel = "MODELS:{name}"\n'
    for name in ("Twice", "TwiceNewer", "Thrice", "echo", "Slow")
)
BOTH_LOGS = pytest.mark.parametrize("kafka", [False, pytest.param(True, marks=pytest.mark.kafka)])
Make = Callable[..., ScorerBench]


@pytest.fixture
def make_bench(
    request: pytest.FixtureRequest,
    job_settings: Callable[..., Settings],
    topic_name: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Make:
    def make(kafka: bool = False) -> ScorerBench:
        given = {}
        if kafka:
            found = request.getfixturevalue("kafka_settings")
            request.getfixturevalue("kafka_log")
            names = ("kafka_bootstrap_servers", "kafka_options", "schema_registry_url")
            given = {name: getattr(found, name) for name in names}
        recovery = tmp_path / "recovery"
        monkeypatch.setenv("BYTEWAX_RECOVERY_DIRECTORY", str(recovery))
        settings = job_settings(lanes=4, shards=4, **given)
        return ScorerBench(settings, topic_name[:60].rstrip("-"), recovery)

    return make


def until(done: Callable[[], bool]) -> None:
    give_up_s = time.monotonic() + 60.0
    while not done() and time.monotonic() < give_up_s:
        time.sleep(0.005)


@BOTH_LOGS
def test_a_list_that_changes_skips_nothing_and_repeats_nothing(
    make_bench: Make, kafka: bool
) -> None:
    bench = make_bench(kafka)
    bench.settings_of(TWICE, THRICE, ECHO)
    for name in ("twice", "thrice"):
        bench.send(name, [{"n": 1}, {"n": 2}, {}])
    bench.send("echo", [{"n": 1}])  # before its first start
    bench.run(TWICE, THRICE)
    assert bench.said("twice") == [{"twice": 2}, {"twice": 4}]
    assert bench.said("thrice") == [{"twice": 3}, {"twice": 6}]

    bench.send("twice", [{"n": 3}])
    bench.send("thrice", [{"n": 3}])
    bench.run(ECHO, THRICE)  # one removed, one added, one in another place
    assert bench.said("twice") == [{"twice": 2}, {"twice": 4}]
    assert bench.said("thrice") == [{"twice": 3}, {"twice": 6}, {"twice": 9}]
    assert bench.said("echo") == [{"got": {"n": 1}}]

    bench.settings_of(NEWER)
    bench.send("twice", [{"n": 5}], version="1.1")
    bench.run(NEWER, THRICE)  # a new minor version, with topics beside the old
    assert bench.said("twice", "1.1") == [{"twice": 10}]
    assert bench.said("twice") == [{"twice": 2}, {"twice": 4}]

    bench.run(THRICE, TWICE)  # back, and on where it was
    assert bench.said("twice") == [{"twice": 2}, {"twice": 4}, {"twice": 6}]
    assert len(bench.said("thrice")) == 3
    assert [len(bench.failed(name)) for name in ("twice", "thrice", "echo")] == [1, 1, 0]


@BOTH_LOGS
def test_models_that_take_one_topic_have_each_a_place_of_their_own(
    make_bench: Make, kafka: bool
) -> None:
    bench = make_bench(kafka)
    bench.settings_of(TWICE)
    shared = f'inputs = ["{bench.topic("twice", "inputs")}"]\n'
    bench.send("twice", [{"n": 1}, {"n": 2}])
    bench.run(TWICE, THRICE + shared)
    bench.send("twice", [{"n": 3}])
    bench.run(TWICE, ECHO + shared)  # which begins at the beginning
    assert bench.said("twice") == [{"twice": 2}, {"twice": 4}, {"twice": 6}]
    assert bench.said("thrice") == [{"twice": 3}, {"twice": 6}]
    assert bench.said("echo") == [{"got": {"n": n}} for n in (1, 2, 3)]
    bench.run(ECHO + shared, THRICE + shared)  # without the one whose topic it is
    assert bench.said("thrice") == [{"twice": 3}, {"twice": 6}, {"twice": 9}]
    assert len(bench.said("echo")) == 3
    named = f"{bench.settings.consumer_group}-scorer"
    with closing(bench.log.admin()) as admin:
        for group in (named, f"{named}-echo.1.0", f"{named}-thrice.1.0"):
            assert sum(admin.committed(group, bench.topic("twice", "inputs")).values()) == 3


@BOTH_LOGS
def test_saved_state_of_a_topic_that_was_made_anew_is_refused(
    make_bench: Make, kafka: bool
) -> None:
    """Its offsets are others', and the first records would pass for answered ones."""
    bench = make_bench(kafka)
    bench.settings_of(TWICE)
    bench.send("twice", [{"n": n} for n in range(3)])
    bench.run(TWICE)
    inputs = bench.topic("twice", "inputs")
    with closing(bench.log.admin()) as admin:
        admin.delete(inputs)
    bench.settings_of(TWICE)
    bench.send("twice", [{"n": n} for n in range(3)])
    with pytest.raises(BytewaxRuntimeError) as refused:
        bench.run(TWICE)
    told = str(refused.value.__cause__ or refused.value)
    assert f"topic {inputs!r} expected to be the one that the saved state knows" in told


@BOTH_LOGS
def test_json_and_avro_of_any_schema_are_read_under_a_registry(
    make_bench: Make, kafka: bool
) -> None:
    bench = make_bench(kafka)
    bench.settings_of(TWICE)
    inputs, another = bench.topic("twice", "inputs"), f"{bench.prefix}.another"
    schema = json.dumps(
        {"type": "record", "name": "Another", "fields": [{"name": "n", "type": "int"}]}
    )
    ensure_topics(bench.log, [], {another: schema})
    with closing(bench.log.registry()) as registry:
        ours, theirs = registry.latest(f"{inputs}-value"), registry.latest(f"{another}-value")
    by_ours = JsonEncoder(ours.schema, ours.id).encode({"n": 2.5, "do": None, "key": "k"})
    by_theirs = JsonEncoder(theirs.schema, theirs.id).encode({"n": 3})
    bench.send("twice", [{"n": 1}, by_ours, by_theirs, b"\0\0\0\0\0", {"n": 4}])
    bench.run(TWICE, unknown_schema="error")
    assert bench.said("twice") == [{"twice": 2}, {"twice": 5.0}, {"twice": 6}, {"twice": 8}]
    (error,) = bench.failed("twice")
    assert error.origin.offset == 3
    assert error.fields["reason"] in ("undecodable", "unknown_schema_id")


def test_a_schema_changed_under_the_same_version_is_refused_in_one_line(make_bench: Make) -> None:
    bench = make_bench()
    bench.run(TWICE.replace("\n", '\nname = "it"\n', 1))
    with pytest.raises(StartError) as refused:
        bench.run(ECHO.replace("\n", '\nname = "it"\n', 1))
    told = str(refused.value)
    assert "model 'it': version 1.0 expected the input and output schema with which" in told
    assert "\n" not in told


@BOTH_LOGS
def test_errors_of_a_model_are_redriven_from_its_own_topic(make_bench: Make, kafka: bool) -> None:
    bench = make_bench(kafka)
    named = '\nname = "it"\n'
    bench.run(TWICE.replace("\n", named, 1))
    bench.send("it", [{"n": 1, "do": "raise"}, {"n": 2}], headers=[("trace", b"\1")])
    bench.run(TWICE.replace("\n", named, 1))
    assert [error.fields["reason"] for error in bench.failed("it")] == ["model_failed"]

    errors = bench.topic("it", "errors")
    Redriver(bench.log, errors).redrive(bench.failed("it"))
    again = Redriver(bench.log, errors).redrive(bench.failed("it"))
    bench.run(THRICE.replace("\n", named, 1))  # which mends it

    assert sorted(said["twice"] for said in bench.said("it")) == [3, 4]
    assert all(headers["trace"] == b"\1" for _, headers in bench.headers("it"))
    assert len(bench.failed("it")) == 1
    assert again.redriven == 0


def test_a_time_out_before_a_crash_is_not_answered_after_it(make_bench: Make) -> None:
    bench = make_bench()
    hangs = '[[models]]\nmodel = "MODELS:Hangs"\nname = "it"\ntimeout_s = 0.5\n'
    breaks = '[[models]]\nmodel = "MODELS:breaks_off"\n'
    bench.settings_of(hangs, breaks)
    bench.send("it", [{"n": 1}, {"n": 2, "do": "hang"}, {"n": 3}])

    def break_off() -> None:
        until(lambda: len(bench.failed("it")) == 1 and len(bench.said("it")) == 2)
        bench.send("breaks_off", [{}])

    breaker = threading.Thread(target=break_off)
    breaker.start()
    with pytest.raises((KeyboardInterrupt, BytewaxRuntimeError)):
        bench.run(hangs, breaks, follow=True, epoch_s=60.0)
    breaker.join()
    assert [error.fields["reason"] for error in bench.failed("it")] == ["model_timeout"]
    before = bench.said("it")

    bench.run(TWICE.replace("\n", '\nname = "it"\n', 1))  # which would answer it
    assert bench.said("it") == before == [{"twice": 2}, {"twice": 6}]
    assert len(bench.failed("it")) == 1


@pytest.mark.parametrize("limits", ["", "timeout_s = 20\n"])
def test_a_model_of_a_second_a_record_holds_up_nothing(make_bench: Make, limits: str) -> None:
    bench = make_bench()
    slow = SLOW + limits
    bench.settings_of(TWICE, slow)
    bench.send("slow", [{"n": number} for number in range(8)])
    stopping, waits, stopped = Stopping(), list[float](), list[float]()

    def feed() -> None:
        until(lambda: len(bench.said("slow")) >= 1)
        for number in range(30):
            bench.send("twice", [{"n": number}])
            sent_s = time.monotonic()
            until(lambda count=number + 1: len(bench.said("twice")) >= count)  # type: ignore[misc]
            waits.append(time.monotonic() - sent_s)
        stopped.append(time.monotonic())
        stopping.ask("the test")

    feeder = threading.Thread(target=feed)
    feeder.start()
    bench.run(TWICE, slow, stopping=stopping, follow=True)
    stop_s = time.monotonic() - stopped[0]
    feeder.join()
    answered = len(bench.said("slow"))
    epochs = {each.epoch for each in snapshots_before(sorted(bench.recovery.glob("*.sqlite3")))}
    print(f"waits {sorted(waits)[-3:]}, stop {stop_s:.1f} s")  # noqa: T201  # where it fails
    assert answered < 8
    assert sorted(waits)[len(waits) // 2] < 0.5
    assert max(epochs) > 3
    assert stop_s < 5.0

    # The same under another model, which is quick.
    bench.run(TWICE, TWICE.replace("\n", '\nname = "slow"\n', 1))
    assert sorted(said["twice"] for said in bench.said("slow")) == [2 * n for n in range(8)]
    assert len(bench.said("twice")) == 30
    assert bench.failed("slow") == []


def test_a_replay_writes_into_topics_of_its_own_along_a_chain(
    make_bench: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench()
    chained = '[[models]]\nmodel = "MODELS:echo"\ninputs = ["model:twice"]\n'
    bench.settings_of(TWICE, chained)
    bench.send("twice", [{"n": 1}, {}])
    for _ in range(2):  # what the first has said is there when the second run begins
        bench.run(TWICE, chained)
    before = bench.said("twice"), bench.said("echo")
    assert before == ([{"twice": 2}], [{"got": {"twice": 2}}])

    bench.recovery = bench.recovery.with_name("replay")
    monkeypatch.setenv("BYTEWAX_RECOVERY_DIRECTORY", str(bench.recovery))
    for _ in range(2):
        bench.run(TWICE, chained, into="v2", consumer_group=f"{bench.prefix}-v2")

    assert (bench.said("twice"), bench.said("echo")) == before
    for name, value in (("twice", {"twice": 2}), ("echo", {"got": {"twice": 2}})):
        records = read_all(bench.log, f"{bench.topic(name, 'outputs')}-v2")
        assert [json.loads(record.value or b"") for record in records] == [value]
    assert len(list(read_all(bench.log, f"{bench.topic('twice', 'errors')}-v2"))) == 1


def test_a_key_stays_with_its_variant_over_restarts_and_rescaling(make_bench: Make) -> None:
    bench = make_bench()
    experiment = (
        '[[experiments]]\nname = "split"\nsalt = "s"\n'
        '[[experiments.variants]]\nname = "a"\nmodel = "MODELS:Twice"\nweight = 0.6\n'
        '[[experiments.variants]]\nname = "b"\nmodel = "MODELS:Thrice"\nweight = 0.4\n'
    )
    keys = [f"u{number}".encode() for number in range(60)]
    split = split_of("s", {"a": 0.6, "b": 0.4})
    wanted = {
        key: split.names[index].encode()
        for key, index in zip(keys, split.of_keys(strings(keys)).variants.tolist(), strict=True)
    }
    bench.settings_of(experiment)
    for workers in (1, 2, 3):
        bench.send("split", [{"n": 1}] * 60, keys)
        bench.run(experiment, workers=workers)
    found = [(key, headers["streamrec-variant"]) for key, headers in bench.headers("split")]
    assert sorted(found) == sorted((key, wanted[key]) for key in keys for _ in range(3))
    assert set(wanted.values()) == {b"a", b"b"}
