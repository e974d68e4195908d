"""Where holders say that they are there, and read of each other."""

from pathlib import Path
from typing import Protocol

from streamrec.connectors.leases.holder import Holder
from streamrec.connectors.leases.machine import is_on_this_machine
from streamrec.connectors.state_files import write_durably


class Board(Protocol):
    """One place for each slot. Any call may raise OSError or LogError: it cannot be reached."""

    def read(self) -> dict[int, Holder]:
        """Who holds which slot, or held it last."""

    def put(self, holder: Holder) -> None:
        """Take the slot's place, or say again that one is there."""

    def before(self, holder: Holder) -> Holder | None:
        """Who was in the slot's place when the holder took it; known once it was read."""

    def remove(self, holder: Holder) -> None:
        """Forget a holder that has gone, unless another is in its place."""

    def is_shared(self) -> bool:
        """Whether holders on other machines may be here."""


class FolderBoard:
    """A file for each slot."""

    def __init__(self, folder: Path, shared: bool | None = None) -> None:
        """`shared` None: as the file system says."""
        self.folder = folder
        self._shared = shared
        self._before: dict[str, Holder | None] = {}  # by token, of those put by this process

    def read(self) -> dict[int, Holder]:
        found = {}
        for path in self.folder.glob("slot-*.json"):
            try:
                holder = Holder.decoded(path.read_bytes())
            except (FileNotFoundError, ValueError):
                continue  # removed since it was listed; or harmed, so that it says nothing
            found[holder.slot] = holder
        return found

    def put(self, holder: Holder) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if holder.token not in self._before:
            self._before[holder.token] = self.read().get(holder.slot)
        write_durably(self._path(holder.slot), holder.encoded(), sync=False)

    def before(self, holder: Holder) -> Holder | None:
        return self._before.get(holder.token)

    def remove(self, holder: Holder) -> None:
        found = self.read().get(holder.slot)
        if found is not None and found.token == holder.token:
            self._path(holder.slot).unlink(missing_ok=True)

    def is_shared(self) -> bool:
        return not is_on_this_machine(self.folder) if self._shared is None else self._shared

    def _path(self, slot: int) -> Path:
        return self.folder / f"slot-{slot}.json"
