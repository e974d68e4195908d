"""The embedded log: a Log in one SQLite file, for a laptop, a demo and tests.

What differs from Kafka: one file on one machine; retention and compaction happen when something is
written; without `retention.ms` nothing is ever removed; a written message is visible to readers
after at most some 10 ms, and durable after `flush` (see `embedded_file` for what a power cut does).
"""

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

from streamrec.connectors.embedded.admin import EmbeddedAdmin
from streamrec.connectors.embedded.appender import EmbeddedAppender
from streamrec.connectors.embedded.claims import Claims
from streamrec.connectors.embedded.file import EmbeddedFile, Synchronous
from streamrec.connectors.embedded.reader import EmbeddedReader
from streamrec.connectors.embedded.registry import EmbeddedRegistry
from streamrec.connectors.embedded.writer import EmbeddedWriter
from streamrec.connectors.leases.board import FolderBoard
from streamrec.connectors.leases.holder import Claim
from streamrec.connectors.leases.kernel_locks import KernelLocks
from streamrec.connectors.leases.lease import Lease
from streamrec.connectors.log import LogError, SchemaRegistry
from streamrec.connectors.patience import Patience

_PATIENCE = Patience()


class EmbeddedLog:
    """A Log over one file, made with its folder when first opened. Any number of processes and
    threads may open the same file, but not over a network file system."""

    def __init__(
        self,
        path: Path,
        synchronous: Synchronous = "normal",
        registry: Callable[[], SchemaRegistry] | None = None,  # None: schemas are in the file too
        patience: Patience = _PATIENCE,
        make: bool = True,
    ) -> None:
        """Without `make` a log that is missing is refused, where it is asked for anything."""
        self.patience = patience
        self._file = EmbeddedFile(Path(path), synchronous, make)
        self._claims = Claims(self._file)
        self._registry = registry

    def reader(self, ends: bool = False) -> EmbeddedReader:
        return EmbeddedReader(self._file)

    def writer(self) -> EmbeddedWriter:
        return EmbeddedWriter(self._file, self._claims)

    def appender(self) -> EmbeddedAppender:
        return EmbeddedAppender(self._file, self._claims)

    def transactional_writer(self, name: str, timeout_s: float) -> NoReturn:
        raise LogError(
            f"{self._file.where}: expected Kafka for transactions, got the embedded log; set "
            "KAFKA_BOOTSTRAP_SERVERS, or deliver by read_back"
        )

    def admin(self) -> EmbeddedAdmin:
        return EmbeddedAdmin(self._file)

    def registry(self) -> SchemaRegistry:
        return EmbeddedRegistry(self._file) if self._registry is None else self._registry()

    def describe_target(self) -> str:
        return self._file.where

    def lease(
        self, name: str, claim: Claim, locks: Path | None, on_lost: Callable[[str], None]
    ) -> Lease:
        """Beside the file, as it is on one machine: `locks` is not needed."""
        path = self._file.path
        folder = path.with_name(f"{path.name}.leases") / quote(name, safe="")
        return Lease(
            f"{name!r} on {self._file.where}",
            "a STREAMREC_CONSUMER_GROUP of its own",
            claim,
            FolderBoard(folder),
            KernelLocks(folder),
            on_lost,
            on_claimed=lambda token: self._claims.take(name, claim.slot, token),
        )

    def handed_over(self) -> int:
        return 0  # what is written later is refused by its token
