"""Ingress as a process of its own, on the log that its environment names."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from streamrec.connectors.log_settings import LogSettings
from streamrec.dataflows.job.settings import Settings
from tests.connectors.log_reading import wait_until

_OURS = ("KAFKA_", "SCHEMA_REGISTRY_", "STREAMREC_", "EMBEDDED_LOG_")
INGRESS = ("-m", "streamrec", "ingress", "--port", "0")
KILLED = (str(Path(__file__).with_name("killed_after_acknowledgement.py")),)


@dataclass(frozen=True)
class Process:
    """A running one, and a client of it."""

    process: subprocess.Popen[str]
    client: httpx.Client


def environment(log: LogSettings, job: Settings, **more: str) -> dict[str, str]:
    """What names a log and topics to a process."""
    found = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    found["EMBEDDED_LOG_PATH"] = str(log.embedded_log_path)
    if log.kafka_bootstrap_servers is not None:
        found["KAFKA_BOOTSTRAP_SERVERS"] = log.kafka_bootstrap_servers
        found["SCHEMA_REGISTRY_URL"] = log.schema_registry_url or ""
    for name in ("clicks", "impressions", "outcomes", "recommendations", "errors", "sessions"):
        found[f"STREAMREC_{name.upper()}_TOPIC"] = str(getattr(job, f"{name}_topic"))
    found["STREAMREC_METRICS_ADDRESS"] = "off"
    return found | more


@contextmanager
def started(
    environ: Mapping[str, str], arguments: Sequence[str] = INGRESS, ready: bool = True
) -> Iterator[Process]:
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env=dict(environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        said = ""
        for line in process.stdout:
            said += line
            if "listens on" in line:
                break
        assert "listens on" in said, said
        url = said.rpartition("listens on ")[2].strip()
        with httpx.Client(base_url=url, timeout=20) as client:
            if ready:
                wait_until(lambda: client.get("/health/ready").status_code == 200)
            yield Process(process, client)
    finally:
        process.kill()
        process.wait(20)
        process.stdout.close()
