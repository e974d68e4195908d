"""How far a dataflow is behind, and that nobody waits long for a log that does not answer."""

import time
from contextlib import closing
from pathlib import Path

from streamrec.connectors.backend import open_log
from streamrec.connectors.local.free_ports import free_ports
from streamrec.connectors.log import Log, Outgoing, TopicSpec
from streamrec.connectors.log_settings import LogSettings
from streamrec.connectors.patience import Patience
from streamrec.dataflows.job.lag import LagWatch


def test_lag_is_what_stands_behind_the_positions_of_each_reader(log: Log, topic_name: str) -> None:
    with closing(log.admin()) as admin, closing(log.writer()) as writer:
        admin.create(TopicSpec(topic_name, partitions=2))
        writer.write(topic_name, [Outgoing(None, b"", partition=p) for p in (0, 0, 0, 1)])
        writer.flush(10.0)
    positions = {(topic_name, "iris"): {0: 1, 1: 1}, (topic_name, ""): {0: 3}}
    watch = LagWatch(lambda: log, lambda: positions)

    found = watch.look(wait_s=20.0)

    assert found.answers is True
    assert found.records == {(topic_name, "iris"): 2, (topic_name, ""): 0}


def test_log_that_is_away_is_told_and_holds_up_nobody(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    settings = LogSettings(
        kafka_bootstrap_servers=f"127.0.0.1:{port}",
        embedded_log_path=tmp_path / "unused",
        schema_registry_url="http://127.0.0.1:1",
    )
    away = open_log(settings, Patience(0.5))
    watch = LagWatch(lambda: away, lambda: {("clicks", ""): {0: 7}})

    begun_s = time.monotonic()
    assert watch.look(wait_s=0.1).answers is None  # not known yet
    assert time.monotonic() - begun_s < 2.0
    assert watch.look(wait_s=30.0).answers is False
    begun_s = time.monotonic()
    assert watch.look().records == {}
    assert time.monotonic() - begun_s < 0.5
