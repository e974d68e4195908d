"""Who holds a slot, as it says itself."""

import json
import os
import platform
import socket
import time
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from uuid import uuid4


@dataclass(frozen=True, slots=True)
class Claim:
    """What a process wants: a slot of so many, in a cluster of that shape."""

    slot: int  # the index of the process in its cluster
    shape: str  # of the cluster: clusters of two shapes never run at once
    lease_s: float  # a holder that is silent for so long has gone


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds a slot, or held it."""

    slot: int
    shape: str
    lease_s: float
    token: str  # of one process
    host: str
    kernel: str  # on which it runs: containers on one machine share one
    lock: str  # its lock file, as `KernelLocks.identity` says it; "": it has none
    pid: int
    since: str  # ISO 8601
    renewals: int = 0
    left: bool = False  # in good order

    def text(self) -> str:
        """For an operator who must find it."""
        return (
            f"host {self.host!r}, pid {self.pid}, since {self.since} (process {self.slot} of "
            f"{self.shape})"
        )

    def encoded(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decoded(cls, text: bytes) -> "Holder":
        """What a later version adds is passed over. Raises ValueError."""
        known = {field.name for field in fields(cls)}
        try:
            return cls(**{k: v for k, v in json.loads(text).items() if k in known})
        except (TypeError, AttributeError) as error:
            raise ValueError(f"expected a holder, got {text!r}") from error


def this_process(claim: Claim, lock: str) -> Holder:
    """This process as the holder of what it claims, with a token that no other has."""
    return Holder(
        slot=claim.slot,
        shape=claim.shape,
        lease_s=claim.lease_s,
        token=uuid4().hex,
        host=socket.gethostname(),
        kernel=this_kernel(),
        lock=lock,
        pid=os.getpid(),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
    )


@cache
def this_kernel() -> str:
    """What tells this machine, since it was last started, from all others."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # not Linux: a restart is not seen, which only costs one lease of waiting
        return platform.node()


def clock_s() -> float:
    """Seconds that go on while this process, or the machine, is stopped."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
