"""Two processes that answer with a published model: killed in mid-swap, rolled back, in time."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamrec.dataflows.engine.supervisor import Cluster, ClusterOptions
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.learning.publishing import By, Publisher
from tests.dataflows.serving.swaps import ENTRY, Swaps, make_swaps

__all__ = ["make_swaps"]

pytestmark = [pytest.mark.timeout(400), pytest.mark.slow]
SEEN_WITHIN_S = 5.0


@pytest.fixture
def cluster(make_swaps: Callable[..., Swaps], tmp_path: Path) -> Iterator[tuple[Swaps, Cluster]]:
    swaps = make_swaps()
    settings: Settings = swaps.bench.settings
    topics = {
        f"STREAMREC_{name.upper()}": getattr(settings, name)
        for name in Settings.model_fields
        if name.endswith("_topic")
    }
    environment = {
        **os.environ,
        **topics,
        "EMBEDDED_LOG_PATH": str(settings.embedded_log_path),
        "STREAMREC_CONSUMER_GROUP": settings.consumer_group,
        "STREAMREC_MODELS": str(swaps.bench.recovery.with_name("served.toml")),
        "STREAMREC_LANES": "4",
        "STREAMREC_SHARDS": "4",
        "STREAMREC_METRICS_ADDRESS": "off",
    }
    del environment["BYTEWAX_RECOVERY_DIRECTORY"]
    flags = ["-r", str(tmp_path / "state"), "-s", "1", "-b", "0"]
    options = ClusterOptions(
        "streamrec.dataflows.scorer", flags, 2, environment=environment, logs=tmp_path
    )
    made = Cluster(options)
    yield swaps, made
    made.end(0.0)


def test_two_processes_swap_are_killed_in_mid_swap_and_roll_back_in_time(
    cluster: tuple[Swaps, Cluster],
) -> None:
    swaps, running = cluster
    answers = {swaps.constant(1.0): 1.0}
    swaps.bench.settings_of(ENTRY)
    swaps.send(40)
    running.start()
    swaps.until(lambda: len(swaps.answered()) == 40, 120.0)
    for number in (2.0, 3.0):
        version = swaps.constant(number)
        answers[version] = number
        # What is told of the first partition may be durable, and of the others nothing.
        while not any(each.version == version for each in swaps.events("began")):
            swaps.send(4)
            time.sleep(0.02)
        for process in running.processes:
            process.kill()
        swaps.send(20)
        running.start()
        swaps.until(lambda: len(swaps.answered()) == swaps.sent, 120.0)
        swaps.check(answers)
    with Publisher(swaps.log, swaps.topics) as publisher:
        back = publisher.rollback("m", By("me"))
    began_s, before = time.monotonic(), set(swaps.answered())
    by: dict[int, str] = {}
    while set(by) != {0, 1, 2, 3} or set(by.values()) != {back}:
        swaps.send(8)
        time.sleep(0.05)
        for (partition, offset), (_, version) in sorted(swaps.answered().items()):
            if (partition, offset) not in before:
                by[partition] = version
        assert time.monotonic() < began_s + SEEN_WITHIN_S, by
    swaps.until(lambda: len(swaps.answered()) == swaps.sent)
    assert running.stop()
    swaps.check(answers)
    assert {each.partition for each in swaps.events("ended")} == {0, 1, 2, 3}
