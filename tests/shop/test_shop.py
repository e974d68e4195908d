"""The shop keeps its word: equal seeds, known faults, and something to learn."""

import io
import json
from collections import Counter, defaultdict

import fastavro
import numpy as np

from streamrec.connectors.embedded.log import EmbeddedLog
from streamrec.connectors.log import Log
from streamrec.dataflows.job.topics import CLICKS
from streamrec.schemas.wire import WireDecoder
from streamrec.shop.faults import FAULTS, SchemaIds, faults_named
from streamrec.shop.judging import Answers, JudgedClicks, K, judge, judge_popularity
from streamrec.shop.shop import GOOD, Shop, ShopBatch

IDS = SchemaIds(clicks=1, older=2, foreign=3)
SEED = 20_260_101


def test_equal_seeds_give_equal_records() -> None:
    once, again = (list(Shop(seed=SEED, clicks=15_000, schema_ids=IDS).batches()) for _ in "ab")
    assert [batch.values for batch in once] == [batch.values for batch in again]
    assert [batch.keys for batch in once] == [batch.keys for batch in again]
    other = next(Shop(seed=SEED + 1, clicks=15_000, schema_ids=IDS).batches())
    assert once[0].values != other.values


def test_there_are_as_many_clicks_as_asked_for() -> None:
    batches = list(Shop(seed=SEED, clicks=33_333, schema_ids=IDS).batches())
    assert sum(len(batch) for batch in batches) == 33_333


def test_what_is_broken_does_not_change_what_is_meant() -> None:
    intact, broken = (
        list(Shop(seed=SEED, clicks=12_000, schema_ids=IDS, broken_share=share).batches())
        for share in (0.0, 0.5)
    )
    assert sum(batch.error_counts().total() for batch in intact) == 0
    for one, other in zip(intact, broken, strict=True):
        assert np.array_equal(one.clicks.items, other.clicks.items)
        assert np.array_equal(one.clicks.times_ms, other.clicks.times_ms)


def test_good_clicks_say_what_was_meant() -> None:
    batch = next(Shop(seed=SEED, clicks=2_000, schema_ids=IDS, broken_share=0.0).batches())
    schema = fastavro.parse_schema(json.loads(CLICKS.schema))
    symbols = ("view", "cart", "favorite", "purchase")
    for row, value in enumerate(batch.values):
        assert value is not None
        assert value[:5] == b"\0\0\0\0\x01"
        click = fastavro.schemaless_reader(io.BytesIO(value[5:]), schema, None)
        assert isinstance(click, dict)
        assert click["user_id"].encode() == batch.keys[row]
        assert click["user_id"] == f"u{batch.clicks.users[row]}"
        assert click["item_id"] == f"i{batch.clicks.items[row]}"
        assert click["event_type"] == symbols[batch.clicks.event_types[row]]
        assert click["timestamp"].timestamp() * 1000 == batch.clicks.times_ms[row]
        assert click["session_id"] in (None, f"s{batch.clicks.sessions[row]}")
        assert click["price_cents"] > 0


def test_every_fault_is_found_by_the_decoder_under_its_reason(embedded_log: Log) -> None:
    assert isinstance(embedded_log, EmbeddedLog)
    registry = embedded_log.registry()
    shop = Shop(seed=SEED, clicks=30_000, schema_ids=SchemaIds.of(registry), broken_share=0.2)

    decoder = WireDecoder(CLICKS.schema, registry.by_id)
    seen: Counter[str] = Counter()
    for batch in shop.batches():
        found = {failure.row: failure.reason for failure in decoder.decode(batch.values).failures}
        for row in range(len(batch)):
            expected = batch.reason_at(row)
            if expected in ("invalid_value", "too_late"):
                expected = None  # what later steps find
            assert found.get(row) == expected, FAULTS[batch.faults[row]].name
        seen.update(FAULTS[fault].name for fault in batch.faults if fault != GOOD)
    registry.close()
    assert set(seen) == {fault.name for fault in FAULTS}


def test_faults_can_be_chosen() -> None:
    chosen = faults_named({"tombstone", "empty_user"})
    shop = Shop(seed=SEED, clicks=10_000, schema_ids=IDS, broken_share=0.1, faults=chosen)
    counts = sum((batch.error_counts() for batch in shop.batches()), Counter[str]())
    assert set(counts) == {"not_wire_format", "invalid_value"}


def test_too_late_comes_only_after_newer_clicks() -> None:
    too_late = [fault.name for fault in FAULTS].index("too_late")
    shop = Shop(seed=SEED, clicks=9_000, schema_ids=IDS, broken_share=1.0)
    faults = np.concatenate([batch.faults for batch in shop.batches()])
    assert np.flatnonzero(faults == too_late).min() >= 5_000


def test_late_clicks_are_few_and_within_the_hour() -> None:
    batches = list(Shop(seed=SEED, clicks=60_000, schema_ids=IDS).batches())
    times = np.concatenate([batch.clicks.times_ms for batch in batches])
    behind_ms = np.maximum.accumulate(times) - times
    assert behind_ms.max() < 3_600_000
    assert 0.0003 < np.mean(behind_ms > 120_000) < 0.003
    assert np.mean(behind_ms > 0) > 0.1


def test_co_occurrence_beats_popularity_and_repeats_add_to_it() -> None:
    batches = list(Shop(seed=SEED, clicks=60_000, schema_ids=IDS, broken_share=0.0).batches())
    clicks = JudgedClicks(
        np.concatenate([batch.clicks.users for batch in batches]),
        np.concatenate([batch.clicks.items for batch in batches]),
    )
    followers, both = _answers(batches)
    popular = judge_popularity(clicks, followers)
    by_followers, by_both = judge(clicks, followers), judge(clicks, both)
    assert by_followers.mrr > 3 * popular.mrr
    assert by_both.hit_rate > by_followers.hit_rate + 0.02


def _answers(batches: list[ShopBatch]) -> tuple[Answers, Answers]:
    """What most often followed the item, without and with the session's own items first."""
    after: defaultdict[int, Counter[int]] = defaultdict(Counter)
    session: defaultdict[int, list[int]] = defaultdict(list)
    followers, both = [], []
    for batch in batches:
        pairs = zip(batch.clicks.sessions.tolist(), batch.clicks.items.tolist(), strict=True)
        for key, item in pairs:
            if session[key]:
                after[session[key][-1]][item] += 1
            session[key].append(item)
            likely = [other for other, _ in after[item].most_common(K)]
            own = list(dict.fromkeys(reversed(session[key])))[:5]
            followers.append(likely + [-1] * (K - len(likely)))
            mixed = list(dict.fromkeys([*likely[:3], *own, *likely[3:]]))[:K]
            both.append(mixed + [-1] * (K - len(mixed)))
    rows = np.arange(len(followers))
    return Answers(rows, np.array(followers)), Answers(rows, np.array(both))
