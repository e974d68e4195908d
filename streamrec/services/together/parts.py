"""The processes of `up`: what each is called with, and what says that it is ready."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from streamrec.connectors.local.free_ports import LOOPBACK

# Of a recovery directory: saved every ten seconds, and nothing kept for a backup.
_SNAPSHOTS = ("-s", "10", "-b", "0")


@dataclass(frozen=True, slots=True)
class Part:
    """One process. Those that take from others end before them."""

    name: str
    command: tuple[str, ...]
    ready_url: str | None = None  # answers 200 once it is; None: nothing waits for it
    environment: Mapping[str, str] = field(default_factory=dict)  # beside that of all


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything is."""

    folder: Path  # of state, logs and the store
    ingress_port: int
    api_port: int
    page_port: int

    @property
    def ingress(self) -> str:
        return f"http://{LOOPBACK}:{self.ingress_port}"

    @property
    def api(self) -> str:
        return f"http://{LOOPBACK}:{self.api_port}"

    @property
    def page(self) -> str:
        return f"http://{LOOPBACK}:{self.page_port}/"


def environment_of(places: Places, given: Mapping[str, str]) -> dict[str, str]:
    """The environment of all parts: what is given, and where it says nothing what fits together."""
    own = {
        "STREAMREC_STORE": str(places.folder / "store"),
        "STREAMREC_TOP_K": "60",  # a reserve for what is excluded when they are read
        "STREAMREC_HTTP_CORS_ORIGINS": places.page.rstrip("/"),
    }
    if "KAFKA_BOOTSTRAP_SERVERS" not in given:
        own["EMBEDDED_LOG_PATH"] = str(places.folder / "log.sqlite")
    return {**own, **given}


def parts_of(places: Places) -> tuple[Part, ...]:
    """All of them, in the order in which they are asked to end: first what lets clicks in."""
    program = (sys.executable, "-m", "streamrec")
    return (
        Part(
            "ingress",
            (*program, "ingress", "--port", str(places.ingress_port)),
            f"{places.ingress}/health/ready",
        ),
        Part("recommender", _flow("recommender", places.folder)),
        Part("store", _flow("store", places.folder)),
        Part(
            "api",
            (*program, "api", "--port", str(places.api_port)),
            f"{places.api}/health/ready",
        ),
    )


def _flow(name: str, folder: Path) -> tuple[str, ...]:
    module = f"streamrec.dataflows.{name}"
    state = folder / f"state-{name}"
    return (sys.executable, "-m", "bytewax.run", module, "-r", str(state), *_SNAPSHOTS)


__all__ = ["Part", "Places", "environment_of", "parts_of"]
