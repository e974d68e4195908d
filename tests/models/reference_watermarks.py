"""The rule of `docs/features.md` for watermarks, in plain Python."""

from dataclasses import dataclass, field

from streamrec.models.users.watermarks import AGREE, CANDIDATES_MAX


@dataclass
class ReferenceWatermark:
    """Of one partition."""

    longest_ms: int
    horizon_ms: int
    now_ms: int = 0
    founded: bool = False
    against: int = 0
    candidates: dict[int, int] = field(default_factory=dict)  # user to newest time

    def take_in(self, user: int, time_ms: int) -> tuple[bool, set[int]]:
        """Whether the click is accepted, and who begins anew before it."""
        behind_ms = self.now_ms - time_ms
        if behind_ms > self.longest_ms and (self.founded or behind_ms <= self.horizon_ms):
            return False, set()
        anew = set()
        before_ms = self.candidates.get(user)
        if before_ms is not None and time_ms < before_ms - self.longest_ms:
            anew.add(user)
            before_ms = None
        newest_ms = time_ms if before_ms is None else max(before_ms, time_ms)
        if not self.founded:
            self.candidates[user] = newest_ms
            self.now_ms = self.steps_from(min(self.candidates.values()))
            self.founded = len(self.candidates) > AGREE
        elif time_ms <= self.now_ms + self.horizon_ms:
            self.candidates.pop(user, None)
            self.now_ms = max(self.now_ms, time_ms)
            self.forget_reached()
            self.against += bool(self.candidates)
            if self.candidates and self.against >= max(AGREE, len(self.candidates)):
                anew |= self.refute()
        else:
            if user not in self.candidates and len(self.candidates) == CANDIDATES_MAX:
                anew |= self.refute()
            self.candidates[user] = newest_ms
            if len(self.candidates) - self.against > AGREE:
                self.now_ms = self.steps_from(sorted(self.candidates.values())[-AGREE - 1])
                self.against = 0
        if self.founded:
            self.forget_reached()
        if not self.candidates:
            self.against = 0
        return True, anew

    def steps_from(self, time_ms: int) -> int:
        for later_ms in sorted(self.candidates.values()):
            if time_ms < later_ms <= time_ms + self.horizon_ms:
                time_ms = later_ms
        return time_ms

    def forget_reached(self) -> None:
        far_ms = self.now_ms + self.horizon_ms
        self.candidates = {u: t for u, t in self.candidates.items() if t > far_ms}

    def refute(self) -> set[int]:
        users = set(self.candidates)
        self.candidates, self.against = {}, 0
        return users
