"""The processes of the front, started for a measurement."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.place import Place
from benchmarks.processes import BenchmarkError, Running, recovering, running
from streamrec.connectors.local.free_ports import LOOPBACK, free_ports
from streamrec.services.http.keys_file import create_key

_READY_S = 90.0
_ANY_RATE = 1e9  # limits are on, and let all through


@dataclass(frozen=True, slots=True)
class Service:
    """A service that is ready."""

    process: Running
    url: str


def keyed(place: Place, **settings: object) -> tuple[dict[str, str], str]:
    """The environment of services that look at keys and at rates; and a key that may do all."""
    keys = place.folder / f"{place.prefix}-keys.jsonl"
    keys.unlink(missing_ok=True)
    key = create_key(keys, "load", ["*"])
    environment = place.process_environment(
        http_keys_file=keys, http_rate_of_key=_ANY_RATE, http_rate_of_address=_ANY_RATE, **settings
    )
    return environment, key


@contextmanager
def service(place: Place, name: str, environment: Mapping[str, str]) -> Iterator[Service]:
    """`streamrec NAME` at a free port, until the end of the block. Raises BenchmarkError where it
    is not ready in time."""
    (port,) = free_ports(1)
    arguments = ["streamrec", name, "--port", str(port)]
    with running(name, arguments, environment, place.folder) as process:
        url = f"http://{LOOPBACK}:{port}"
        give_up_s = time.monotonic() + _READY_S
        while not _is_ready(url):
            if not process.poll() or time.monotonic() > give_up_s:
                raise BenchmarkError(f"{name} is not ready: {process.log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield Service(process, url)
        process.stop()


@contextmanager
def dataflow(
    place: Place, name: str, environment: Mapping[str, str], recovery: Path, epoch_s: int
) -> Iterator[Running]:
    """One of ours with a recovery directory, until the end of the block."""
    arguments = recovering(f"dataflows.{name}", recovery, epoch_s)
    with running(name, arguments, environment, place.folder) as process:
        yield process
        if process.poll():
            process.stop()


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", timeout=2.0).status_code == 200
    except httpx.HTTPError:
        return False


__all__ = ["Service", "dataflow", "keyed", "service"]
