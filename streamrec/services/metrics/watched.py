"""`watch_process`: what a program calls once, so that others can see how it is doing.

seen = watch_process("ingress", "ingress", settings.metrics_address)
seen.gauge("streamrec_queue_records", "What waits.", queue.qsize, queue="writer")
seen.registry.register(measures)  # or anything with collect() -> metric families
seen.health.set("log", "the log does not answer")  # None: it does
"""

import atexit
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streamrec.services.metrics.address import Address, parse_address
from streamrec.services.metrics.health import Health
from streamrec.services.metrics.notes import Note, write_note
from streamrec.services.metrics.reading import ReadWhenAsked
from streamrec.services.metrics.served import NoPortError, SideServer

_logger = logging.getLogger(__name__)


@dataclass
class Watched:
    """A process as others see it. Without an address nobody does, and all works as it is."""

    kind: str
    name: str
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    health: Health = field(default_factory=Health)
    address: Address | None = None  # where it serves; None: nowhere
    _read: ReadWhenAsked = field(default_factory=ReadWhenAsked)
    _server: SideServer | None = None
    _note: Path | None = None
    _pid: int = field(default_factory=os.getpid)

    def __post_init__(self) -> None:
        self.registry.register(self._read)

    def gauge(self, name: str, doc: str, read: Callable[[], float | None], **labels: str) -> None:
        """Serve what `read` says when it is asked; None: nothing is known. Labels are few, and
        never an id of a user, an item or a record."""
        self._read.add("gauge", name, doc, read, labels)

    def counter(self, name: str, doc: str, read: Callable[[], float | None], **labels: str) -> None:
        """The same for what only grows; `name` ends in `_total`."""
        self._read.add("counter", name, doc, read, labels)

    def announce(self) -> None:
        """Log where it serves."""
        if self.address is not None:
            _logger.info("%s serves /metrics and /health on http://%s", self.name, self.address)

    def close(self) -> None:
        """Serve no more. Called at the end of the process, too."""
        if self._pid != os.getpid():
            return  # a child that was forked: the note and the port are its parent's
        if self._note is not None:
            with suppress(OSError):
                self._note.unlink()
        if self._server is not None:
            self._server.close()
        self._note = self._server = None


def watch_process(
    kind: str, name: str, address: str, index: int = 0, *, announced: bool = True
) -> Watched:
    """Serve metrics and health of this process from now on, and note where.

    `kind` is what it is (dataflow, ingress, api), `name` which of them, `index` which of several
    that do the same; `address` as the setting STREAMREC_METRICS_ADDRESS has it. A port or a folder
    that cannot be had is told, and ends nothing. Not `announced`: who calls says where, once it
    is sure to go on. Raises ValueError for an address that is none.
    """
    seen = Watched(kind, name)
    wanted = parse_address(address)
    if wanted is None:
        return seen
    started = time.time()
    ProcessCollector(registry=seen.registry)
    seen.registry.register(_About(seen, index))
    about = {"kind": kind, "name": name, "index": index, "pid": os.getpid(), "started": started}
    try:
        seen._server = SideServer(wanted, seen.registry, seen.health, about)
    except NoPortError as error:
        _logger.warning("no metrics are served: %s", error)
        return seen
    seen.address = seen._server.address
    try:
        seen._note = write_note(Note(os.getpid(), kind, name, index, str(seen.address), started))
    except OSError as error:
        _logger.warning("`streamrec top` will not find this process: %s", error)
    atexit.register(seen.close)
    if announced:
        seen.announce()
    return seen


class _About(Collector):
    """What the process is, and whether it can do its work."""

    def __init__(self, seen: Watched, index: int) -> None:
        self._seen = seen
        self._labels = {
            "kind": seen.kind,
            "name": seen.name,
            "index": str(index),
            "version": metadata.version("streamrec"),
        }

    def collect(self) -> Iterator[Metric]:
        info = GaugeMetricFamily(
            "streamrec_process_info", "What this process is.", labels=list(self._labels)
        )
        info.add_metric(list(self._labels.values()), 1.0)
        yield info
        ready = float(not self._seen.health.reasons())
        yield GaugeMetricFamily(
            "streamrec_ready", "1: the process can do its work; 0: /health says why not.", ready
        )


__all__ = ["Watched", "watch_process"]
