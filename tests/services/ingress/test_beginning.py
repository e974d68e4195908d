"""What ingress does before its first request, and what it tells where that does not succeed."""

import logging
from pathlib import Path

import pytest

from streamrec.connectors.embedded.log import EmbeddedLog
from streamrec.connectors.log import SchemaRegistry
from streamrec.dataflows.job.topics import CLICKS
from streamrec.services.ingress.event_ids import EventIds
from tests.connectors.log_reading import wait_until
from tests.services.ingress.serving import CLICK, ingress


class OddLog(EmbeddedLog):
    """Raises what nobody thought of, a few times."""

    failures = 3

    def registry(self) -> SchemaRegistry:
        self.failures -= 1
        if self.failures >= 0:
            raise RuntimeError("nobody thought of it")
        return super().registry()


def test_what_was_not_expected_is_logged_once_and_tried_again(
    embedded_log: EmbeddedLog,
    topic_name: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streamrec.services.ingress.app._AGAIN_S", 0.01)
    with ingress(embedded_log, topic_name):
        pass  # its topics are there now
    with ingress(OddLog(tmp_path / "log.sqlite"), topic_name, made=False) as served:
        wait_until(lambda: served.client.get("/health/ready").status_code == 200)
    (told,) = (each for each in caplog.records if each.levelno == logging.ERROR)
    assert "nobody thought of it" in told.getMessage() and told.exc_info is not None


def test_ids_are_read_back_no_further_once_ingress_is_to_stop(
    embedded_log: EmbeddedLog, topic_name: str
) -> None:
    with ingress(embedded_log, topic_name) as served:
        served.client.post("/clicks", json={**CLICK, "event_id": "e1"})
        topics = [served.topic(CLICKS)]
    assert EventIds(600.0).read_back(embedded_log, topics) == 1
    assert EventIds(600.0).read_back(embedded_log, topics, lambda: True) == 0
