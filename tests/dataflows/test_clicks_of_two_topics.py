"""The step `user features` over clicks of two topics: what is late is so by its own partition."""

from dataclasses import replace
from itertools import chain

import numpy as np

from streamrec.connectors.log import RawBatch
from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.steps.batches import ShardClicks
from streamrec.dataflows.steps.user_features import UserFeatures
from streamrec.models.users.features import HOUR_MS, compile_features
from streamrec.models.users.state import UserState
from tests.dataflows.click_batches import START_MS, click, make_decode, raw_batch

FEATURES = compile_features()
KEPT = 4
FAR_MS = FEATURES.longest_ms + 2 * HOUR_MS


def step() -> UserFeatures:
    return UserFeatures(UserState(FEATURES, kept_items=KEPT))


def batch(topic: str, at_ms: int, users: int = 20, partition: int = 3) -> RawBatch:
    values = [click(user_id=f"{topic}{n}", timestamp=at_ms + n) for n in range(users)]
    return replace(raw_batch(values, partition, times_ms=[at_ms] * users), topic=topic)


def given(step: UserFeatures, batch: RawBatch) -> tuple[list[list[float]], list[int]]:
    """Features of what was counted, and offsets of what was late."""
    decode = make_decode(shards=1)
    decode.n_features = len(FEATURES)
    found = step.update([item for item in decode([batch]) if isinstance(item, ShardClicks)])
    counted = [each for each in found if isinstance(each, ShardClicks)]
    features = [each.clicks.features[each.rows].tolist() for each in counted]
    return list(chain.from_iterable(features)), [
        each.offset for each in found if isinstance(each, Failed)
    ]


def test_a_topic_that_is_hours_behind_is_not_late_by_the_others_time() -> None:
    both = step()
    assert given(both, batch("a", START_MS + FAR_MS))[1] == []
    behind, late = given(both, batch("b", START_MS))
    assert late == [] and len(behind) == 20
    # By its own partition it is, in either topic, and the other's partition of that number is not.
    assert given(both, batch("a", START_MS))[1] == list(range(20))
    assert given(both, batch("b", START_MS - FAR_MS))[1] == list(range(20))
    assert given(both, batch("b", START_MS, partition=4))[1] == []

    facts: list[dict[str, object]] = []
    tables = []
    for whole in (True, False):
        table, said = both.changed(whole)
        tables.append(table)
        facts.append(said)
    resumed = step()
    resumed.restore(tables, facts[-1])
    for one in (both, resumed):
        assert given(one, batch("b", START_MS + HOUR_MS))[1] == []
        assert given(one, batch("a", START_MS + HOUR_MS))[1] == list(range(20))
    for topic, at_ms in (("a", START_MS + FAR_MS), ("b", START_MS + HOUR_MS)):
        expected = given(both, batch(topic, at_ms))
        np.testing.assert_array_equal(given(resumed, batch(topic, at_ms))[0], expected[0])


def test_what_was_saved_of_one_topic_is_taken_for_that_of_the_first() -> None:
    one = step()
    given(one, batch("a", START_MS + FAR_MS))
    table, facts = one.changed(True)
    for name in ("topics", "watermarks_of_others"):
        del facts[name]
    resumed = step()
    resumed.restore([table], facts)
    assert given(resumed, batch("a", START_MS))[1] == list(range(20))
    assert given(resumed, batch("b", START_MS))[1] == []
