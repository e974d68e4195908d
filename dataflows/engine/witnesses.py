"""Is saved state what was saved? Each part of it bears witness of the others.

- *Partitions of the store* must be whole (SQLite's own check), all there, and of one time: a
  source lane saves its place in every epoch, so that each must hold the last epoch that is durable;
  a lane that had ended may stand still, and in a dataflow whose inputs change so may those of an
  input that it reads no more, or again only since. A run's progress must be of a run that is known.
- *Each shard's manifest* says which snapshot of the shard was its last, and in which epoch. What
  was saved in a durable epoch must be in the store; what was saved later belongs to the epoch that
  a crash broke off, and one such is all there can be.
- *Files of shards* are named in the store with size and digest: the one is looked at now, the other
  when they are read.

A store that is older as a whole, as after a backup was put back, agrees with itself: what it names
is read from there once more, and answers that are on the log already are read back. So it is taken,
with a warning. A manifest that is missing or garbled is told and made anew, since what the store
names is whole without it.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from streamrec.connectors.source import lane_name
from streamrec.connectors.state_files import MANIFEST, Reference, StateFileError, check_sizes
from streamrec.dataflows.engine.sealing import epoch_of, folder_of, has_ended, is_shard, is_whole
from streamrec.dataflows.engine.store import (
    Snapshot,
    Store,
    check_intact,
    put_back,
    read_store,
    snapshots_before,
)

_logger = logging.getLogger(__name__)

SHAPE = "shape.json"  # in the folder of state: what the saved state goes by
# In the folder of state, of a dataflow whose inputs change: by step, the epoch since which it is
# read without a break.
INPUTS = "inputs-read.json"
Values = list[tuple[Snapshot, Mapping[Any, Any] | None]]


def check_saved_state(parts: Sequence[Path], state: Path | None, all_here: bool) -> int | None:
    """Raises StateFileError for saved state that is not what was saved. Returns the last epoch that
    is durable, 0: none is; None: partitions are on other machines."""
    for part in parts:
        check_intact(part)
    store = read_store(parts)
    if store.part_count > len(parts):
        if all_here:
            there = {part.name for part in parts}
            names = [f"part-{n}.sqlite3" for n in range(store.part_count)]
            missing = [parts[0].with_name(name) for name in names if name not in there]
            raise StateFileError(f"{missing[0]} is missing; {put_back(missing[0])}")
        return None
    _check_runs(store)
    resume_epoch = store.resume_epoch
    before = 0 if resume_epoch is None else resume_epoch - 1
    taken = snapshots_before(parts, before + 1)
    values = [(snapshot, _value_of(snapshot)) for snapshot in taken]
    _check_lanes(store, values, before, state)
    if state is not None:
        _check_shards(store, values, before, state)
    return before


def _check_runs(store: Store) -> None:
    """What is said of runs must be of runs that are known."""
    last = max(store.executions, default=-1)
    unknown = max((number for number, _ in store.frontiers), default=-1)
    if unknown > last:
        raise _older(store, f"{store.fronts_in[unknown]} knows of run {unknown}, no other does")
    newest = max(store.newest, key=lambda part: store.newest[part])
    if not store.executions and store.newest[newest]:
        raise _older(store, f"{newest} holds snapshots, but no partition knows of a run")


def _value_of(snapshot: Snapshot) -> Mapping[Any, Any] | None:
    value = snapshot.value()
    if value is not None and not is_whole(value):
        raise snapshot.garbled()
    return value


def _check_lanes(store: Store, values: Values, before: int, state: Path | None) -> None:
    """Each source lane must stand at the last durable epoch."""
    if max(store.newest.values()) > before + 1 and before == 0:
        raise _older(store, "there are snapshots, but nothing says that an epoch was ever durable")
    inputs = None if state is None else read_inputs(state)
    lanes: dict[str, set[str]] = {}  # by step, those whose place tells its epoch
    for snapshot, value in values:
        epoch = None if value is None else epoch_of(value)
        if value is None or epoch is None:
            continue
        if epoch != snapshot.epoch:
            raise snapshot.garbled()
        if not _is_read(inputs, snapshot.step, before):
            continue
        if epoch != before and not has_ended(value):
            raise StateFileError(
                f"{snapshot.part} is older than the rest: {snapshot.key!r} of {snapshot.step!r} "
                f"expected to be saved in epoch {before}, got {epoch}; {put_back(snapshot.part)}"
            )
        lanes.setdefault(snapshot.step, set()).add(snapshot.key)
    taken = {(snapshot.step, snapshot.key) for snapshot, _ in values}
    if before:  # all lanes were saved in it, those too that only a later epoch shows
        for later in snapshots_before(store.parts):
            value = later.value()
            is_source = value is not None and epoch_of(value) is not None
            is_source = is_source and _is_read(inputs, later.step, before)
            if is_source and (later.step, later.key) not in taken:
                raise _older(
                    store, f"{later.key!r} of {later.step!r} is in epoch {later.epoch} only"
                )
    for step, keys in lanes.items():
        for lane in range(_lanes_of(state) or len(keys)):
            if lane_name(lane) not in keys:
                raise _older(store, f"the place of {lane_name(lane)!r} of {step!r} is in none")


def read_inputs(state: Path) -> dict[str, int] | None:
    """By step, the epoch since which an input is read without a break; None: inputs do not change.
    Raises StateFileError."""
    path = state / INPUTS
    try:
        found = json.loads(path.read_bytes())
        return {str(step): int(epoch) for step, epoch in found.items()}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise StateFileError(
            f"{path} expected steps and epochs, got {error}; {put_back(path.parent / path.name)}"
        ) from error


def _is_read(inputs: Mapping[str, int] | None, step: str, before: int) -> bool:
    """Whether a step read its input in the last epoch that is durable."""
    if inputs is None:
        return True
    return inputs.get(step.partition(".")[2], before + 1) <= before


def _lanes_of(state: Path | None) -> int | None:
    """How many lanes there were when the state was new; None: it does not say."""
    try:
        found = json.loads((state / SHAPE).read_bytes()) if state is not None else {}
        return int(found["STREAMREC_LANES"])
    except (OSError, ValueError, KeyError):
        return None


def _check_shards(store: Store, values: Values, before: int, state: Path) -> None:
    """Each shard's snapshot must be the one that its manifest bears witness of."""
    saved = {}
    for snapshot, value in values:
        if value is not None and is_shard(value):
            step = folder_of(snapshot.step.partition(".")[2])
            folder = state / step / value["shard"]
            saved[folder] = (snapshot, value["reference"])
            check_sizes(folder, Reference.of_plain(value["reference"]))
    ahead = 0
    for folder, (snapshot, reference) in saved.items():
        manifest = _manifest_of(folder)
        if manifest is None:
            _logger.warning(
                "%s is missing or garbled: what it named is checked by what %s says, and it is "
                "made anew; nothing is lost",
                folder / MANIFEST,
                snapshot.part,
            )
        elif "sequence" in reference and "sequence" in manifest:
            ahead += _check_shard(store, folder, manifest, reference["sequence"], before)
    never_durable = []
    for path in state.glob(f"*/*/{MANIFEST}"):
        manifest = _manifest_of(path.parent)
        if path.parent not in saved and manifest is not None and "sequence" in manifest:
            ahead += _check_shard(store, path.parent, manifest, 0, before)
            never_durable.append(path)
    for path in never_durable:  # of an epoch that will run again; none where one was refused
        path.unlink()
    if ahead:
        _logger.warning(
            "the recovery store %s is older than the state of %d shards in %s, as when a backup "
            "was put back: going on from epoch %d; what was read and answered since is read again, "
            "and answers that are there are not written again",
            store.parts[0].parent,
            ahead,
            state,
            before,
        )


def _check_shard(
    store: Store, folder: Path, manifest: Mapping[str, Any], sequence: int, before: int
) -> bool:
    """Says whether the manifest is of a later time than the whole store."""
    last, epoch = manifest["sequence"], manifest.get("epoch")
    if epoch is None or last <= sequence:
        return False
    if epoch > before + 1:
        if not store.executions:
            raise StateFileError(
                f"the partitions in {store.parts[0].parent} are new, but {folder / MANIFEST} is of "
                f"epoch {epoch}; {put_back(store.parts[0])}"
            )
        return True
    broken_off = epoch == before + 1 or manifest.get("last", False)
    if last - sequence > broken_off:
        raise _older(
            store,
            f"{folder / MANIFEST} bears witness of snapshot {last} in epoch {epoch}, and the "
            f"newest in the store is {sequence or 'none'}",
        )
    return False


def _manifest_of(folder: Path) -> dict[str, Any] | None:
    """None: it is missing or garbled."""
    try:
        found = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("files"), list) else None


def _older(store: Store, why: str) -> StateFileError:
    """A partition is not the one that was written last, and it can only be guessed which."""
    oldest = min(store.parts, key=lambda part: store.newest[part])
    return StateFileError(
        f"the partitions of the recovery store in {oldest.parent} are not of one time: {why}; the "
        f"one that holds the oldest snapshots is {oldest}; {put_back(oldest)}"
    )
