"""A lease of one slot: claimed at the start, renewed while it is held, and asked before writing.

- *Who lives*: a holder on this machine has its lock file locked, and the kernel unlocks it when it
  dies, so that nobody waits for the dead. Of one elsewhere only its counter can be seen: it has
  gone when the counter stood still for the lease that it states, by the observer's own clock.
- *A newcomer* is refused by a living holder of its own slot, and by one of any slot whose cluster
  has another shape. It waits for one lease, as for a process that is about to end.
- *Settling*: where no lock keeps others away, two may come at once. A claim stands on the board for
  a while before its process begins, so that of two one sees the other's, and leaves. After a
  silence it stands there for a heartbeat longer: who was silent, and lives, sees it and ends.
- *Losing* a lease is to find another's token in one's place. Not to reach the board is not.
- *Overdue* is who has not renewed within its own lease, as after a stop of the process: another may
  have come meanwhile. `check`, asked before anything is handed on or saved, renews first.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from streamrec.connectors.leases.board import Board
from streamrec.connectors.leases.holder import Claim, Holder, clock_s, this_kernel, this_process
from streamrec.connectors.leases.kernel_locks import KernelLock, KernelLocks
from streamrec.connectors.log import FencedError, LogError

_logger = logging.getLogger(__name__)

_LOOK_S = 0.2  # between two looks while waiting
SETTLE_S = 1.0  # for another's claim to show; after a silence, beyond a heartbeat
_SHORT_S = 15.0  # who waits no longer than that need not be told why
_RENEWALS = 3  # a lease
_AGAIN_S = 0.5  # after the board could not be reached


class InUseError(LogError):
    """Another process holds what this one wants."""


class _Watched:
    """A holder elsewhere, of whom only the counter can be seen."""

    def __init__(self, holder: Holder) -> None:
        self._lease_s = holder.lease_s
        self._renewals = holder.renewals
        self._changed_s = clock_s()
        self._changes = 0

    def look(self, holder: Holder) -> None:
        if holder.renewals != self._renewals:
            self._renewals = holder.renewals
            self._changed_s = clock_s()
            self._changes += 1

    @property
    def renews(self) -> bool:
        """One change may have been under way when the holder died; who lives renews more often."""
        return self._changes > 1

    def is_silent(self) -> bool:
        return clock_s() - self._changed_s > self._lease_s


def _after_a_heartbeat_s(holder: Holder) -> float:
    """After so long a holder that lives has seen a claim in its place, and ended."""
    return holder.lease_s / _RENEWALS + SETTLE_S


class Lease:
    """One slot of one thing, for this process."""

    def __init__(
        self,
        what: str,
        own: str,
        claim: Claim,
        board: Board,
        locks: KernelLocks,
        on_lost: Callable[[str], None],
        on_claimed: Callable[[str], object] = lambda token: None,
    ) -> None:
        """`what` names the thing in messages, and `own` what another start could be given instead;
        `on_lost` is told who has taken over, and `on_claimed` with which token this one has."""
        self.what = what
        self._own = own
        self._claim = claim
        self._board = board
        self._locks = locks
        self._on_lost = on_lost
        self._on_claimed = on_claimed
        self._lock: KernelLock | None = None
        self._holder: Holder | None = None  # this process, once it holds the slot
        self._renewed_s = 0.0
        # Of the same thread too: a finalizer that leaves may run in the middle of a renewal.
        self._renewing = threading.RLock()
        self._renews = False  # is in the middle of it
        self._ended = threading.Event()
        self._left = False
        self._told = False  # that the board cannot be reached
        self._lost = ""  # to whom

    @property
    def token(self) -> str:
        assert self._holder is not None, "claim it first"
        return self._holder.token

    def claim(self) -> None:
        """Take the slot, and keep it renewed. Raises InUseError; LogError where there is no place
        to say so."""
        try:
            self._take()
        except OSError as error:
            self._let_go()
            raise LogError(f"{self.what}: no lease can be taken: {error}") from error
        except BaseException:
            self._let_go()  # or the next try of this process would be refused by its own lock
            raise

    def _take(self) -> None:
        settle_s, last = self._await_free()
        lock = "" if self._lock is None else self._locks.identity(self._claim.slot)
        self._holder = this_process(self._claim, lock)
        try:
            self._say()
            self._board.read()
            before = self._board.before(self._holder)
            if before is not None and (last is None or before.token != last.token):
                # It came after the last look, and may have settled before this claim could be seen.
                settle_s = max(settle_s, _after_a_heartbeat_s(before))
            self._settle(settle_s)
        except FencedError as error:
            self._let_go()
            others = self._in_the_way(self._board.read())
            raise self._refused(
                *[h for h in others if h.token != self._holder.token][:1]
            ) from error
        self._on_claimed(self._holder.token)
        threading.Thread(target=self._keep, name="lease", daemon=True).start()

    def _settle(self, settle_s: float) -> None:
        """Look whether another has come at the same moment: who sees the other leaves. Raises
        InUseError."""
        assert self._holder is not None
        until_s = clock_s() + settle_s
        while True:
            for found in self._in_the_way(self._board.read()):
                if found.token != self._holder.token and self._lives(found) is not False:
                    self._say_left()
                    raise self._refused(found)
            left_s = until_s - clock_s()
            if left_s <= 0:
                return
            time.sleep(min(_LOOK_S, self._heartbeat_s(), left_s))
            if clock_s() - self._renewed_s > self._heartbeat_s():
                self._holder = replace(self._holder, renewals=self._holder.renewals + 1)
                self._say()

    def _say(self) -> None:
        assert self._holder is not None
        self._renewed_s = clock_s()
        self._board.put(self._holder)

    def check(self) -> None:
        """Return at once while the lease is fresh, and otherwise when it has been renewed. Raises
        InUseError when another has taken over."""
        if self._lost or clock_s() - self._renewed_s > self._claim.lease_s:
            self._catch_up()

    def leave(self) -> None:
        """Say that this process is done, so that nobody waits for it."""
        self._ended.set()
        with self._renewing:
            if not self._renews:  # else this thread is in the middle of it, and leaves at its end
                self._say_left()

    def _say_left(self) -> None:
        """Once, and nothing is said after it: the next one may have come by then."""
        if self._left:
            return
        self._left = True
        if self._holder is not None:
            try:
                found = self._board.read().get(self._claim.slot)
                if found is not None and found.token == self._holder.token:
                    self._board.put(replace(self._holder, left=True))
            except (OSError, LogError) as error:
                _logger.debug("%s: could not say that this process left: %s", self.what, error)
        self._let_go()

    # Coming.

    def _await_free(self) -> tuple[float, Holder | None]:
        """Wait until nobody is in the way, for one lease; says how long to settle, and who had the
        slot last. Raises InUseError."""
        began_s = clock_s()
        watched: dict[str, _Watched] = {}  # by token, those that only their counter tells of
        silent: dict[str, Holder] = {}  # those of them that were taken for gone
        told = False
        while True:
            rivals, sure = [], []  # in the way; and known to live
            is_barred = False  # to others, by one that only this machine knows to be dead
            found = self._board.read()
            for holder in self._in_the_way(found):
                lives = self._lives(holder)
                if lives is None:
                    counter = watched.setdefault(holder.token, _Watched(holder))
                    counter.look(holder)
                    lives = not counter.is_silent()
                    silent.pop(holder.token, None)
                    if not lives:
                        silent[holder.token] = holder
                    if counter.renews:
                        sure.append(holder)
                elif lives:
                    sure.append(holder)
                else:
                    is_barred |= holder.slot == self._claim.slot
                if lives:
                    rivals.append(holder)
                elif holder.slot != self._claim.slot:
                    self._board.remove(holder)
            is_mine = self._locks_here()
            if not rivals and is_mine:
                return self._settle_s(silent.values(), is_barred), found.get(self._claim.slot)
            longest_s = max([self._claim.lease_s, *(rival.lease_s for rival in rivals)])
            if clock_s() - began_s > longest_s + 2 * _LOOK_S and (sure or not is_mine):
                self._let_go()
                raise self._refused(*(sure or rivals)[:1])
            if not told and longest_s > _SHORT_S:
                told = True
                who = rivals[0].text() if rivals else "a process that has not said who it is"
                _logger.warning(
                    "%s is in use by %s; waiting for %.0f s for it to end",
                    self.what,
                    who,
                    longest_s,
                )
            time.sleep(_LOOK_S)

    def _settle_s(self, silent: Collection[Holder], is_barred: bool) -> float:
        """How long a claim stands on the board before this process begins."""
        for holder in silent:
            _logger.info("%s: taken for gone, since silent: %s", self.what, holder.text())
        if silent:
            return max(map(_after_a_heartbeat_s, silent))
        is_alone = self._lock is not None and not self._board.is_shared()
        return 0.0 if is_alone or is_barred else SETTLE_S

    def _in_the_way(self, found: Mapping[int, Holder]) -> list[Holder]:
        return [
            holder
            for holder in found.values()
            if not holder.left
            and (holder.slot == self._claim.slot or holder.shape != self._claim.shape)
        ]

    def _locks_here(self) -> bool:
        """Whether this process has the slot's lock, or there are no locks here."""
        if self._lock is None and self._locks.supported:
            self._lock = self._locks.take(self._claim.slot)
        return self._lock is not None or not self._locks.supported

    def _lives(self, holder: Holder) -> bool | None:
        """Whether a holder lives, by the kernel's word; None: it is elsewhere."""
        if not holder.lock or holder.kernel != this_kernel():
            return None
        if holder.lock != self._locks.identity(holder.slot):
            return None
        if holder.slot == self._claim.slot:
            return not self._locks_here()
        lock = self._locks.take(holder.slot)
        if lock is None:
            return True
        lock.release()
        return False

    def _refused(self, *rival: Holder) -> InUseError:
        who = rival[0].text() if rival else "a process that has not said who it is"
        return InUseError(
            f"{self.what} is in use by {who}; expected it to be free, or to become so within "
            f"{self._claim.lease_s:g} s: stop that process first, or give this one {self._own}"
        )

    def _heartbeat_s(self) -> float:
        return self._claim.lease_s / _RENEWALS

    # Staying.

    def _keep(self) -> None:
        while not self._ended.wait(self._heartbeat_s()):
            self._renew()

    def _catch_up(self) -> None:
        while not self._ended.is_set() and not self._renew():
            time.sleep(_AGAIN_S)
        if self._lost:
            raise InUseError(self._lost)

    def _renew(self) -> bool:
        """Say again that this process is there; False: the board cannot be reached."""
        with self._renewing:
            self._renews = True
            try:
                return self._renew_unless_ended()
            finally:
                self._renews = False
                if self._ended.is_set() and not self._lost:
                    self._say_left()

    def _renew_unless_ended(self) -> bool:
        if self._ended.is_set() or self._holder is None:
            return True
        now_s = clock_s()
        try:
            found = self._board.read().get(self._claim.slot)
            if found is not None and found.token != self._holder.token:
                self._lose(f"{self.what} was taken over by {found.text()}")
                return True
            self._holder = replace(self._holder, renewals=self._holder.renewals + 1)
            self._board.put(self._holder)
        except FencedError:
            self._lose(f"{self.what} was taken over by another process")
            return True
        except (OSError, LogError) as error:
            if not self._told:
                self._told = True
                _logger.warning("%s: the lease cannot be renewed: %s", self.what, error)
            return False
        if self._told:
            self._told = False
            _logger.info("%s: the lease is renewed again", self.what)
        self._renewed_s = now_s
        return True

    def _lose(self, message: str) -> None:
        self._lost = message
        self._ended.set()
        self._on_lost(message)

    def _let_go(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()
