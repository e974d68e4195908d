"""The server as a process: signals, addresses, and the end in good order."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

import pytest

from streamrec.services.http.server import AddressError, hold_address, serve
from tests.services.http.tiny_app import tiny_app

PROGRAM = """
from streamrec.services.http.server import serve
from tests.services.http.tiny_app import tiny_app
serve(tiny_app, "127.0.0.1", 0, drain_s=%s, listening=lambda url: print(url, flush=True))
"""
HEAD = b"POST /count HTTP/1.1\r\nhost: x\r\n"


@contextmanager
def running(drain_s: float) -> Iterator[tuple[subprocess.Popen[str], tuple[str, int]]]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM % drain_s], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    url = urlsplit(process.stdout.readline())
    try:
        yield process, (url.hostname or "", url.port or 0)
    finally:
        process.kill()
        process.wait(20)
        process.stdout.close()


def asked(address: tuple[str, int], path: bytes) -> bytes:
    with closing(socket.create_connection(address, timeout=5)) as sock:
        sock.sendall(b"GET %s HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n" % path)
        return b"".join(iter(lambda: sock.recv(65_536), b""))


def test_a_server_that_is_asked_to_stop_drains_and_leaves_with_status_0() -> None:
    with running(drain_s=0.5) as (process, address):
        with closing(socket.create_connection(address, timeout=20)) as under_way:
            under_way.sendall(HEAD + b"content-length: 4\r\n\r\n12")
            assert b" 200 " in asked(address, b"/health/ready")  # so the one before was taken
            process.send_signal(signal.SIGTERM)
            while b" 503 " not in (said := asked(address, b"/health/ready")):
                pass
            assert b"not ready: draining" in said and b"connection: close" in said
            assert b" 200 " in asked(address, b"/things/a")  # still served
            under_way.sendall(b"34")
            assert b" 200 " in under_way.recv(65_536)
        assert process.wait(20) == 0


def test_a_second_signal_ends_it_at_once() -> None:
    with running(drain_s=60.0) as (process, address):
        process.send_signal(signal.SIGTERM)
        while b" 503 " not in asked(address, b"/health/ready"):
            pass
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 128 + signal.SIGTERM


def test_an_address_that_is_taken_is_refused() -> None:
    with closing(hold_address("127.0.0.1", 0)) as held:
        held.listen()
        port = held.getsockname()[1]
        with pytest.raises(AddressError, match=f"127.0.0.1:{port} expected to be free"):
            serve(tiny_app, "127.0.0.1", port)
    with pytest.raises(AddressError, match=r"203\.0\.113\.1:0 expected to be .* this machine's"):
        hold_address("203.0.113.1", 0)
