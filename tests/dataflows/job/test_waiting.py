"""What waits for its answer, saved and taken again."""

import pickle
from concurrent.futures import Future
from typing import Any, NamedTuple

import numpy as np

from streamrec.connectors.allowance import Allowance
from streamrec.connectors.log import Detail, RawBatch
from streamrec.dataflows.engine.sealing import is_whole
from streamrec.dataflows.errors.failed import Origins
from streamrec.dataflows.job.later import AskLater
from streamrec.schemas.reasons import Reason

DETAILS = [Detail(b"a", [("trace", b"1"), ("none", None)], 7), Detail(None, [], -1)]


class Question(NamedTuple):
    batch: RawBatch

    def raw(self) -> list[RawBatch]:
        return [self.batch]


def batch(first_offset: int = 5) -> RawBatch:
    times_ms = np.array([detail.timestamp_ms for detail in DETAILS], np.int64)
    offsets = np.array([first_offset, first_offset + 3], np.int64)
    return RawBatch("hard", 2, offsets, [b"xy", None], DETAILS.__getitem__, times_ms)


def test_a_restart_asks_again_with_all_that_a_record_carried() -> None:
    asked: list[RawBatch] = []

    def ask(question: Question) -> "Future[list[Any]]":
        asked.append(question.batch)
        return Future()

    later = AskLater(ask, lambda batches: [Question(each) for each in batches])
    waiting = later.shard(None)
    assert waiting.snapshot() is None
    assert waiting.take([Question(batch())]) == []

    resumed = later.shard(pickle.loads(pickle.dumps(waiting.snapshot())))

    assert resumed.pending == 1
    before, again = asked
    assert (again.topic, again.partition, again.values) == ("hard", 2, [b"xy", None])
    assert again.offsets.tolist() == before.offsets.tolist()
    assert again.times_ms.tolist() == before.times_ms.tolist()
    assert [again.detail(index) for index in range(2)] == DETAILS


def test_answers_come_in_the_order_in_which_they_were_asked_for() -> None:
    futures: list[Future[list[Any]]] = [Future(), Future()]
    left = list(futures)
    later = AskLater(lambda question: left.pop(0) if left else ["third"], lambda batches: batches)
    waiting = later.shard(None)
    assert waiting.take([Question(batch()), Question(batch(9)), Question(batch(20))]) == []
    futures[1].set_result(["second"])
    assert waiting.ready() == []
    futures[0].set_result(["first"])
    assert waiting.ready() == ["first", "second", "third"]
    assert waiting.snapshot() is None


def test_what_is_answered_at_once_waits_for_nothing() -> None:
    waiting = AskLater(lambda question: ["known"], lambda batches: batches).shard(None)
    assert waiting.take([Question(batch())]) == ["known"]
    assert waiting.pending == 0


def test_a_record_that_cannot_be_decoded_any_more_fails_and_its_neighbour_is_asked_again() -> None:
    def again(batches: list[RawBatch]) -> list[Any]:
        failed = Origins(batches).fail(1, Reason.UNDECODABLE, "value expected text, got null")
        return [failed, Question(batches[0])]

    first = AskLater(lambda question: Future(), again).shard(None)
    first.take([Question(batch())])
    resumed = AskLater(lambda question: ["answered"], again).shard(first.snapshot())
    failed, answered = resumed.ready()
    assert (failed.offset, failed.reason, answered) == (8, "undecodable", "answered")


def test_a_snapshot_that_was_altered_is_told_from_a_whole_one() -> None:
    waiting = AskLater(lambda question: Future(), lambda batches: batches).shard(None)
    waiting.take([Question(batch())])
    snapshot = waiting.snapshot()
    assert snapshot is not None
    assert is_whole(snapshot)
    assert not is_whole({**snapshot, "waiting": snapshot["waiting"][:-1] + b"?"})


def test_sources_are_told_what_waits() -> None:
    allowance, future = Allowance(records_max=3), Future[list[Any]]()
    later = AskLater(lambda question: future, lambda batches: batches, {"hard": allowance})
    waiting = later.shard(None)
    waiting.take([Question(batch())])
    assert allowance.unanswered() == {2: 5}
    assert allowance.share("worker", 0, 9, [1] * 9) == 1
    future.set_result([])
    waiting.ready()
    assert allowance.is_idle()
