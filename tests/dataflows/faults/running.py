"""The main job as a program of its own, for tests in which what is around it fails."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.job.topics import ERRORS, RECOMMENDATIONS
from tests.dataflows.main_job import START_MS, MainJob, places, reasons_by_place

_PATIENCE_S = 150.0  # for a machine that is busy with other things
_STOP_S = 60.0
MAIN = "dataflows.recommender"


class RunningJob:
    """A process that runs the main job, or another dataflow. `log` is what it has printed."""

    def __init__(
        self, settings: Settings, folder: Path, dataflow: str = MAIN, **environment: str
    ) -> None:
        self._settings = settings
        self._recovery = folder / "recovery"
        self._path = folder / f"job-{time.monotonic_ns()}.log"
        variables = environment_of(settings) | {"STREAMREC_FOLLOW": "true"} | environment
        command = [sys.executable, "-m", "bytewax.run", dataflow]
        flags = ["-r", str(self._recovery), "-s", "1", "-b", "0"]
        with self._path.open("wb") as output:
            self._process = subprocess.Popen(
                [*command, *flags],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=variables,
                cwd=Path(__file__).parents[3],
            )

    @property
    def log(self) -> str:
        return self._path.read_text(errors="replace")

    def running(self) -> bool:
        return self._process.poll() is None

    def until(self, done: Callable[[], bool], what: str, patience_s: float = _PATIENCE_S) -> None:
        give_up = time.monotonic() + patience_s
        while not done():
            assert self.running(), f"ended before {what}:\n{self.log[-3_000:]}"
            assert time.monotonic() < give_up, f"no {what} in time:\n{self.log[-3_000:]}"
            time.sleep(0.1)

    def says(self, text: str) -> Callable[[], bool]:
        return lambda: text in self.log

    def until_answered(self, job: MainJob, count: int) -> None:
        """Wait until there are as many recommendations and errors on the log."""
        topics = (job.settings.topic(RECOMMENDATIONS), job.settings.topic(ERRORS))

        def answered() -> bool:
            admin = job.log.admin()
            ends = [bound.high for topic in topics for bound in admin.bounds(topic).values()]
            admin.close()
            return sum(ends) >= count

        self.until(answered, f"{count} answers")

    def stop(self) -> None:
        """SIGTERM, as an operator or Kubernetes does it; it must end in good order."""
        assert self.running(), self.log[-3_000:]
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(_STOP_S) == 0, self.log[-3_000:]

    def ask_to_stop(self) -> None:
        """SIGTERM alone."""
        self._process.send_signal(signal.SIGTERM)

    def until_ended(self, patience_s: float) -> int:
        """Wait until it ends, however; returns its status."""
        return self._process.wait(patience_s)

    def end(self) -> str:
        """SIGTERM while it waits for something: it must end, whatever its status; returns what it
        printed."""
        assert self.running(), self.log[-3_000:]
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(_STOP_S)
        return self.log

    def until_failed(self, patience_s: float = _PATIENCE_S) -> str:
        """Wait until it ends by itself with an error; returns what it printed."""
        assert self._process.wait(patience_s) == 1, self.log[-3_000:]
        log = self.log
        assert "Traceback" not in log and "panicked" not in log, log[-3_000:]
        return log

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def running(
    settings: Settings, folder: Path, dataflow: str = MAIN, **environment: str
) -> Iterator[RunningJob]:
    job = RunningJob(settings, folder, dataflow, **environment)
    try:
        yield job
    finally:
        job.kill()


def environment_of(settings: Settings) -> dict[str, str]:
    """The environment in which the program finds these settings."""
    ours = ("STREAMREC_", "KAFKA_", "SCHEMA_REGISTRY_", "EMBEDDED_LOG_", "BYTEWAX_")
    found = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    names = ("clicks", "recommendations", "errors", "sessions")
    found |= {f"STREAMREC_{n.upper()}_TOPIC": getattr(settings, f"{n}_topic") for n in names}
    found["STREAMREC_CONSUMER_GROUP"] = settings.consumer_group
    found["STREAMREC_MODEL"] = settings.model
    found["STREAMREC_STORE"] = settings.store
    found["EMBEDDED_LOG_PATH"] = str(settings.embedded_log_path)
    if settings.kafka_bootstrap_servers is not None:
        assert settings.schema_registry_url is not None
        found["KAFKA_BOOTSTRAP_SERVERS"] = settings.kafka_bootstrap_servers
    if settings.schema_registry_url is not None:
        found["SCHEMA_REGISTRY_URL"] = settings.schema_registry_url
    return found


def send(job: MainJob, first: int, count: int = 300) -> int:
    """Views of many users; how many have been sent by now."""
    job.send_clicks(
        {"user_id": f"u{n % 50}", "item_id": f"i{n % 20}", "timestamp": START_MS + n}
        for n in range(first, first + count)
    )
    return len(job.sent.values)


def assert_each_once(job: MainJob) -> None:
    """Every click that was sent has exactly one recommendation or one error. All are views."""
    assert reasons_by_place(job.errors()) == job.sent.reasons
    answered = places(job.recommendations())
    repeated = {place: n for place, n in answered.items() if n > 1}
    assert not repeated, f"answered more than once: {repeated}"
    missing = job.sent.good() - answered.keys()
    assert not missing, f"never answered: {sorted(missing)[:10]} of {len(missing)}"
    assert answered.keys() <= job.sent.good()
