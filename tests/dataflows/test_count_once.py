"""A click that was sent twice under one id counts once, over batches, stops and redrives."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

from streamrec.connectors.log import Detail, Headers, Outgoing, RawBatch
from streamrec.dataflows.errors.failed import Failed, Origins
from streamrec.dataflows.errors.redrive import HEADER
from streamrec.dataflows.job.topics import IMPRESSIONS, OUTCOMES, make_all
from streamrec.dataflows.steps.batches import ShardClicks
from streamrec.dataflows.steps.count_once import CountOnce
from streamrec.services.ingress.app import IngressApp
from streamrec.services.ingress.settings import IngressSettings
from tests.connectors.log_reading import wait_until
from tests.dataflows.click_batches import START_MS, click, make_decode, raw_batch
from tests.dataflows.main_job import MainJob, places, reasons_by_place
from tests.services.http.serving import served

ONCE_S = 600
Sent = tuple[str, str | None, int]  # user, id, seconds after the start


def batch_of(sent: Sequence[Sent], first: int = 0, headers: Headers | None = None) -> RawBatch:
    """One partition's clicks, from an offset on; `headers` are those of all beside the id."""
    values = [
        click(user_id=user, timestamp=START_MS + 1_000 * after_s) for user, _, after_s in sent
    ]
    # The log's own times, that no event is ahead of.
    times_ms = [START_MS + 10_000_000] * len(sent)
    plain = raw_batch(values, 0, range(first, first + len(sent)), times_ms)

    def detail(index: int) -> Detail:
        event_id = sent[index][1]
        own: Headers = [] if event_id is None else [("event-id", event_id.encode())]
        return Detail(None, [("other", b"1"), *own, *(headers or [])], times_ms[index])

    return replace(plain, detail=detail)


def shards_of(*batches: RawBatch) -> list[ShardClicks]:
    """As `decode` makes them, all in one shard."""
    found = [each for each in make_decode(1)(list(batches)) if isinstance(each, ShardClicks)]
    assert found
    return found


def passed(step: CountOnce, *batches: RawBatch) -> tuple[list[int], list[int]]:
    """Offsets that went on, and those that failed."""
    good: list[int] = []
    failed: list[int] = []
    for each in step.update(shards_of(*batches)):
        if isinstance(each, Failed):
            assert each.reason == "repeated"
            failed.append(each.offset)
        else:
            good += each.clicks.offsets[each.rows].tolist()
    return good, failed


def test_an_id_counts_once_for_each_user_within_its_window() -> None:
    step = CountOnce(ONCE_S)
    sent: list[Sent] = [("u1", "a", 0), ("u2", "a", 0), ("u1", "a", 1), ("u1", None, 2)]
    assert passed(step, batch_of(sent)) == ([0, 1, 3], [2])
    later: list[Sent] = [("u1", "a", 600), ("u1", "b", 600), ("u1", "a", 601)]
    assert passed(step, batch_of(later, 4)) == ([5, 6], [4])


def test_batches_without_headers_go_on_as_they_are_without_a_look_at_each() -> None:
    def refuse(index: int) -> Detail:
        raise AssertionError("expected no look at a message")

    batch = replace(batch_of([("u1", None, 0)]), headed=list)
    (clicks,) = shards_of(batch)
    clicks.clicks.origins.batches[0] = replace(batch, detail=refuse)  # type: ignore[index]  # it is a list
    assert CountOnce(ONCE_S).update([clicks]) == [clicks]


def test_what_a_shard_has_seen_survives_a_restart_and_the_way_between_processes() -> None:
    first, parts = CountOnce(ONCE_S), []
    passed(first, batch_of([("u1", "a", 0)]))
    parts.append(first.changed(whole=True))
    passed(first, batch_of([("u1", "b", 1)], 1))
    parts.append(first.changed(whole=False))
    again = CountOnce(ONCE_S)
    again.restore([table for table, _ in parts], parts[-1][1])
    assert passed(again, batch_of([("u1", "a", 2), ("u1", "c", 2), ("u1", "b", 2)], 2)) == (
        [3],
        [2, 4],
    )
    origins = Origins([batch_of([("u1", None, 0), ("u1", "a", 0), ("u1", "b", 0)])])
    make, arguments = origins.__reduce__()
    assert make(*arguments).event_ids() == origins.event_ids() == {1: b"a", 2: b"b"}


def test_a_click_that_was_put_back_counts_and_one_that_was_repeated_does_not() -> None:
    """The first failed in a later step and is redriven; so is its repetition."""
    step = CountOnce(ONCE_S)
    assert passed(step, batch_of([("u1", "a", 0), ("u1", "a", 0)])) == ([0], [1])
    redriven = [
        batch_of([("u1", "a", 0)], at, [(HEADER, b"clicks/0/%d" % of)])
        for at, of in ((2, 0), (3, 1), (4, 2), (5, 0))
    ]
    assert [passed(step, each) for each in redriven] == [
        ([2], []),
        ([], [3]),
        ([4], []),  # it failed once more
        ([], [5]),
    ]


def test_ids_are_not_looked_at_where_the_setting_is_0() -> None:
    assert passed(CountOnce(0), batch_of([("u1", "a", 0), ("u1", "a", 0)])) == ([0, 1], [])


def test_the_main_job_answers_a_click_that_came_twice_once(
    make_job: Callable[..., MainJob],
) -> None:
    job = make_job()
    headers: Headers = [("event-id", b"1")]
    one, *_ = job.send(
        [
            (Outgoing(b"u1", job.encode(), headers), None),
            (Outgoing(b"u1", job.encode(), headers), "repeated"),
            (Outgoing(b"u2", job.encode(user_id="u2"), headers), None),
            (Outgoing(b"u1", job.encode()), None),
        ]
    )
    job.run()
    assert places(job.recommendations()) == dict.fromkeys(job.sent.good(), 1)
    assert reasons_by_place(job.errors()) == job.sent.reasons
    (error,) = job.errors()
    assert (
        f"got b'1' again, which is at {error.fields['topic']}/{one[0]}/{one[1]} ("
        in (error.fields["message"])
    )


def test_a_click_that_two_ingresses_took_at_once_counts_once(
    make_job: Callable[..., MainJob],
) -> None:
    """Neither can know of the other's: both write it."""
    job = make_job()
    make_all(job.log, {job.settings.topic(topic): topic for topic in (IMPRESSIONS, OUTCOMES)})
    event = {"user_id": "u1", "item_id": "i1", "event_type": "view", "event_id": "e1"}
    with ExitStack() as stack:
        clients = [
            stack.enter_context(served(IngressApp(job.log, IngressSettings(), job.settings).http))
            for _ in range(2)
        ]
        for client in clients:
            wait_until(lambda c=client: c.get("/health/ready").status_code == 200)  # type: ignore[misc]
        pool = stack.enter_context(ThreadPoolExecutor(2))
        answers = pool.map(lambda client: client.post("/clicks", json=event).json(), clients)
        stands = {(answer["partition"], answer["offset"]) for answer in answers}
    assert len(stands) == 2
    job.run()
    (answered,), (error,) = job.recommendations(), job.errors()
    assert error.fields["reason"] == "repeated"
    assert {answered.place, error.place} == stands
