"""Leases of slots: who is refused, who waits for nobody, and what losing one means."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from streamrec.connectors.leases.board import FolderBoard
from streamrec.connectors.leases.holder import Claim, Holder, this_process
from streamrec.connectors.leases.kernel_locks import KernelLocks
from streamrec.connectors.leases.lease import SETTLE_S, InUseError, Lease
from tests.connectors.lease_holders import holding

FOR_EVER_S = 3_600.0  # a test that waited for this would never end
SHAPE = "2 (workers each: 1)"
_HOLD = """
import sys, time
from pathlib import Path
from tests.connectors.test_leases import lease_of
lease_of(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])).claim()
print("held", flush=True)
time.sleep(600)
"""

_HOLD_ON = """
import os, sys, time
from pathlib import Path
from streamrec.connectors.leases.board import FolderBoard
from tests.connectors.test_leases import on_machine
board = FolderBoard(Path(sys.argv[1]), shared=True)
lease = on_machine(sys.argv[2], board, float(sys.argv[3]), on_lost=lambda _: os._exit(3))
lease.claim()
print("held", flush=True)
time.sleep(600)
"""


def lease_of(
    folder: Path,
    slot: int = 0,
    lease_s: float = 0.5,
    shape: str = SHAPE,
    on_lost: Callable[[str], None] = lambda message: None,
) -> Lease:
    claim = Claim(slot, shape, lease_s)
    board, locks = FolderBoard(folder), KernelLocks(folder)
    return Lease("the directory", "one of its own", claim, board, locks, on_lost)


def on_machine(
    name: str,
    board: FolderBoard,
    lease_s: float,
    slot: int = 0,
    shape: str = SHAPE,
    on_lost: Callable[[str], None] = lambda message: None,
) -> Lease:
    """A lease on a machine whose locks no other sees."""
    locks = KernelLocks(board.folder.with_name(name))
    claim = Claim(slot, shape, lease_s)
    return Lease("the directory", "one of its own", claim, board, locks, on_lost)


@contextmanager
def held_by_another(folder: Path, slot: int, lease_s: float) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a slot."""
    with holding(_HOLD, str(folder), str(slot), str(lease_s)) as process:
        yield process


def elsewhere(slot: int = 0, lease_s: float = 0.5, shape: str = SHAPE) -> Holder:
    """What a process on another machine leaves on the board."""
    here = this_process(Claim(slot, shape, lease_s), "1:2")
    return replace(here, kernel="another", host="far-away", pid=77)


@contextmanager
def renewing(board: FolderBoard, holder: Holder) -> Iterator[None]:
    """A holder that goes on renewing."""
    done = threading.Event()

    def renew() -> None:
        count = 0
        while not done.wait(0.02):
            count += 1
            board.put(replace(holder, renewals=count))

    board.put(holder)
    thread = threading.Thread(target=renew)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_slot_in_use_is_refused_by_host_pid_and_since(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with held_by_another(tmp_path, 0, FOR_EVER_S) as holder:
        told = FolderBoard(tmp_path).read()[0]
        board = FolderBoard(tmp_path)
        board.put(replace(told, lease_s=0.5))  # so that nobody need wait for an hour
        wanted = rf"in use by host {told.host!r}, pid {holder.pid}, since {told.since} "

        with pytest.raises(InUseError, match=wanted.replace("+", r"\+")):
            lease_of(tmp_path).claim()
        assert not caplog.text, "the error says it all"


def test_killed_holder_is_followed_without_waiting(tmp_path: Path) -> None:
    with held_by_another(tmp_path, 0, FOR_EVER_S) as holder:
        holder.kill()
        holder.wait()

        lease_of(tmp_path, lease_s=FOR_EVER_S).claim()

    assert FolderBoard(tmp_path).read()[0].pid == os.getpid()


def test_killed_member_of_a_larger_cluster_is_in_nobodys_way(tmp_path: Path) -> None:
    with held_by_another(tmp_path, 2, FOR_EVER_S) as holder:
        holder.kill()
        holder.wait()

        lease_of(tmp_path, lease_s=FOR_EVER_S, shape="another").claim()

    assert list(FolderBoard(tmp_path).read()) == [0]


def test_stopped_holder_is_refused_as_long_as_it_lives(tmp_path: Path) -> None:
    """Its lock says that it lives, though it renews nothing."""
    with held_by_another(tmp_path, 0, 0.5) as holder:
        os.kill(holder.pid, 19)  # SIGSTOP

        with pytest.raises(InUseError, match="in use by host"):
            lease_of(tmp_path).claim()


def took_s(lease: Lease) -> float:
    began_s = time.monotonic()
    lease.claim()
    return time.monotonic() - began_s


def test_nobody_settles_where_locks_decide(tmp_path: Path) -> None:
    board = FolderBoard(tmp_path / "leases", shared=False)
    first, second = (on_machine("leases", board, FOR_EVER_S) for _ in range(2))

    assert took_s(first) < SETTLE_S
    first.leave()
    assert took_s(second) < SETTLE_S


def test_claim_settles_where_others_may_come_unseen(tmp_path: Path) -> None:
    board = FolderBoard(tmp_path / "leases", shared=True)
    first, second = (on_machine(name, board, FOR_EVER_S) for name in "ab")

    assert took_s(first) >= SETTLE_S
    first.leave()
    assert took_s(second) >= SETTLE_S


class Together(FolderBoard):
    """A board to which nobody comes before all have looked, and one some time after the others."""

    def __init__(self, folder: Path, gate: threading.Barrier, late_s: float) -> None:
        super().__init__(folder, shared=True)
        self._gate: threading.Barrier | None = gate
        self._late_s = late_s

    def put(self, holder: Holder) -> None:
        gate, self._gate = self._gate, None
        if gate is not None:
            gate.wait()
            time.sleep(self._late_s)
        super().put(holder)


def claim_together(first: Lease, second: Lease) -> list[Lease]:
    """Who of them holds."""
    held = []

    def claim(lease: Lease) -> None:
        try:
            lease.claim()
        except InUseError:
            return
        held.append(lease)

    threads = [threading.Thread(target=claim, args=(lease,)) for lease in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return held


def test_of_two_that_come_at_once_one_yields(tmp_path: Path) -> None:
    gate = threading.Barrier(2)
    leases = [
        on_machine(name, Together(tmp_path / "leases", gate, late_s), 3.0)
        for name, late_s in (("a", 0.0), ("b", SETTLE_S / 3))
    ]

    held = claim_together(*leases)

    assert held == leases[1:], "the later one stands on the board"
    assert FolderBoard(tmp_path / "leases").read()[0].token == leases[1].token


def test_claim_that_came_too_late_to_be_seen_begins_when_the_other_has_ended(
    tmp_path: Path,
) -> None:
    gate = threading.Barrier(2)
    leases = [
        on_machine(name, Together(tmp_path / "leases", gate, late_s), 3.0)
        for name, late_s in (("a", 0.0), ("b", 2 * SETTLE_S))
    ]

    held = claim_together(*leases)

    assert held == leases
    with pytest.raises(InUseError, match="was taken over"):
        leases[0].check()
    leases[1].check()


def test_of_two_shapes_that_come_at_once_one_holds_at_most_and_who_yields_bars_nobody(
    tmp_path: Path,
) -> None:
    gate = threading.Barrier(2)
    boards = [Together(tmp_path / "leases", gate, 0.0) for _ in range(2)]
    first = on_machine("a", boards[0], FOR_EVER_S, 0, "1")
    second = on_machine("b", boards[1], FOR_EVER_S, 1, "2")

    held = claim_together(first, second)

    assert len(held) <= 1
    for lease in held:
        lease.leave()
    on_machine("c", FolderBoard(tmp_path / "leases"), FOR_EVER_S, 0, "3").claim()


def test_peers_hold_a_slot_each(tmp_path: Path) -> None:
    lease_of(tmp_path, 0, FOR_EVER_S).claim()
    lease_of(tmp_path, 1, FOR_EVER_S).claim()

    assert sorted(FolderBoard(tmp_path).read()) == [0, 1]


def test_cluster_of_another_shape_is_refused(tmp_path: Path) -> None:
    held = lease_of(tmp_path, 1)
    held.claim()

    with pytest.raises(InUseError, match=r"process 1 of 2 \(workers each: 1\)"):
        lease_of(tmp_path, 0, shape="1 (workers each: 1)").claim()


def test_holder_elsewhere_that_renews_is_refused(tmp_path: Path) -> None:
    board = FolderBoard(tmp_path)
    with (
        renewing(board, elsewhere()),
        pytest.raises(InUseError, match="in use by host 'far-away', pid 77, since 20"),
    ):
        lease_of(tmp_path).claim()


def test_holder_elsewhere_that_stands_still_has_gone(tmp_path: Path) -> None:
    FolderBoard(tmp_path).put(elsewhere())

    lease_of(tmp_path).claim()

    assert FolderBoard(tmp_path).read()[0].pid == os.getpid()


def test_after_a_silence_a_claim_stands_a_heartbeat_longer(tmp_path: Path) -> None:
    """So long a holder that wakes may take to see it."""
    lease_s = 1.5
    FolderBoard(tmp_path).put(elsewhere(lease_s=lease_s))

    lease = lease_of(tmp_path, lease_s=lease_s)

    assert took_s(lease) >= lease_s + lease_s / 3 + SETTLE_S


def test_holder_that_wakes_while_a_claim_settles_has_ended_before_the_newcomer_begins(
    tmp_path: Path,
) -> None:
    board = FolderBoard(tmp_path / "leases", shared=True)
    program = [_HOLD_ON, str(board.folder), "a", "1.5"]
    with holding(*program) as holder:
        os.kill(holder.pid, signal.SIGSTOP)
        newcomer = threading.Thread(target=on_machine("b", board, 1.5).claim)
        newcomer.start()
        while board.read()[0].pid == holder.pid:
            time.sleep(0.01)
        os.kill(holder.pid, signal.SIGCONT)

        assert holder.wait(30.0) == 3
        assert newcomer.is_alive()
        newcomer.join()


def test_holder_elsewhere_that_left_in_good_order_is_not_waited_for(tmp_path: Path) -> None:
    FolderBoard(tmp_path).put(replace(elsewhere(lease_s=FOR_EVER_S), left=True))

    lease_of(tmp_path, lease_s=FOR_EVER_S).claim()


def test_who_leaves_says_so_and_lets_the_next_one_in(tmp_path: Path) -> None:
    first = lease_of(tmp_path, lease_s=FOR_EVER_S)
    first.claim()
    first.leave()
    assert FolderBoard(tmp_path).read()[0].left

    lease_of(tmp_path, lease_s=FOR_EVER_S).claim()


class Interrupted(FolderBoard):
    """A board that is interrupted when it is next read."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.by: Callable[[], None] | None = None

    def read(self) -> dict[int, Holder]:
        by, self.by = self.by, None
        found = super().read()
        if by is not None:
            by()
        return found


def test_lease_that_is_left_in_the_middle_of_a_renewal_is_not_renewed_again(tmp_path: Path) -> None:
    """As by a finalizer, which may run in any thread."""
    board = Interrupted(tmp_path / "leases")
    lease = on_machine("leases", board, 0.3)
    lease.claim()

    board.by = lease.leave
    give_up = time.monotonic() + 30.0
    while not board.read()[0].left:
        assert time.monotonic() < give_up
        time.sleep(0.01)

    time.sleep(0.5)
    assert board.read()[0].left
    on_machine("leases", FolderBoard(board.folder), FOR_EVER_S).claim()


def test_lease_is_lost_to_anothers_claim_only(tmp_path: Path) -> None:
    lost: list[str] = []
    told = threading.Event()

    def on_lost(message: str) -> None:
        lost.append(message)
        told.set()

    lease = lease_of(tmp_path, on_lost=on_lost)
    lease.claim()
    FolderBoard(tmp_path).remove(FolderBoard(tmp_path).read()[0])  # nobody's claim
    while 0 not in FolderBoard(tmp_path).read():
        time.sleep(0.01)
    lease.check()

    FolderBoard(tmp_path).put(elsewhere())

    assert told.wait(30.0)
    with pytest.raises(InUseError, match="was taken over by host 'far-away', pid 77"):
        lease.check()
    assert "taken over" in lost[0]


def test_holder_that_cannot_renew_waits_until_it_can(tmp_path: Path) -> None:
    folder, away = tmp_path / "leases", tmp_path / "away"
    lease = lease_of(folder)
    lease.claim()
    lease.check()

    folder.rename(away)
    folder.write_text("a file where the folder was")
    time.sleep(1.0)  # twice the lease: it is overdue
    passed = threading.Event()

    def write() -> None:
        lease.check()
        passed.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert not passed.wait(1.0)

    folder.unlink()
    away.rename(folder)
    assert passed.wait(30.0)
    writer.join()


def test_garbled_record_keeps_nobody_out(tmp_path: Path) -> None:
    (tmp_path / "slot-0.json").write_text("{")

    lease_of(tmp_path, lease_s=FOR_EVER_S).claim()
