"""State of a shard that survives: its changes go to files, their names to the engine."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from streamrec.connectors.state_files import Reference, StateFiles
from streamrec.dataflows.engine.epochs import Epochs
from streamrec.dataflows.engine.sealing import ShardSnapshot, folder_of, sealed_shard


class Kept(Protocol):
    """Logic with state, of one shard."""

    def update(self, items: list[Any]) -> list[Any]:
        """What comes of these items, in order; what failed among it. Items name their `shard`."""

    def changed(self, whole: bool) -> tuple[pa.Table, dict[str, Any]]:
        """What changed since the last call, or all there is: one row for whatever has a key of its
        own, and small facts (JSON types) that are saved with each snapshot."""

    def restore(self, tables: Sequence[pa.Table], facts: dict[str, Any]) -> None:
        """Become what said these tables, oldest first: of a key that stands in several, the last
        row holds. The facts are the newest."""


class KeptShard:
    """A shard whose state is kept in files, or nowhere where the run has no recovery directory."""

    def __init__(
        self,
        logic: Kept,
        open_files: Callable[[str], StateFiles] | None,
        holding: Callable[[], object] = lambda: None,
        epochs: Epochs | None = None,
    ) -> None:
        """`holding` is asked before anything is saved: it returns when this process may."""
        self.logic = logic
        self._holding = holding
        self._epochs = epochs or Epochs(None)
        self._open_files = open_files
        self._files: StateFiles | None = None
        self._shard = ""  # not known before the first items, or the snapshot, name it

    def on_batch(self, values: list[Any]) -> list[Any]:
        try:
            self._shard = values[-1].shard
        except AttributeError:
            raise TypeError(
                f"by_shard expected items with a `shard`, got {type(values[-1]).__name__}"
            ) from None
        return self.logic.update(values)

    def snapshot(self) -> ShardSnapshot | None:
        """Write what changed since the last snapshot; all of it every now and then."""
        if self._open_files is None:
            return None  # the engine asks even when it keeps nothing
        self._holding()
        if self._files is None:
            self._files = self._open_files(self._shard)
            self._files.remove_strays()
        is_base = self._files.wants_base
        table, facts = self.logic.changed(is_base)
        before = self._files.written_bytes
        reference = self._files.write(table, is_base, facts, self._epochs.mark())
        self._epochs.times.saved(self._files.written_bytes - before)
        return sealed_shard(self._shard, reference)

    def resume(self, snapshot: ShardSnapshot) -> None:
        """Load what a snapshot names. Raises StateFileError, and what `restore` raises."""
        assert self._open_files is not None
        self._shard = snapshot["shard"]
        self._files = self._open_files(self._shard)
        reference = Reference.of_plain(snapshot["reference"])
        before = self._epochs.before
        mark = {} if before is None else {"epoch": before}
        self.logic.restore(list(self._files.read(reference, mark)), reference.facts)
        self._files.remove_strays()


class Keep:
    """Builds, or resumes, the shards of a step. `folder` None: nothing is kept over a restart."""

    def __init__(
        self,
        make: Callable[[], Kept],
        folder: Path | None,
        keep_s: float = 0.0,
        holding: Callable[[], object] = lambda: None,
        epochs: Epochs | None = None,
    ) -> None:
        self._make = make
        self._folder = folder
        self._keep_s = keep_s
        self._holding = holding
        self._epochs = epochs

    def __call__(self, step_id: str, resume: ShardSnapshot | None) -> KeptShard:
        folder = self._folder
        if folder is None:
            return KeptShard(self._make(), None)
        own = folder / folder_of(step_id)
        shard = KeptShard(
            self._make(),
            lambda name: StateFiles(own / name, self._keep_s),
            self._holding,
            self._epochs,
        )
        if resume is not None:
            shard.resume(resume)
        return shard


__all__ = ["Keep", "Kept", "KeptShard", "ShardSnapshot"]
