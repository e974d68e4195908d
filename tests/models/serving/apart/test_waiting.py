"""Halves of a batch that failed, until the culprit is alone."""

import math
import random

import pytest

from streamrec.models.serving.apart.sizes import BatchSize
from streamrec.models.serving.apart.waiting import Run, WaitingRecords


def filled(count: int) -> WaitingRecords[int]:
    waiting: WaitingRecords[int] = WaitingRecords()
    for record in range(count):
        waiting.add(record)
    return waiting


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64, 500])
def test_one_culprit_costs_at_most_one_failed_call_for_each_halving_and_order_is_kept(
    count: int,
) -> None:
    for culprit in range(0, count, max(1, count // 40)):
        waiting = filled(count)
        order: list[int] = []
        failed = 0
        while len(waiting):
            run = waiting.take(count)
            if culprit not in run.records:
                order += run.records
                waiting.answered(run)
                continue
            failed += 1
            if run.records == [culprit]:
                order.append(culprit)
            else:
                waiting.failed(run)
        assert order == list(range(count))
        assert failed <= math.ceil(math.log2(count)) + 1


def test_any_number_of_culprits_is_found_and_order_is_kept() -> None:
    seed = random.randrange(10**9)
    print("seed", seed)  # noqa: T201  # it reproduces a failure
    chance = random.Random(seed)
    for _ in range(200):
        count = chance.randint(1, 60)
        culprits = set(chance.sample(range(count), chance.randint(0, min(count, 6))))
        waiting = filled(count)
        order: list[int] = []
        while len(waiting):
            run = waiting.take(chance.randint(1, 20))
            if chance.random() < 0.2:
                waiting.back([run])
            elif len(run.records) == 1 or not culprits & set(run.records):
                order += run.records
                waiting.answered(run)
            elif chance.random() < 0.5:
                waiting.failed(run)
            else:
                waiting.failed_at(run, chance.randrange(len(run.records)))
        assert order == list(range(count))


def test_the_second_half_is_halved_at_once_when_the_first_was_answered() -> None:
    waiting = filled(8)
    waiting.failed(waiting.take(8))
    first = waiting.take(8)
    waiting.answered(first)
    assert (first.records, waiting.take(8).records) == ([0, 1, 2, 3], [4, 5])


def test_new_records_wait_behind_what_is_left_of_a_failed_batch() -> None:
    waiting = filled(2)
    waiting.failed(waiting.take(2))
    waiting.add(2)
    assert waiting.suspects
    assert [waiting.take(9).records for _ in range(3)] == [[0], [1], [2]]
    assert not waiting.suspects


def test_runs_that_come_back_are_in_front() -> None:
    waiting = filled(5)
    first, second = waiting.take(2), waiting.take(2)
    waiting.back([first, second])
    assert waiting.take(9).records == [0, 1, 2, 3, 4]
    assert len(waiting) == 0


def test_a_record_that_is_done_with_leaves_its_neighbours() -> None:
    waiting: WaitingRecords[int] = WaitingRecords()
    waiting.around(Run([4, 5, 6]), 1)
    assert [waiting.take(9).records for _ in range(2)] == [[4], [6]]


def test_batches_shrink_when_the_model_becomes_slow_and_never_to_nothing() -> None:
    size = BatchSize(cut_s=0.1)
    for _ in range(12):
        size.answered(size.records, took_s=1e-5 * size.records, sent_bytes=100 * size.records)
    assert size.records > 1000
    for _ in range(20):
        size.answered(size.records, took_s=0.05 * size.records, sent_bytes=100 * size.records)
    assert size.records == 2
    size.killed()
    assert size.records == 1


def test_large_inputs_come_in_small_batches() -> None:
    size = BatchSize(cut_s=0.1)
    for _ in range(30):
        size.answered(size.records, took_s=1e-6 * size.records, sent_bytes=size.records << 20)
    assert size.records == 16
