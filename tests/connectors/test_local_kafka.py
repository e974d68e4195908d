"""The broker of our own: its processes end with whoever started them."""

import fcntl
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from streamrec.connectors.local.guarded_process import GuardedProcess
from streamrec.connectors.local.jars import LocalKafkaError, _lock, cache_folder
from streamrec.connectors.local.kafka import LocalKafka

_SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]


def _await(condition: Callable[[], bool], patience_s: float = 15.0) -> None:
    give_up = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.05)


def _members(group: int) -> list[int]:
    found = []
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,pgid=,stat="], capture_output=True, text=True, check=True
    )
    for line in listed.stdout.splitlines():
        pid, pgid, state = line.split()
        if int(pgid) == group and not state.startswith("Z"):
            found.append(int(pid))
    return found


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_guarded_process_and_its_guard_end_together(tmp_path: Path, how: str) -> None:
    log = tmp_path / "log"
    process = GuardedProcess(_SLEEPER, log)
    _await(lambda: b"up" in log.read_bytes())
    assert len(_members(process.pid)) == 2
    getattr(process, how)()
    _await(lambda: not _members(process.pid))
    assert not process.running()
    process.kill()  # once more is harmless


def test_a_guarded_process_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    code = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from streamrec.connectors.local.guarded_process import GuardedProcess
        process = GuardedProcess(sys.argv[2:], Path(sys.argv[1]))
        print(process.pid, flush=True)
        time.sleep(600)
        """
    )
    log = tmp_path / "log"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(log), *_SLEEPER], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        group = int(parent.stdout.readline())
        _await(lambda: log.exists() and b"up" in log.read_bytes())
        assert len(_members(group)) == 2
        parent.send_signal(signal.SIGKILL)
    _await(lambda: not _members(group))


def test_a_second_first_run_waits_for_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamrec.connectors.local.jars.cache_folder", lambda: tmp_path)
    said: list[str] = []
    entered = threading.Event()

    def second() -> None:
        with _lock("kafka", said.append):
            entered.set()

    with (tmp_path / "kafka.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        thread = threading.Thread(target=second)
        thread.start()
        _await(lambda: said == ["waiting for another process that is fetching the kafka"])
        assert not entered.is_set()
    thread.join(10)
    assert entered.is_set()


def test_the_cache_is_the_users_own() -> None:
    assert cache_folder().name == "streamrec"


@pytest.mark.kafka
def test_a_broker_that_cannot_start_shows_the_end_of_its_log(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if request.config.getoption("--kafka") != "local":
        pytest.skip("starts a broker, and --kafka is not 'local'")
    kafka = LocalKafka(tmp_path, lambda text: None, with_registry=False)
    kafka._format()
    properties = tmp_path / "server.properties"
    properties.write_text(properties.read_text().replace("node.id=1", "node.id=nosuch"))
    try:
        with pytest.raises(LocalKafkaError, match=r"(?s)the end of its log:.*nosuch"):
            kafka.start_broker()
    finally:
        kafka.close()
