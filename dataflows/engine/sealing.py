"""What the engine's store holds, so that a restart can tell whether it is whole and new.

Positions are a dict from partition to offset. What else is known goes beside, under numbers that no
partition has: the epoch, whether the lane had ended by then, whatever the lane itself has beside,
and a checksum, since SQLite has none. Saved state of before has none of them.
"""

import pickle
import zlib
from collections.abc import Mapping
from typing import Any

from streamrec.connectors.state_files import Reference

_EPOCH, _ENDED, _CHECKSUM, _BESIDE = -1, -2, -3, -4

Sealed = dict[int, Any]

# Of a shard: where its state is, not the state. Plain types, since the engine pickles it:
# {"shard": name, "reference": as Reference.plain(), "checksum": of the reference}.
ShardSnapshot = dict[str, Any]


def seal(
    positions: Mapping[int, int],
    epoch: int | None = None,
    ended: bool = False,
    beside: Mapping[str, Any] | None = None,
) -> Sealed:
    """Positions with what tells their time. `epoch` None: not known. `beside`: plain values."""
    sealed: Sealed = dict(positions)
    if beside:
        sealed[_BESIDE] = dict(beside)
    if epoch is not None:
        sealed[_EPOCH] = epoch
    if ended:
        sealed[_ENDED] = 1
    sealed[_CHECKSUM] = checksum_of(sorted(sealed.items()))
    return sealed


def unseal(sealed: Sealed | None) -> dict[int, int] | None:
    """The positions alone."""
    if sealed is None:
        return None
    return {partition: at for partition, at in sealed.items() if partition >= 0}


def beside_of(sealed: Mapping[Any, Any]) -> dict[str, Any]:
    """What the lane had beside its positions."""
    found: dict[str, Any] = sealed.get(_BESIDE, {})
    return found


def epoch_of(sealed: Mapping[Any, Any]) -> int | None:
    return sealed.get(_EPOCH)


def has_ended(sealed: Mapping[Any, Any]) -> bool:
    return _ENDED in sealed


def sealed_shard(shard: str, reference: Reference) -> ShardSnapshot:
    plain = reference.plain()
    return {"shard": shard, "reference": plain, "checksum": checksum_of(plain)}


def sealed_waiting(batches: list[Any]) -> dict[str, Any]:
    """Records that wait for an answer, as plain values, with a checksum. They are pickled here,
    once, since the checksum is of bytes."""
    waiting = pickle.dumps(batches)
    return {"waiting": waiting, "checksum": zlib.crc32(waiting)}


def waiting_of(sealed: Mapping[str, Any] | None) -> list[Any]:
    """The inverse; a snapshot that holds nothing is None."""
    return [] if sealed is None else list(pickle.loads(sealed["waiting"]))


def folder_of(step_id: str) -> str:
    """Where the state of a step is, below the folder of state."""
    return step_id.replace(" ", "-")


def is_shard(value: Mapping[Any, Any]) -> bool:
    """Whether it is what this module made of a shard: a dataflow's own operators keep dicts too."""
    return {"shard", "reference"} <= value.keys() and isinstance(value["reference"], dict)


def is_whole(sealed: Mapping[Any, Any]) -> bool:
    """Whether the checksum of a lane, a shard or what waits fits, or there is none."""
    if isinstance(sealed.get("waiting"), bytes):
        return bool(zlib.crc32(sealed["waiting"]) == sealed.get("checksum"))
    if is_shard(sealed):
        wanted = sealed.get("checksum")
        return wanted is None or bool(checksum_of(sealed["reference"]) == wanted)
    if _CHECKSUM not in sealed:
        return True
    rest = sorted(item for item in sealed.items() if item[0] != _CHECKSUM)
    return bool(checksum_of(rest) == sealed[_CHECKSUM])


def checksum_of(plain: Any) -> int:
    """CRC-32 of a plain value, by how Python writes it down."""
    return zlib.crc32(repr(plain).encode())
