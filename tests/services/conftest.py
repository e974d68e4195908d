"""A real Redis or Valkey of the tests' own, where one is installed."""

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streamrec.connectors.local.free_ports import free_ports
from streamrec.services.store.contract import StoreError
from streamrec.services.store.redis_server import client_of, told
from tests.dataflows.conftest import job_settings as job_settings

PATIENCE_S = 30.0


class RedisServer:
    """A server that a test may stop and start again. What it has said is in its folder."""

    def __init__(self, program: str, folder: Path) -> None:
        (self.port,) = free_ports(1)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.socket_url = f"unix://{folder}/socket?db=0"
        self._command = [
            *(program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""),
            *("--unixsocket", str(folder / "socket")),
            *("--appendonly", "yes", "--appendfsync", "always", "--dir", str(folder)),
        ]
        self._log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        client = client_of(self.url, "server")
        give_up_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                with told("server"):
                    client.ping()
                break
            except StoreError:
                assert self._process.poll() is None, self._log.read_text()
                assert time.monotonic() < give_up_s, self._log.read_text()
                time.sleep(0.02)
        client.close()

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(PATIENCE_S)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """It takes connections, and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def flush(self) -> None:
        client = client_of(self.url, "server")
        client.flushall()
        client.close()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Started once for the tests of a process."""
    program = shutil.which("valkey-server") or shutil.which("redis-server")
    if program is None:
        pytest.skip("needs redis-server or valkey-server, and neither is installed")
    server = RedisServer(program, tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()
