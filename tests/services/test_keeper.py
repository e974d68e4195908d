"""Parts that run together: one that dies comes back, and all end in good order."""

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from streamrec.services.together.keeper import Keeper, PartsError
from streamrec.services.together.parts import Part

# Notes its process, then waits to be asked to end, which it does with a status.
PART = """
import signal, sys, os, pathlib, time
status = int(sys.argv[2])
signal.signal(signal.SIGTERM, lambda *_: sys.exit(status))
with pathlib.Path(sys.argv[1]).open("a") as file:
    file.write(f"{os.getpid()}\\n")
time.sleep(60)
"""


def part(name: str, notes: Path, status: int = 0, ready_url: str | None = None) -> Part:
    return Part(name, (sys.executable, "-c", PART, str(notes), str(status)), ready_url)


def until(done: Callable[[], bool]) -> None:
    give_up_s = time.monotonic() + 20.0
    while not done():
        assert time.monotonic() < give_up_s
        time.sleep(0.01)


def pids(notes: Path) -> list[int]:
    return [int(line) for line in notes.read_text().split()] if notes.exists() else []


def test_a_part_that_is_killed_is_started_again_and_the_others_go_on(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    stopping = threading.Event()
    parts = [part("one", one), part("other", other)]
    keeper = Keeper(parts, dict(os.environ), tmp_path / "logs", stopping.is_set)
    keeper.start()
    thread = threading.Thread(target=keeper.keep)
    thread.start()
    until(lambda: bool(pids(one) and pids(other)))
    os.kill(pids(one)[0], 9)
    until(lambda: len(pids(one)) == 2)
    stopping.set()
    thread.join()
    assert keeper.stop()
    assert len(pids(other)) == 1
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids(one) + pids(other))


def test_a_part_that_ends_badly_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keeper = Keeper([part("bad", tmp_path / "bad", 3)], dict(os.environ), tmp_path / "logs")
    keeper.start()
    until(lambda: bool(pids(tmp_path / "bad")))
    assert not keeper.stop()
    assert f"bad ended with status 3; its log is {tmp_path / 'logs' / 'bad.log'}" in caplog.text


def test_a_part_that_never_is_ready_is_named_with_its_log(tmp_path: Path) -> None:
    dead = Part("dead", (sys.executable, "-c", "raise SystemExit(2)"), "http://127.0.0.1:1/ready")
    keeper = Keeper([dead], dict(os.environ), tmp_path / "logs")
    keeper.start()
    try:
        with pytest.raises(PartsError, match=r"dead ended with status 2; its log is .*dead\.log"):
            keeper.await_ready(20.0)
    finally:
        keeper.stop()
