"""Which version answers which offset: told by first offsets, and by nothing else."""

import random

import numpy as np

from streamrec.dataflows.learning.model_events import ModelEvent
from streamrec.dataflows.serving.swap.timeline import LaneVersions, ModelVersion, Timeline
from streamrec.dataflows.serving.swap.told import ToldOfPipeline

ONE, TWO, THREE = (ModelVersion("m", name) for name in ("1", "2", "3"))


def timeline(*begun: tuple[int, ModelVersion]) -> Timeline:
    made = Timeline()
    for first_offset, version in begun:
        made.begin(first_offset, version)
    return made


def offsets(*values: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    return np.array(values, np.int64)


def test_a_batch_is_divided_where_versions_begin_in_it_as_offset_by_offset() -> None:
    for seed in range(200):
        chance = random.Random(seed)
        firsts = sorted(chance.sample(range(40), chance.randint(1, 6)))
        made = timeline(*((first, chance.choice([ONE, TWO, THREE])) for first in firsts))
        batch = sorted(chance.sample(range(50), chance.randint(1, 20)))
        runs = made.runs(offsets(*batch))
        stops = [start for start, _ in runs[1:]] + [len(batch)]
        found = [v for (a, v), b in zip(runs, stops, strict=True) for _ in range(a, b)]
        assert found == [made.at(offset) for offset in batch], seed


def test_what_began_later_at_the_same_offset_or_before_never_answered() -> None:
    made = timeline((0, ONE), (10, TWO), (10, THREE))
    assert [made.at(offset) for offset in (9, 10)] == [ONE, THREE]
    made.begin(5, ONE)
    assert [made.at(offset) for offset in (4, 5, 10)] == [ONE, ONE, ONE]


def test_a_version_begins_only_where_no_run_before_can_have_answered() -> None:
    lane = LaneVersions(timeline((0, ONE)), floor=20)
    assert lane.beginning(offsets(5, 6, 19), TWO) is None
    assert lane.beginning(offsets(18, 23, 25), TWO) == 23
    assert lane.beginning(offsets(18, 23, 25), ONE) is None
    lane.begin(23, TWO)
    lane.answers(25)
    assert lane.beginning(offsets(24, 25), THREE) is None  # it was read again
    assert lane.beginning(offsets(24, 25, 26), THREE) == 26


def test_the_first_version_of_all_begins_at_the_first_input_that_is_read() -> None:
    lane = LaneVersions(Timeline(), floor=20)
    assert lane.beginning(offsets(3, 4), ONE) == 3


def test_after_a_run_that_said_where_it_ended_the_next_begins_there_and_says_so() -> None:
    lane = LaneVersions(timeline((0, ONE)), floor=7, is_closed=True)
    assert lane.beginning(offsets(5, 6), ONE) is None  # answered, perhaps
    assert lane.beginning(offsets(6, 7), ONE) == 7  # the same version: it goes on
    lane.begin(7, ONE)
    assert lane.beginning(offsets(8), ONE) is None


def test_events_of_a_pipeline_are_replayed_in_their_order() -> None:
    told = ToldOfPipeline()

    def event(kind: str, version: str, first: int, previous: str | None = None) -> ModelEvent:
        return ModelEvent(
            "m", version, kind, "me", 0, topic="t", partition=1, first_offset=first,
            previous=previous, pipeline="p",
        )  # fmt: skip

    for each in (
        event("began", "1", 0),
        event("began", "2", 10, "1"),
        event("ended", "2", 15),
        event("taken_back", "2", 20, "1"),
    ):
        told.take(each)
    made = told.timelines["t", 1]
    assert [made.at(offset).version for offset in (9, 10, 19, 20)] == ["1", "2", "2", "1"]
    assert told.ends == {}  # it has gone on
    assert told.taken_back == {TWO}
    assert told.order[-1] == ONE


def test_a_batch_that_goes_back_to_its_first_version_is_not_of_one() -> None:
    made = timeline((0, ONE), (10, TWO), (20, ONE))
    assert not made.is_one(5, 25)
    assert made.is_one(20, 25) and made.is_one(10, 19)
    assert made.runs(offsets(5, 15, 25)) == [(0, ONE), (1, TWO), (2, ONE)]
