"""`docs/features.md`, recounted: what is here was written from the page, not from the code."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.job.settings import SettingsError, load_settings
from streamrec.dataflows.steps.batches import ShardClicks
from streamrec.dataflows.steps.decode import DecodeClicks
from streamrec.dataflows.steps.user_features import UserFeatures
from streamrec.models.users import features
from streamrec.models.users.features import compile_features
from streamrec.models.users.state import UserState
from streamrec.schemas import load
from streamrec.schemas.wire import WireDecoder
from tests.dataflows.click_batches import START_MS, click, raw_batch
from tests.docs.pages import blocks

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
WINDOWS_MS = {"1m": MINUTE_MS, "10m": 10 * MINUTE_MS, "1h": HOUR_MS}
LONGEST_MS, GAP_MS, KEPT = HOUR_MS, 30 * MINUTE_MS, 32
HORIZON_MS = LONGEST_MS + max(LONGEST_MS, GAP_MS)
PARTITIONS = 2


@dataclass
class User:
    events: list[tuple[int, str]] = field(default_factory=list)
    newest_ms: int | None = None
    session_id: str = ""
    start_ms: int = 0
    session: list[tuple[str, int | None]] = field(default_factory=list)  # items and prices
    distinct: int = 0

    def see(self, event: dict[str, Any]) -> dict[str, float]:
        time_ms, session_id = event["timestamp"], event["session_id"] or ""
        before_ms = self.newest_ms
        newest_ms = time_ms if before_ms is None else max(before_ms, time_ms)
        self.newest_ms = newest_ms
        self.events.append((time_ms, event["event_type"]))
        silence_ms = 0 if before_ms is None else time_ms - before_ms
        allowed_ms = max(GAP_MS, LONGEST_MS) if session_id else GAP_MS
        if before_ms is None or session_id != self.session_id or silence_ms > allowed_ms:
            self.session_id, self.start_ms = session_id, time_ms
            self.session, self.distinct = [], 0
        self.distinct += event["item_id"] not in [item for item, _ in self.session[-KEPT:]]
        self.session.append((event["item_id"], event["price_cents"]))
        found: dict[str, float] = {}
        for label, window_ms in WINDOWS_MS.items():
            width_ms = window_ms / 12
            last = math.floor(newest_ms / width_ms)
            for kind in ("view", "cart", "favorite", "purchase"):
                found[f"count_{kind}_{label}"] = sum(
                    last - 12 < math.floor(at_ms / width_ms) <= last
                    for at_ms, other in self.events
                    if other == kind
                )
        found["session_clicks"] = len(self.session)
        found["session_distinct_items"] = self.distinct
        found["session_seconds"] = max(newest_ms - self.start_ms, 0) / 1000
        found["session_cents"] = sum(price or 0 for _, price in self.session)
        since_ms = LONGEST_MS if before_ms is None else max(time_ms - before_ms, 0)
        found["seconds_since_last"] = min(since_ms, LONGEST_MS) / 1000
        return found


@dataclass
class Partition:
    watermark_ms: int = 0
    stands: bool = False
    near: int = 0
    candidates: dict[str, int] = field(default_factory=dict)

    def see(self, user: str, time_ms: int) -> tuple[bool, set[str]]:
        """Whether it is too late, and which users begin anew."""
        anew: set[str] = set()
        if time_ms < self.watermark_ms - LONGEST_MS and (
            self.stands or time_ms >= self.watermark_ms - HORIZON_MS
        ):
            return True, anew
        own_ms = self.candidates.get(user, time_ms)
        contradicts = time_ms < own_ms - LONGEST_MS
        if contradicts:
            anew.add(user)
        is_far = time_ms > self.watermark_ms + HORIZON_MS
        if is_far or not self.stands:
            if user not in self.candidates and len(self.candidates) == 20:
                anew |= self.refute()
            self.candidates[user] = time_ms if contradicts else max(own_ms, time_ms)
            if not self.stands:
                self.move_to(min(self.candidates.values()))
                self.stands = len(self.candidates) == 10
            elif len(self.candidates) - self.near >= 10:
                self.move_to(sorted(self.candidates.values(), reverse=True)[9])
                self.near = 0
        else:
            self.candidates.pop(user, None)
            self.watermark_ms = max(self.watermark_ms, time_ms)
            self.drop_near()
            self.near += len(self.candidates) > 0
            if self.candidates and self.near >= 9 and self.near >= len(self.candidates):
                anew |= self.refute()
        if self.stands:
            self.drop_near()
        return False, anew

    def move_to(self, time_ms: int) -> None:
        steps = [at for at in sorted(self.candidates.values()) if at >= time_ms]
        for at in steps:
            if at - time_ms <= HORIZON_MS:
                time_ms = at
        self.watermark_ms = time_ms

    def drop_near(self) -> None:
        limit_ms = self.watermark_ms + HORIZON_MS
        self.candidates = {user: at for user, at in self.candidates.items() if at > limit_ms}
        if not self.candidates:
            self.near = 0

    def refute(self) -> set[str]:
        users = set(self.candidates)
        self.candidates.clear()
        self.near = 0
        return users


def random_events(rng: np.random.Generator, n: int) -> list[tuple[int, dict[str, Any]]]:
    """Partition and fields: late ones, lulls, ids that are missing or take turns, wrong clocks."""
    events: list[tuple[int, dict[str, Any]]] = []
    now_ms = START_MS
    for _ in range(n):
        now_ms += int(rng.exponential(20_000))
        if rng.random() < 0.004:
            now_ms += int(rng.integers(20, 400)) * MINUTE_MS
        user = int(rng.integers(60))
        time_ms = now_ms
        if rng.random() < 0.15:
            time_ms -= int(rng.integers(0, 100 * MINUTE_MS))
        if rng.random() < (0.4 if 300 < len(events) < 340 else 0.03):
            time_ms += int(rng.choice([3, 5, 87_600])) * HOUR_MS
        ids = ([None], ["a", "b"], [None, "", "a", "a", "b"])[user % 3]
        fields = {
            "user_id": f"u{user}",
            "item_id": f"i{int(rng.integers(40))}",
            "event_type": str(rng.choice(["view", "cart", "favorite", "purchase", "other"])),
            "timestamp": time_ms,
            "session_id": ids[int(rng.integers(len(ids)))],
            "price_cents": None if rng.random() < 0.3 else int(rng.integers(1_000)),
        }
        events.append((user % PARTITIONS, fields))
    return events


@pytest.mark.parametrize("seed", range(6))
def test_recount_from_the_page_alone_agrees(seed: int) -> None:
    declared = compile_features()
    decoder = WireDecoder(load("clicks"), {1: load("clicks")}.__getitem__)
    decode = DecodeClicks(lambda: decoder, len(declared), 1, 10**9)
    shard = UserFeatures(UserState(declared, GAP_MS, KEPT))
    events = random_events(np.random.default_rng(seed), 3_000)
    partitions = [Partition() for _ in range(PARTITIONS)]
    users: dict[str, User] = {}
    counted = too_late = began_anew = 0
    for start in range(0, len(events), 37):
        part = events[start : start + 37]
        batches = [
            raw_batch([click(**fields) for at, fields in part if at == p], partition=p)
            for p in range(PARTITIONS)
        ]
        out = shard.update([item for item in decode(batches) if isinstance(item, ShardClicks)])
        late = {(item.partition, item.offset) for item in out if isinstance(item, Failed)}
        got: dict[tuple[int, ...], NDArray[np.float32]] = {}
        for item in out:
            if isinstance(item, ShardClicks):
                for place, row in zip(
                    item.clicks.places(item.rows).tolist(), item.rows, strict=True
                ):
                    got[place[0], place[1]] = item.clicks.features[row]
        for p in range(PARTITIONS):
            for offset, fields in enumerate(fields for at, fields in part if at == p):
                where = f"seed {seed}, batch at {start}, partition {p}, offset {offset}"
                is_late, anew = partitions[p].see(fields["user_id"], fields["timestamp"])
                assert is_late == ((p, offset) in late), where
                for user in anew:
                    users.pop(user, None)
                too_late += is_late
                began_anew += len(anew)
                if not is_late:
                    expected = users.setdefault(fields["user_id"], User()).see(fields)
                    values = [expected[name] for name in declared.names]
                    counted += 1
                    np.testing.assert_array_equal(
                        got[p, offset], np.array(values, np.float32), where
                    )
    assert counted > 2_000 and too_late > 50 and began_anew > 5, (counted, too_late, began_anew)


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> tuple[features.Feature, ...]:
    """The page's lines, declared beside what is there."""
    (lines,) = blocks("features.md", "python")
    added = tuple(eval(line, dict(vars(features))) for line in lines.splitlines())
    monkeypatch.setattr(features, "SESSION_FEATURES", (*features.SESSION_FEATURES, *added))
    return added


def test_the_pages_lines_can_be_declared(added: tuple[features.Feature, ...]) -> None:
    assert {feature.name for feature in added} == {"wants_10m", "carts_per_view_1h"}
    assert {feature.name for feature in added} <= set(features.declared().names)


@pytest.mark.usefixtures("added")
def test_windows_that_a_declared_feature_lacks_are_refused_by_the_settings_name() -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings(windows="5m")
    assert str(raised.value).startswith(
        "STREAMREC_WINDOWS: feature 'carts_per_view_1h' expected the name of a count or measure, "
        "got 'count_cart_1h'; there are count_view_5m, "
    )
