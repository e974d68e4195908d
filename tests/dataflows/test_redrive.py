"""Redriving is once, whatever happens in between."""

import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from streamrec.connectors.embedded.log import EmbeddedLog
from streamrec.connectors.log import Log
from streamrec.connectors.making_topics import subject_of
from streamrec.connectors.reading import read_all
from streamrec.dataflows.errors.redrive import HEADER, Redriver, read_errors
from streamrec.dataflows.job.topics import TOPICS
from tests.program.error_records import error, write_errors

# A run that ends at once, as by kill -9, just before or after it flushes for the n-th time: first
# claims, then originals, then what is done.
DYING_RUN = """
import os, sys
from pathlib import Path
from streamrec.connectors.embedded.log import EmbeddedLog
from streamrec.dataflows.errors.redrive import Redriver, read_errors

path, flush, when = sys.argv[1:]
log = EmbeddedLog(Path(path))
open_writer = log.writer

class DyingWriter:
    def __init__(self):
        self.writer, self.flushes = open_writer(), 0
    def write(self, topic, messages):
        self.writer.write(topic, messages)
    def flush(self, timeout_s):
        self.flushes += 1
        if self.flushes == int(flush) and when == "before":
            os._exit(9)
        self.writer.flush(timeout_s)
        if self.flushes == int(flush):
            os._exit(9)
    def close(self):
        self.writer.close()

log.writer = DyingWriter
Redriver(log, lease_s=1.0).redrive(read_errors(log))
"""

RUN = """
import sys
from pathlib import Path
from streamrec.connectors.embedded.log import EmbeddedLog
from streamrec.dataflows.errors.redrive import Redriver, read_errors

log = EmbeddedLog(Path(sys.argv[1]))
print(Redriver(log).redrive(list(read_errors(log))).redriven)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    log = EmbeddedLog(tmp_path / "log.sqlite")
    with closing(log.admin()) as admin, closing(log.registry()) as registry:
        for topic in TOPICS:
            admin.create(topic.spec())
            registry.register(subject_of(topic.name), topic.schema)
    return tmp_path / "log.sqlite"


def redriven_counts(log: Log) -> Counter[bytes | None]:
    return Counter(
        value
        for record in read_all(log, "clicks")
        for name, value in record.headers
        if name == HEADER
    )


def once_each(count: int) -> dict[bytes | None, int]:
    return {f"clicks/{n % 8}/{n}".encode(): 1 for n in range(count)}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("flush", [1, 2, 3])
def test_killed_redrive_is_completed_by_the_next(path: Path, flush: int, when: str) -> None:
    log = EmbeddedLog(path)
    write_errors(log, (error(n, partition=n % 8) for n in range(40)))
    command = [sys.executable, "-c", DYING_RUN, str(path), str(flush), when]
    assert subprocess.run(command, check=False).returncode == 9
    outcome = Redriver(log, lease_s=1.0).redrive(read_errors(log))
    assert redriven_counts(log) == once_each(40)
    assert outcome.redriven + outcome.already == 40


def test_several_processes_at_once_redrive_each_error_once(path: Path) -> None:
    log = EmbeddedLog(path)
    write_errors(log, (error(n, partition=n % 8) for n in range(1_200)))
    command = [sys.executable, "-c", RUN, str(path)]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    redriven = [int(run.communicate()[0]) for run in runs]
    assert sum(redriven) == 1_200
    assert redriven_counts(log) == once_each(1_200)


def test_an_error_that_stands_twice_is_redriven_once(path: Path) -> None:
    log = EmbeddedLog(path)
    write_errors(log, [error(0), error(0)])
    assert Redriver(log).redrive(read_errors(log)).redriven == 1
    assert redriven_counts(log) == {b"clicks/0/0": 1}
