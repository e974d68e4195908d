"""The scorer with a published model: who answers is who the topic says, from where it says."""

import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from streamrec.connectors.log import Outgoing
from streamrec.connectors.reading import read_all
from streamrec.dataflows.job.start_error import StartError
from streamrec.dataflows.learning.publishing import By, Publisher
from streamrec.models.learning.archives import pack, pack_folder
from tests.dataflows.learning.trained_models import choosy, constant, slow
from tests.dataflows.serving.swaps import ENTRY, Swaps, make_swaps

__all__ = ["make_swaps"]

pytestmark = pytest.mark.timeout(120)

BOTH_LOGS = pytest.mark.parametrize("kafka", [False, pytest.param(True, marks=pytest.mark.kafka)])


@BOTH_LOGS
def test_answers_change_with_the_version_and_each_input_has_that_of_its_offset(
    make_swaps: Callable[..., Swaps], kafka: bool
) -> None:
    swaps = make_swaps(kafka)
    one = swaps.constant(1.0)
    swaps.bench.settings_of(ENTRY)
    swaps.send(20)
    with swaps.running():
        swaps.until(lambda: len(swaps.answered()) == 20)
        two = swaps.constant(2.0)
        swaps.until(lambda: swaps.events("loaded"))
        swaps.send(20)
        swaps.until(lambda: len(swaps.answered()) == 40)
        with Publisher(swaps.log, swaps.topics) as publisher:
            publisher.rollback("m", By("me"))
        time.sleep(0.5)
        swaps.send(20)
        swaps.until(lambda: len(swaps.answered()) == 60)
    counts = swaps.check({one: 1.0, two: 2.0})
    assert counts == {one: 40, two: 20}


def test_runs_to_the_end_take_up_what_was_published_between_them(
    make_swaps: Callable[..., Swaps],
) -> None:
    swaps = make_swaps()
    answers = {}
    for number in (1.0, 2.0, 2.0, 3.0):
        answers[swaps.constant(number)] = number
        swaps.bench.settings_of(ENTRY)
        swaps.send(12)
        swaps.bench.run(ENTRY, workers=2)
    assert sorted(swaps.check(answers).values()) == [12, 12, 24]


def test_a_replay_beside_has_the_same_versions_and_tells_nothing(
    make_swaps: Callable[..., Swaps], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swaps = make_swaps()
    for number in (1.0, 2.0, 1.0):  # its batches have all of them
        swaps.constant(number)
        swaps.bench.settings_of(ENTRY)
        swaps.send(12)
        swaps.bench.run(ENTRY)
    swaps.constant(3.0)  # that answers nothing yet
    before = len(swaps.events("began", "ended", "loaded", "refused"))
    monkeypatch.setenv("BYTEWAX_RECOVERY_DIRECTORY", str(tmp_path / "replay"))
    swaps.bench.recovery = tmp_path / "replay"
    group = f"{swaps.bench.settings.consumer_group}-again"
    swaps.bench.run(ENTRY, into="again", consumer_group=group)
    assert swaps.answered("outputs-again") == swaps.answered()
    assert len(swaps.events("began", "ended", "loaded", "refused")) == before


Breaks = Callable[[Swaps, Path], str]


def _corrupt(swaps: Swaps, folder: Path) -> str:
    version = swaps.publish(constant(folder, 2.0), promote=None)
    with closing(swaps.log.writer()) as writer:
        (part,) = (
            record
            for record in read_all(swaps.log, swaps.topics.models)
            if record.key == f"m/{version}/0".encode()
        )
        value = (part.value or b"").replace(b"m.skops", b"m.sk0ps")
        assert value != part.value
        writer.write(swaps.topics.models, [Outgoing(part.key, value, partition=0)])
    with Publisher(swaps.log, swaps.topics) as publisher:
        publisher.promote("m", version)
    return version


def _garbage(swaps: Swaps, folder: Path) -> str:
    archive = pack(
        {"m.skops": b"garbage", "m.toml": (constant(folder, 2.0) / "m.toml").read_bytes()}
    )
    with Publisher(swaps.log, swaps.topics) as publisher:
        return publisher.publish("m", archive)


def _self_test(swaps: Swaps, folder: Path) -> str:
    about = {"self_test": [{"x": 1.0}, {"x": "no number"}]}
    archive = pack_folder(constant(folder, 2.0), about)
    with Publisher(swaps.log, swaps.topics) as publisher:
        return publisher.publish("m", archive)


@pytest.mark.parametrize(
    ("reason", "said", "publish"),
    [
        ("bad_digest", "expected SHA-256", _corrupt),
        ("cannot_load", "expected a skops file", _garbage),
        (
            "wrong_inputs",
            "inputs: properties.x expected",
            lambda swaps, folder: swaps.publish(constant(folder, 2.0, field="y")),
        ),
        ("self_test_failed", "self_test of its about.json: $.x expected a number", _self_test),
        ("too_slow", "(5 times the present one), took", lambda s, f: s.publish(slow(f, 2.0))),
    ],
)
def test_a_version_that_will_not_do_is_refused_and_the_old_one_goes_on(
    make_swaps: Callable[..., Swaps], tmp_path: Path, reason: str, said: str, publish: Breaks
) -> None:
    swaps = make_swaps()
    one = swaps.constant(1.0)
    swaps.bench.settings_of(ENTRY)
    swaps.send(8)
    with swaps.running():
        swaps.until(lambda: len(swaps.answered()) == 8)
        bad = publish(swaps, tmp_path / "bad")
        swaps.until(lambda: swaps.events("refused"))
        swaps.send(8)
        swaps.until(lambda: len(swaps.answered()) == 16)
        three = swaps.constant(3.0)
        swaps.until(lambda: swaps.events("loaded"))
        swaps.send(8)
        swaps.until(lambda: len(swaps.answered()) == 24)
    assert swaps.check({one: 1.0, three: 3.0}) == {one: 16, three: 8}
    (refused,) = swaps.events("refused")
    assert (refused.version, refused.reason, refused.pipeline) == (bad, reason, "m")
    assert said in refused.message


def test_one_that_throws_on_live_records_is_taken_back_and_not_tried_again(
    make_swaps: Callable[..., Swaps], tmp_path: Path
) -> None:
    swaps = make_swaps()

    def all_are_told() -> bool:
        return len(swaps.bench.failed("m")) + len(swaps.answered()) == swaps.sent

    one = swaps.publish(choosy(tmp_path / "one", 1.0, ("a", "b")))
    swaps.bench.settings_of(ENTRY)
    swaps.send(8, "a")
    with swaps.running():
        swaps.until(lambda: len(swaps.answered()) == 8)
        bad = swaps.publish(choosy(tmp_path / "two", 2.0, ("a", "c")))
        swaps.until(lambda: swaps.events("loaded"))
        swaps.send(200, "a")
        swaps.until(lambda: len(swaps.answered()) == 208)
        assert swaps.events("taken_back") == []
        swaps.send(100, "b")
        swaps.until(lambda: swaps.events("taken_back"))
        swaps.until(all_are_told)
        swaps.send(40, "b")
        swaps.until(all_are_told)
    with swaps.running():  # a start knows it too
        failed = len(swaps.bench.failed("m"))
        swaps.send(4, "b")
        swaps.until(all_are_told)
    assert 50 <= failed <= 100
    assert len(swaps.bench.failed("m")) == failed
    told_back = swaps.events("taken_back")
    (told,) = (each for each in told_back if each.partition is None)
    of_partitions = [each for each in told_back if each is not told]
    assert (told.version, told.reason, told.previous) == (bad, "model_failed", one)
    assert "of the last inputs" in told.message
    assert {each.partition for each in of_partitions} <= {0, 1, 2, 3}
    assert [each.version for each in swaps.events("began")].count(bad) == 4


def test_without_a_version_the_start_says_how_to_publish_one(
    make_swaps: Callable[..., Swaps],
) -> None:
    swaps = make_swaps()
    with pytest.raises(StartError, match=r"expected a version of 'm' on topic .* publish m PATH"):
        swaps.bench.settings_of(ENTRY)
    swaps.publish(constant(swaps.folder / "one", 1.0), promote=None)
    with pytest.raises(StartError, match="expected a champion of 'm' on topic"):
        swaps.bench.settings_of(ENTRY)


def test_an_experiment_takes_no_published_model(make_swaps: Callable[..., Swaps]) -> None:
    swaps = make_swaps()
    entry = (
        '[[experiments]]\nname = "e"\nvariants = [{name = "a", model = "published:m"}, '
        '{name = "b", model = "MODELS:Twice"}]\n'
    )
    with pytest.raises(StartError, match=r"variants\[0\].model expected a model that stays"):
        swaps.bench.settings_of(entry)


@pytest.mark.slow
def test_a_model_in_a_process_of_its_own_is_swapped_too(
    make_swaps: Callable[..., Swaps],
) -> None:
    swaps = make_swaps()
    entry = f"{ENTRY}timeout_s = 5\n"
    one = swaps.constant(1.0)
    swaps.bench.settings_of(entry)
    swaps.send(8)
    with swaps.running(entry):
        swaps.until(lambda: len(swaps.answered()) == 8)
        two = swaps.constant(2.0)
        swaps.until(lambda: swaps.events("loaded"))
        swaps.send(8)
        swaps.until(lambda: len(swaps.answered()) == 16)
    assert swaps.check({one: 1.0, two: 2.0}) == {one: 8, two: 8}


@pytest.mark.slow
def test_twenty_swaps_under_a_thousand_inputs_a_second_miss_and_repeat_nothing(
    make_swaps: Callable[..., Swaps],
) -> None:
    swaps = make_swaps()
    folders = [constant(swaps.folder / f"constant-{n}", float(n)) for n in range(21)]
    archives = [pack_folder(folder) for folder in folders]
    answers = {archive.version: float(n) for n, archive in enumerate(archives)}
    stop = threading.Event()

    def began(version: str) -> bool:
        return any(each.version == version for each in swaps.events("began"))

    def feed() -> None:
        begun, rounds = time.monotonic(), 0
        while not stop.is_set():
            swaps.send(100)
            rounds += 1
            time.sleep(max(0.0, begun + rounds * 0.1 - time.monotonic()))

    with Publisher(swaps.log, swaps.topics) as publisher:
        publisher.publish("m", archives[0])
        swaps.bench.settings_of(ENTRY)
        feeding = threading.Thread(target=feed)
        with swaps.running(workers=2):
            feeding.start()
            for archive in archives:
                publisher.publish("m", archive)
                swaps.until(partial(began, archive.version))
            stop.set()
            feeding.join()
            swaps.until(lambda: len(swaps.answered()) == swaps.sent)
    assert set(swaps.check(answers)) == set(answers)
