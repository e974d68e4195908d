"""The user state against a slow reference that keeps every event and recounts at each one."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from streamrec.models.users import kernels
from streamrec.models.users.features import (
    HOUR_MS,
    MINUTE_MS,
    FeatureSet,
    Measure,
    Ratio,
    SessionMeasure,
    WindowCount,
    compile_features,
    counts_by_type,
)
from streamrec.models.users.state import SessionsAfter, UserState, UserTable
from streamrec.schemas.columns import Bytes
from tests.models.reference_watermarks import ReferenceWatermark

GAP_MS = 30 * MINUTE_MS
KEPT = 4
START_MS = 1_760_000_000_000

FEATURES = compile_features(
    (
        *counts_by_type((("1m", MINUTE_MS), ("10m", 10 * MINUTE_MS), ("1h", HOUR_MS))),
        WindowCount("wants_10m", ("cart", "favorite"), 10 * MINUTE_MS, buckets=10),
        SessionMeasure("session_clicks", Measure.SESSION_CLICKS, "clicks", ""),
        SessionMeasure("session_distinct_items", Measure.SESSION_DISTINCT_ITEMS, "items", ""),
        SessionMeasure("session_seconds", Measure.SESSION_SECONDS, "s", ""),
        SessionMeasure("session_cents", Measure.SESSION_CENTS, "1/100", ""),
        SessionMeasure("seconds_since_last", Measure.SECONDS_SINCE_LAST, "s", ""),
        SessionMeasure("price_cents", Measure.PRICE_CENTS, "1/100", ""),
        Ratio("carts_by_views", "count_cart_1h", "count_view_1h"),
    )
)


class ReferenceUsers:
    """Features of one user, recounted from all of its events."""

    def __init__(self, features: FeatureSet) -> None:
        self.features = features
        self.events: list[tuple[int, int]] = []
        self.session: list[tuple[int, int, int]] = []
        self.session_id = 0
        self.distinct = 0

    def take_in(self, time_ms: int, kind: int, item: int, session: int, price: int) -> list[float]:
        before = max((t for t, _ in self.events), default=None)
        self.events.append((time_ms, kind))
        newest = max(t for t, _ in self.events)
        gap_ms = max(GAP_MS, HOUR_MS) if session else GAP_MS
        if before is None or session != self.session_id or time_ms - before > gap_ms:
            self.session, self.session_id, self.distinct = [], session, 0
        if item not in [i for _, i, _ in self.session[-KEPT:]]:
            self.distinct += 1
        self.session.append((time_ms, item, price))
        values: dict[str, float] = {}
        for feature in self.features.features:
            if isinstance(feature, WindowCount):
                width = feature.window_ms // feature.buckets
                oldest = newest // width - feature.buckets + 1
                kinds = {"view": 0, "cart": 1, "favorite": 2, "purchase": 3, "other": 4}
                wanted = {kinds[name] for name in feature.event_types}
                values[feature.name] = sum(
                    1 for t, k in self.events if k in wanted and t // width >= oldest
                )
        since = HOUR_MS if before is None else min(max(time_ms - before, 0), HOUR_MS)
        values["session_clicks"] = len(self.session)
        values["session_distinct_items"] = self.distinct
        values["session_seconds"] = max(newest - self.session[0][0], 0) / 1000
        values["session_cents"] = sum(p for _, _, p in self.session if p >= 0)
        values["seconds_since_last"] = since / 1000
        values["price_cents"] = price
        views = values["count_view_1h"]
        values["carts_by_views"] = values["count_cart_1h"] / views if views else 0.0
        return [values[name] for name in self.features.names]


def make_clicks(rng: np.random.Generator, n: int, users: int, span_ms: int) -> NDArray[np.int64]:
    """Clicks of a few users with lulls, jumps, late ones and some explicit sessions."""
    clicks = np.zeros((kernels.CLICK_ROWS, n), np.int64)
    who = rng.integers(1, users + 1, n)
    clicks[kernels.HASH_HIGH] = who * 1_000_003
    clicks[kernels.HASH_LOW] = who  # close together, so that probes collide
    steps = rng.exponential(span_ms / n, n) * rng.choice([0.1, 1, 30], n, p=[0.6, 0.38, 0.02])
    times = START_MS + np.cumsum(steps).astype(np.int64)
    late = rng.random(n) < 0.15
    times[late] -= rng.integers(0, int(1.6 * HOUR_MS), late.sum())
    clicks[kernels.TIME_MS] = times
    clicks[kernels.ITEM] = rng.integers(1, 7, n)
    clicks[kernels.EVENT_TYPE] = rng.integers(0, 5, n)
    clicks[kernels.PRICE_CENTS] = rng.integers(-1, 500, n)
    clicks[kernels.SESSION] = np.where(who % 3 == 0, rng.integers(1, 3, n), 0)
    clicks[kernels.PARTITION] = who % 2
    return clicks


def with_wrong_clocks(rng: np.random.Generator, clicks: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same with clocks that are hours to years ahead, alone and in a row, and with silences."""
    n = clicks.shape[1]
    times = clicks[kernels.TIME_MS]
    for at in rng.integers(0, n, 3):
        times[at:] += int(rng.integers(1, 40)) * HOUR_MS
    for at in (0, *rng.integers(0, n, 30)):
        ahead = times[at : at + int(rng.choice([1, 1, 2, 12, 40]))]
        ahead += rng.choice([3 * HOUR_MS, 87_600 * HOUR_MS], len(ahead))
    return clicks


IDS = Bytes(np.frombuffer(b"someone", np.uint8), np.zeros(5_000, np.int64), np.full(5_000, 7))


def run(
    state: UserState, clicks: NDArray[np.int64], batch: int
) -> tuple[NDArray[np.float32], NDArray[np.int8], list[SessionsAfter]]:
    n = clicks.shape[1]
    features = np.full((n, len(state.features)), np.nan, np.float32)
    status = np.full(n, 9, np.int8)
    sessions = []
    for start in range(0, n, batch):
        rows = np.arange(start, min(start + batch, n))
        after = state.update(clicks, rows, IDS, features, status, partitions=2)
        assert after is not None
        sessions.append(after)
    return features, status, sessions


@pytest.mark.parametrize("clocks", ["right", "wrong"])
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("batch", [1, 7, 1_000])
def test_features_are_those_of_a_full_recount(seed: int, batch: int, clocks: str) -> None:
    rng = np.random.default_rng(seed)
    clicks = make_clicks(rng, 1_500, users=40, span_ms=20 * HOUR_MS)
    if clocks == "wrong":
        clicks = with_wrong_clocks(rng, clicks)
    state = UserState(FEATURES, GAP_MS, KEPT)
    features, status, sessions = run(state, clicks, batch)

    watermarks = [ReferenceWatermark(HOUR_MS, state.idle_ms) for _ in range(2)]
    users: dict[int, ReferenceUsers] = {}
    histories: list[list[int]] = []
    begun_anew = 0
    for row in range(clicks.shape[1]):
        column = clicks[:, row].tolist()
        who, time_ms = column[kernels.HASH_LOW], column[kernels.TIME_MS]
        accepted, anew = watermarks[column[kernels.PARTITION]].take_in(who, time_ms)
        for other in anew:
            users.pop(other, None)
        begun_anew += len(anew)
        if not accepted:
            assert status[row] == kernels.TOO_LATE, f"seed {seed}, row {row}"
            continue
        user = users.setdefault(who, ReferenceUsers(FEATURES))
        expected = user.take_in(
            time_ms,
            column[kernels.EVENT_TYPE],
            column[kernels.ITEM],
            column[kernels.SESSION],
            column[kernels.PRICE_CENTS],
        )
        histories.append([item for _, item, _ in user.session[-KEPT:]])
        assert status[row] == kernels.ACCEPTED, f"seed {seed}, row {row}"
        np.testing.assert_array_equal(
            features[row], np.array(expected, np.float32), f"seed {seed}, row {row}"
        )
    got = [
        after.items[after.bounds[i] : after.bounds[i + 1]].tolist()
        for after in sessions
        for i in range(len(after.rows))
    ]
    assert got == histories
    assert state.watermarks_ms.tolist() == [watermark.now_ms for watermark in watermarks]
    assert (status == kernels.TOO_LATE).sum() > 10, "the data should hold late clicks"
    assert begun_anew > 10 or clocks == "right", "the data should hold users that begin anew"


@pytest.mark.parametrize("seed", range(4))
def test_resumed_state_gives_the_features_of_an_uninterrupted_run(seed: int) -> None:
    rng = np.random.default_rng(seed)
    clicks = with_wrong_clocks(rng, make_clicks(rng, 3_000, users=300, span_ms=12 * HOUR_MS))
    clicks[kernels.TIME_MS, 1_699] += 87_600 * HOUR_MS  # is being weighed when the run stops
    expected, expected_status, _ = run(UserState(FEATURES, GAP_MS, KEPT), clicks, 100)

    first = UserState(FEATURES, GAP_MS, KEPT)
    half = clicks[:, :1_500].copy()
    features_1, status_1, _ = run(first, half, 100)
    whole = first.export(first.held())
    first.clear_changes()
    third = clicks[:, 1_500:1_700].copy()
    _, status_2, _ = run(first, third, 100)
    changed = first.export(first.changed())
    assert 0 < len(changed) < len(whole)
    second = UserState(FEATURES, GAP_MS, KEPT)
    assert first.doubts
    second.restore([whole, changed], first.watermarks_ms, first.doubts)
    assert len(second) >= len(first)
    for table in (first.export(first.held()), changed):
        for user, row in zip(table.user_ids, table.fixed, strict=True):
            slot = second.find(int(row[kernels.HIGH]), int(row[kernels.LOW]))
            assert second.user_ids[slot] == user
    features_3, status_3, _ = run(second, clicks[:, 1_700:].copy(), 100)
    np.testing.assert_array_equal(features_1, expected[:1_500])
    np.testing.assert_array_equal(features_3, expected[1_700:])
    np.testing.assert_array_equal(np.concatenate([status_1, status_2, status_3]), expected_status)


@pytest.mark.parametrize("seed", [*range(10), 59])
def test_rolled_back_state_gives_the_features_of_an_uninterrupted_run(seed: int) -> None:
    """Saved and resumed at random: also where a user's wrong time was saved, was refuted, and the
    user was dropped as idle before the next snapshot."""
    rng = np.random.default_rng(seed)
    clicks = make_clicks(rng, 3_000, users=int(rng.choice([40, 100, 300])), span_ms=12 * HOUR_MS)
    n = clicks.shape[1]
    clicks[kernels.TIME_MS, rng.random(n) < 0.02] += 87_600 * HOUR_MS
    expected, expected_status, _ = run(UserState(FEATURES, GAP_MS, KEPT), clicks, 100)

    state = UserState(FEATURES, GAP_MS, KEPT)
    features, status = np.full_like(expected, np.nan), np.full(n, 9, np.int8)
    at, resumed = 0, 0
    saved: tuple[int, list[UserTable], NDArray[np.int64], dict[str, list[int]]] | None = None
    while at < n:
        rows = np.arange(at, min(at + int(rng.integers(1, 120)), n))
        state.update(clicks, rows, IDS, features, status, partitions=2)
        at += len(rows)
        what = rng.random()
        if what < 0.3:
            is_base = saved is None or rng.random() < 0.1
            tables = [] if saved is None or is_base else saved[1]
            table = state.export(state.held() if is_base else state.changed())
            state.clear_changes()
            saved = (at, [*tables, table], state.watermarks_ms.copy(), state.doubts)
        elif what < 0.45 and saved is not None:
            at = saved[0]
            state = UserState(FEATURES, GAP_MS, KEPT)
            state.restore(*saved[1:])
            resumed += 1
    assert resumed > 3
    np.testing.assert_array_equal(status, expected_status)
    np.testing.assert_array_equal(features, expected)


def test_idle_users_are_dropped_and_the_arrays_shrink() -> None:
    state = UserState(FEATURES, GAP_MS, KEPT)
    n = 5_000
    clicks = np.zeros((kernels.CLICK_ROWS, n), np.int64)
    clicks[kernels.HASH_LOW] = np.arange(n) * 977
    clicks[kernels.TIME_MS] = START_MS
    run(state, clicks, 500)
    assert len(state) == n
    full = state.nbytes
    later = clicks[:, :10].copy()
    later[kernels.TIME_MS] = START_MS + state.idle_ms + 1
    run(state, later, 10)
    assert len(state) == 10
    assert state.nbytes < full / 10
    assert state.find(0, 977 * 3) >= 0
    assert state.find(0, 977 * 30) == -1
    assert state.user_ids[state.find(0, 977 * 3)] == b"someone"


def test_a_bucket_counts_to_its_most_and_stays_there() -> None:
    features = compile_features([WindowCount("views", ("view",), HOUR_MS, buckets=2)])
    state = UserState(features, GAP_MS, KEPT)
    n = kernels.BUCKET_MAX + 10
    clicks = np.zeros((kernels.CLICK_ROWS, n + 3), np.int64)
    start_ms = START_MS // HOUR_MS * HOUR_MS
    clicks[kernels.TIME_MS, :n] = start_ms
    clicks[kernels.TIME_MS, n:] = start_ms + HOUR_MS // 2  # in the next bucket
    clicks[kernels.TIME_MS, n + 2] = start_ms + HOUR_MS  # the first bucket has left the window

    counts, _, _ = run(state, clicks, 1_000)

    assert counts[n - 1, 0] == kernels.BUCKET_MAX
    assert counts[n + 1, 0] == kernels.BUCKET_MAX + 2
    assert counts[n + 2, 0] == 3


def test_memory_follows_active_users_not_time() -> None:
    state = UserState(FEATURES, GAP_MS, KEPT)
    sizes = []
    for window in range(10):
        n = 2_000
        clicks = np.zeros((kernels.CLICK_ROWS, n), np.int64)
        clicks[kernels.HASH_LOW] = np.arange(n) + window * n  # other users in each window
        clicks[kernels.TIME_MS] = START_MS + window * HOUR_MS + np.arange(n) * (HOUR_MS // n)
        run(state, clicks, 100)
        sizes.append(state.nbytes)
    assert max(sizes[4:]) <= max(sizes[:4])


def test_declaration_that_is_wrong_is_named() -> None:
    with pytest.raises(ValueError, match="'a' expected a name of its own, got it twice"):
        compile_features([WindowCount("a", ("view",), 60), WindowCount("a", ("cart",), 60)])
    with pytest.raises(ValueError, match=r"'a' expected event types of .* got 'click'"):
        compile_features([WindowCount("a", ("click",), 60)])
    with pytest.raises(ValueError, match="'a' expected a window that its buckets divide"):
        compile_features([WindowCount("a", ("view",), 61)])
    with pytest.raises(ValueError, match="'r' expected the name of a count or measure, got 'b'"):
        compile_features([WindowCount("a", ("view",), 60), Ratio("r", "a", "b")])


def test_digest_follows_the_declaration() -> None:
    one = compile_features([WindowCount("a", ("view",), 60)])
    assert one.digest == compile_features([WindowCount("a", ("view",), 60)]).digest
    assert one.digest != compile_features([WindowCount("a", ("view",), 120)]).digest


def test_documented_features_are_those_declared() -> None:
    page = (Path(__file__).parents[2] / "docs" / "features.md").read_text()
    for feature in compile_features().features:
        assert f"| `{feature.name}` | {feature.unit} | {feature.meaning} |" in page
