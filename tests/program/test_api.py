"""`streamrec api` as a program: it says where it is, answers, and ends in good order."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from streamrec.connectors.backend import open_log
from streamrec.dataflows.job.settings import load_settings
from streamrec.dataflows.job.topics import IMPRESSIONS, SESSIONS, make_all
from streamrec.program import app
from streamrec.services.store.folder import FolderStore
from streamrec.services.store.users import USERS

_PATIENCE_S = 60.0


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Of a log with the topics that the API reads, and an empty store."""
    for name in list(os.environ):
        if name.startswith(("STREAMREC_", "KAFKA_", "SCHEMA_REGISTRY_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("EMBEDDED_LOG_PATH", str(tmp_path / "log.sqlite"))
    monkeypatch.setenv("STREAMREC_STORE", str(tmp_path / "store"))
    settings = load_settings()
    topics = {settings.topic(topic): topic for topic in (SESSIONS, IMPRESSIONS)}
    make_all(open_log(settings), topics)
    FolderStore(tmp_path / "store", make=True).put(USERS, [])
    return dict(os.environ)


def test_it_says_where_it_is_answers_and_ends_when_asked(
    environment: dict[str, str], tmp_path: Path
) -> None:
    said = tmp_path / "said"
    with said.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "streamrec", "api", "--port", "0"],
            env=environment,
            stderr=output,
        )
    try:
        give_up_s = time.monotonic() + _PATIENCE_S
        while not (found := re.search(r"api listens on (\S+)", said.read_text())):
            assert process.poll() is None and time.monotonic() < give_up_s, said.read_text()
            time.sleep(0.05)
        with httpx.Client(base_url=found[1]) as client:
            while client.get("/health/ready").status_code != 200:
                assert time.monotonic() < give_up_s, said.read_text()
            answer = client.get("/recommendations/nobody").json()
        process.send_signal(signal.SIGTERM)
        status = process.wait(_PATIENCE_S)
    finally:
        process.kill()

    assert (answer["kind"], answer["items"]) == ("popular", [])
    assert status == 0, said.read_text()
    assert "Traceback" not in said.read_text()


def test_others_than_this_machine_want_keys(environment: dict[str, str]) -> None:
    done = CliRunner().invoke(app, ["api", "--host", "0.0.0.0"])

    assert done.exit_code == 2
    assert "expected this machine alone (127.0.0.1) without keys, got '0.0.0.0'" in done.output


def test_a_setting_that_names_no_store_is_told_in_one_line(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMREC_STORE", "postgres://me:secret@here")

    done = CliRunner().invoke(app, ["api", "--port", "0"])

    assert done.exit_code == 1
    (line,) = done.output.strip().splitlines()
    assert line == (
        "streamrec: STREAMREC_STORE expected a folder or redis://HOST:PORT/DB, "
        "got 'postgres://***@here'"
    )
