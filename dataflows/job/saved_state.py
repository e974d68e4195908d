"""Where a run keeps its state, and whether what it finds there is its own."""

import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from streamrec.connectors.leases.lease import InUseError
from streamrec.connectors.log import Log, LogError, UnreachableError
from streamrec.connectors.starts import SourceStart
from streamrec.connectors.written_once import write_once
from streamrec.dataflows.engine.flags import recovery_directory
from streamrec.dataflows.engine.holding import Holding, end_at_once, folder_lease, own_claim
from streamrec.dataflows.engine.witnesses import INPUTS, SHAPE, read_inputs
from streamrec.dataflows.job.settings import Settings, SettingsError
from streamrec.dataflows.job.topics import Topic

# Goes up when a version places or names shards otherwise than the one before. 2: by the partition
# of the user's key (dataflows.steps.shards).
LAYOUT = 2
_logger = logging.getLogger(__name__)
_RETRY_S = 2.0  # while the log is away

LEASES = "leases"  # in a recovery directory: who uses it


def state_directory(settings: Settings) -> Path | None:
    """Where this run keeps state; None: nothing is kept over a restart."""
    if settings.state_dir is not None:
        return settings.state_dir
    recovery = recovery_directory()
    return None if recovery is None else recovery / "state"


def hold_state(holding: Holding, settings: Settings, recovery: Path | None = None) -> None:
    """Hold the recovery directory, by default the one that the engine was started with, and the
    folder of state where that is another, against every other process. Raises InUseError."""
    claim = own_claim(settings.lease_s)
    recovery, state = recovery or recovery_directory(), settings.state_dir
    for what, folder in (("recovery directory", recovery), ("STREAMREC_STATE_DIR", state)):
        if folder is not None:
            path = folder.resolve()
            holding.take(str(path), partial(folder_lease, f"{what} {folder}", path / LEASES, claim))


def hold_log(holding: Holding, log: Log, settings: Settings, flow_id: str) -> None:
    """Hold what is read and written under the consumer group by this dataflow against every other
    process, with a recovery directory and without. Raises InUseError."""
    name, recovery = f"{settings.consumer_group}.{flow_id}", recovery_directory()
    locks = None if recovery is None else recovery.resolve() / LEASES / "log"

    def lost(message: str) -> None:
        count = log.handed_over()
        if count:
            message = (
                f"{message}; up to {count} records had been handed to the client since the last "
                "snapshot, and may stand on the log twice (STREAMREC_DELIVERY=transactions rules "
                "that out)"
            )
        end_at_once(message)

    claim = own_claim(settings.lease_s)
    key = f"{name} on {log.describe_target()}"
    while True:
        try:
            holding.take(key, lambda: log.lease(name, claim, locks, lost))
            return
        except UnreachableError as error:
            _logger.warning("%s; waiting for it", error)
            time.sleep(_RETRY_S)
        except InUseError:
            raise
        except LogError as error:
            if isinstance(error.__cause__, UnreachableError):
                _logger.warning("%s; waiting for it", error)
                time.sleep(_RETRY_S)
                continue
            if isinstance(error.__cause__, OSError):  # nor could anything else be written there
                raise
            _logger.warning(
                "%s: no lease can be had (%s): a second start would not be refused", name, error
            )
            return


def check_shape(
    settings: Settings, dataflow: str, inputs: Sequence[Topic], inputs_change: bool = False
) -> None:
    """Refuse saved state of another dataflow or another shape. Raises SettingsError.

    Users are in the shard, and positions in the lane, that the numbers of these give them: with
    other numbers a resumed run would not find them, and would count anew from nothing. A dataflow
    may read a topic more than it did, which begins where the settings say; with `inputs_change`
    others, too, so that each stands for itself.
    """
    folder = state_directory(settings)
    if folder is None:
        return
    shape = {
        "layout of the state": LAYOUT,
        "dataflow": dataflow,
        "STREAMREC_SHARDS": settings.shards,
        "STREAMREC_LANES": settings.lanes,
    }
    beside = list(inputs)
    if not inputs_change:
        shape |= _named(settings, beside.pop(0))
    _check(folder / SHAPE, shape)
    for topic in beside:
        if topic.setting is not None:  # what cannot be named otherwise need not be remembered
            named = _named(settings, topic)
            _check(folder / f"{Path(SHAPE).stem}-{topic.name}.json", named)


def note_inputs(settings: Settings, steps: Sequence[str], durable_epoch: int | None) -> None:
    """Remember which steps read inputs now, and since which epoch each of them does without a
    break: the places of the others may stand still. Called before the engine begins."""
    folder = state_directory(settings)
    if folder is None or durable_epoch is None:
        return
    before = read_inputs(folder) or {}
    since = {step: before.get(step, durable_epoch + 1) for step in steps}
    if since != before:
        folder.mkdir(parents=True, exist_ok=True)
        # By a name of its own: the processes of a cluster write the same at the same time.
        part = folder / f"{INPUTS}.{os.getpid()}.part"
        part.write_text(json.dumps(since))
        part.replace(folder / INPUTS)


def _named(settings: Settings, topic: Topic) -> dict[str, Any]:
    """What a topic is called here, by the setting that says so."""
    if topic.setting is None:
        return {"input": topic.name}
    return {f"STREAMREC_{topic.setting.upper()}": settings.topic(topic)}


def _check(path: Path, shape: Mapping[str, Any]) -> None:
    folder = path.parent
    saved = json.loads(write_once(path, lambda: json.dumps(shape).encode()))
    for name, value in shape.items():
        if saved.get(name) != value:
            raise SettingsError(
                f"{name}: expected {saved.get(name)!r}, with which the state in {folder} was made, "
                f"got {value!r}; set it back, or begin with a new recovery directory"
            )


def source_start(settings: Settings, topic: str, reader: str = "") -> SourceStart | None:
    """Remembers where a topic began for a reader; None: nothing is kept over a restart."""
    folder = state_directory(settings)
    if folder is None:
        return None
    place = folder / "inputs" / reader.replace(":", ".") if reader else folder / "inputs"
    return SourceStart(place / f"{topic}.json")
