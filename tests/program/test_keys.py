"""`keys`: made, listed, revoked; a running ingress follows."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from streamrec.connectors.log_settings import LogSettings
from tests.connectors.log_reading import wait_until
from tests.program.conftest import Shell
from tests.services.ingress.processes import INGRESS, environment, started
from tests.services.ingress.serving import CLICK, job_settings


def test_a_key_is_printed_once_and_kept_as_its_hash(embedded_shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "keys.jsonl"
    made = embedded_shell(
        *("keys", "create", "shop", "--scope", "clicks", "--scope", "topics/*", "--days", "30"),
        STREAMREC_HTTP_KEYS_FILE=str(file),
    )
    assert made.status == 0, made.err
    (key,) = made.lines
    listed = embedded_shell("keys", "list", "--file", str(file)).out
    assert listed.startswith("shop\tclicks,topics/*\t")
    assert key not in listed and key not in file.read_text()
    assert embedded_shell("keys", "revoke", "shop", "--file", str(file)).status == 0
    assert embedded_shell("keys", "list", "--file", str(file)).out == ""


@pytest.mark.parametrize(
    ("arguments", "status", "expected"),
    [
        (("create", "shop", "--scope", "clicks"), 2, "expected a file"),
        (("create", "a b", "--scope", "clicks", "--file", "k"), 1, "name expected letters"),
        (("create", "shop", "--scope", "../x", "--file", "k"), 1, "scope expected a name"),
        (("create", "shop", "--scope", "clicks", "--days", "inf", "--file", "k"), 2, "--days"),
        (("revoke", "nobody", "--file", "k"), 1, "none yet"),
    ],
)
def test_what_cannot_be_done_is_told(
    embedded_shell: Shell,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: tuple[str, ...],
    status: int,
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = embedded_shell("keys", *arguments)
    assert answer.status == status
    assert expected in answer.err
    assert "Traceback" not in answer.err


def test_a_scope_that_no_route_asks_for_is_noted(embedded_shell: Shell, tmp_path: Path) -> None:
    scopes = ("--scope", "clikcs", "--scope", "topics/a")
    made = embedded_shell("keys", "create", "shop", *scopes, "--file", str(tmp_path / "k"))
    assert made.status == 0
    assert made.err.count("no route asks for") == 1 and "'clikcs'" in made.err


def test_a_running_ingress_follows_the_keys_and_the_main_job_reads_what_it_wrote(
    embedded_shell: Shell, tmp_path: Path
) -> None:
    """One process of each, since each takes seconds to start."""
    file = tmp_path / "keys.jsonl"
    log = LogSettings(embedded_log_path=tmp_path / "log.sqlite", kafka_options={})
    environ = environment(log, job_settings("keyed"), STREAMREC_HTTP_KEYS_FILE=str(file))
    assert embedded_shell("topics", "create", **environ).status == 0
    key = embedded_shell("keys", "create", "shop", "--scope", "clicks", "--file", str(file)).lines[
        0
    ]
    clicks = [{**CLICK, "user_id": f"u{n % 5}", "item_id": f"i{n % 7}"} for n in range(40)]
    with started(environ) as running:

        def send() -> httpx.Response:
            return running.client.post("/clicks", json=clicks, headers={"x-api-key": key})

        assert send().status_code == 200
        embedded_shell("keys", "revoke", "shop", "--file", str(file))
        wait_until(lambda: send().status_code == 401)
    sent = len(embedded_shell("receive", environ["STREAMREC_CLICKS_TOPIC"], **environ).lines)
    run_main_job({**environ, "STREAMREC_FOLLOW": "false"})
    made = embedded_shell("receive", environ["STREAMREC_RECOMMENDATIONS_TOPIC"], **environ).lines
    assert len(made) == sent and sent % len(clicks) == 0
    assert embedded_shell("errors", "list", **environ).out == ""


def run_main_job(environ: dict[str, str]) -> None:
    command = [sys.executable, "-m", "bytewax.run", "streamrec.dataflows.recommender"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


def test_several_processes_serve_one_address_and_one_that_dies_is_brought_back(
    embedded_shell: Shell, tmp_path: Path
) -> None:
    log = LogSettings(embedded_log_path=tmp_path / "log.sqlite", kafka_options={})
    environ = environment(log, job_settings("several"))
    assert embedded_shell("topics", "create", **environ).status == 0
    with started(environ, (*INGRESS, "--workers", "2"), ready=False) as running:
        url, parent = str(running.client.base_url), running.process.pid

        def asked() -> int:
            try:
                return httpx.post(
                    f"{url}/clicks", json=CLICK
                ).status_code  # a connection of its own
            except httpx.TransportError:
                return 0

        def workers() -> set[int]:
            found = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
            return {int(each) for each in found}

        wait_until(lambda: [asked() for _ in range(8)] == [200] * 8)
        before = workers()
        assert len(before) == 2
        os.kill(min(before), signal.SIGKILL)
        wait_until(lambda: len(workers() - before) == 1)
        wait_until(lambda: [asked() for _ in range(8)] == [200] * 8)
        running.process.terminate()
        assert running.process.wait(20) == 0
    sent = len(embedded_shell("receive", environ["STREAMREC_CLICKS_TOPIC"], **environ).lines)
    assert sent >= 16


def test_an_ingress_that_others_reach_does_not_start_without_keys(embedded_shell: Shell) -> None:
    answer = embedded_shell("ingress", "--host", "0.0.0.0", "--port", "0")
    assert answer.status == 2
    assert "streamrec keys create" in answer.err and "Traceback" not in answer.err
