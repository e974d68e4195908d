"""A real Apache Kafka and a real schema registry on this machine, without Docker or installed Java.

    with local_kafka() as kafka:
        print(kafka.bootstrap_servers, kafka.registry_url)

Kafka is one node in KRaft mode, up in some 5 s with 370 MB; the registry is Apicurio with its
Confluent API, up in some 7 s with 270 MB, in memory. Everything listens on loopback only. Data and
logs are in a folder of their own, removed at the end and kept when something fails.

`streamrec kafka` keeps one running until Ctrl-C.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from streamrec.connectors.local.free_ports import LOOPBACK, free_ports
from streamrec.connectors.local.guarded_process import GuardedProcess
from streamrec.connectors.local.jars import (
    LocalKafkaError,
    Say,
    java_path,
    kafka_jars,
    registry_folder,
)

_CLUSTER_ID = "c3RyZWFtcmVjLWxvY2FsLQ"  # 16 bytes in base64, as Kafka wants it
_BROKER_START_S = 60.0
_REGISTRY_START_S = 90.0
_LOG_TAIL_LINES = 40

# The session timeout is short because a killed broker cannot come back before it has run out.
# Nothing is removed for its age: records of a click log imported here are as old as its clicks.
_SERVER_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
num.network.threads=2
num.io.threads=2
log.retention.ms=-1
log.retention.check.interval.ms=1000
log.segment.delete.delay.ms=1000
"""


class LocalKafka:
    """A broker and a registry. Stopping and starting the broker keeps its ports and its data."""

    def __init__(self, folder: Path, say: Say, with_registry: bool = True) -> None:
        self._folder = folder
        self._say = say
        self._with_registry = with_registry
        self._broker: GuardedProcess | None = None
        self._registry: GuardedProcess | None = None
        ports = free_ports(4)
        self._port, self._controller_port, self._registry_port, self._management_port = ports
        self.bootstrap_servers = f"{LOOPBACK}:{self._port}"
        self.registry_url = f"http://{LOOPBACK}:{self._registry_port}/apis/ccompat/v7"

    def start(self) -> None:
        """Start both and wait until they answer. Raises LocalKafkaError with the end of the log."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._with_registry:  # first: it takes longer
            self._launch_registry()
        self._format()
        self._launch_broker()
        self._await_broker()
        if self._with_registry:
            self._await_registry()

    def start_broker(self) -> None:
        """Start the broker again after `stop_broker` or `kill_broker`; wait until it answers."""
        self._launch_broker()
        self._await_broker()

    def stop_broker(self) -> None:
        """Stop the broker in good order."""
        self._running(self._broker, "broker").stop()

    def kill_broker(self) -> None:
        """Kill the broker, as a power cut would."""
        self._running(self._broker, "broker").kill()

    def pause_broker(self) -> None:
        """Let the broker hang with its connections open, until `resume_broker`."""
        self._running(self._broker, "broker").pause()

    def resume_broker(self) -> None:
        self._running(self._broker, "broker").resume()

    def start_registry(self) -> None:
        """Start the registry again. It keeps nothing: schemas must be registered again."""
        self._launch_registry()
        self._await_registry()

    def stop_registry(self) -> None:
        self._running(self._registry, "registry").stop()

    def pause_registry(self) -> None:
        """Let the registry hang, until `resume_registry`; it keeps its schemas."""
        self._running(self._registry, "registry").pause()

    def resume_registry(self) -> None:
        self._running(self._registry, "registry").resume()

    def close(self) -> None:
        for process in (self._registry, self._broker):
            if process is not None:
                # Nothing is worth saving here: SIGTERM would cost seconds at the end of each run.
                process.kill()

    def _running(self, process: GuardedProcess | None, name: str) -> GuardedProcess:
        if process is None or not process.running():
            raise LocalKafkaError(f"local kafka: expected the {name} to run, but it does not")
        return process

    def _format(self) -> None:
        (self._folder / "server.properties").write_text(
            _SERVER_PROPERTIES.format(
                host=LOOPBACK,
                port=self._port,
                controller_port=self._controller_port,
                data=self._folder / "data",
            )
        )
        command = self._kafka("kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c")
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode:
            raise LocalKafkaError(
                f"local kafka: formatting the data folder failed: {done.stdout}{done.stderr}"
            )

    def _kafka(self, main: str, *arguments: str) -> list[str]:
        jars = os.pathsep.join(str(jar) for jar in kafka_jars(self._say))
        return [
            str(java_path()),
            "-Xmx512m",
            "-XX:+UseSerialGC",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-cp",
            jars,
            main,
            *arguments,
            str(self._folder / "server.properties"),
        ]

    def _launch_broker(self) -> None:
        self._broker = GuardedProcess(self._kafka("kafka.Kafka"), self._folder / "broker.log")

    def _launch_registry(self) -> None:
        folder = registry_folder(self._say)
        command = [str(java_path()), "-Xmx512m", "-jar", str(folder / "quarkus-run.jar")]
        settings = {
            "APICURIO_STORAGE_KIND": "sql",
            "APICURIO_STORAGE_SQL_KIND": "h2",
            "QUARKUS_HTTPLOOPBACK": LOOPBACK,
            "QUARKUS_HTTP_PORT": str(self._registry_port),
            # Its port of health checks: 9000 on all interfaces by default, so that a second
            # registry on the machine would not start.
            "QUARKUS_MANAGEMENTLOOPBACK": LOOPBACK,
            "QUARKUS_MANAGEMENT_PORT": str(self._management_port),
        }
        self._registry = GuardedProcess(
            command, self._folder / "registry.log", {**os.environ, **settings}
        )

    def _await_broker(self) -> None:
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        # Refused connections are what we wait for, so librdkafka's own log lines are turned off.
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})

        def answers() -> bool:
            try:
                return bool(admin.list_topics(timeout=1).brokers)
            except KafkaException:
                return False

        self._await("broker", self._broker, _BROKER_START_S, answers)

    def _await_registry(self) -> None:
        # A proxy from the environment must not come between us and loopback.
        with httpx.Client(trust_env=False, timeout=2) as client:

            def answers() -> bool:
                try:
                    return client.get(f"{self.registry_url}/subjects").status_code == 200
                except httpx.HTTPError:
                    return False

            self._await("registry", self._registry, _REGISTRY_START_S, answers)

    def _await(
        self,
        name: str,
        process: GuardedProcess | None,
        bound_s: float,
        answers: Callable[[], bool],
    ) -> None:
        assert process is not None
        give_up = time.monotonic() + bound_s
        while not answers():
            if not process.running() or time.monotonic() > give_up:
                state = "no answer in time" if process.running() else "its end"
                raise LocalKafkaError(
                    f"local kafka: expected the {name} to answer within {bound_s:.0f} s, got "
                    f"{state}; the end of its log:\n{self.log_tail(name)}"
                )
            time.sleep(0.1)

    def log_tail(self, name: str) -> str:
        """The last lines that `broker` or `registry` has logged."""
        log = self._folder / f"{name}.log"
        if not log.exists():
            return "(no log)"
        lines = log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-_LOG_TAIL_LINES:])


def say_on_stderr(text: str) -> None:
    sys.stderr.write(f"local kafka: {text}\n")


@contextmanager
def local_kafka(
    folder: Path | None = None, say: Say = say_on_stderr, with_registry: bool = True
) -> Iterator[LocalKafka]:
    """Run a broker and a registry for the length of a `with` block.

    Without a folder they use a temporary one, kept when the block fails so that logs can be read.
    Raises LocalKafkaError when they cannot be fetched or started.
    """
    place = Path(tempfile.mkdtemp(prefix="streamrec-kafka-")) if folder is None else folder
    kafka = LocalKafka(place, say, with_registry)
    try:
        kafka.start()
        yield kafka
    except BaseException as error:
        kafka.close()
        if not isinstance(error, KeyboardInterrupt | SystemExit):
            say(f"failed; logs are kept in {place}")
        elif folder is None:
            shutil.rmtree(place, ignore_errors=True)
        raise
    kafka.close()
    if folder is None:
        shutil.rmtree(place, ignore_errors=True)
