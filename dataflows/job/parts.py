"""The building blocks between reading and writing: a step for each batch, one for each shard, and
one that answers later.

Plain functions over the engine's operators, not operators of their own: step ids, saved state and
the printed topology are what they would be without them.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Stream
from bytewax.operators import KeyedStream

from streamrec.dataflows.engine.leaving import leaving
from streamrec.dataflows.engine.wrapping import EngineLater, EngineShard, Later, Shard
from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.job.later import AskLater

ERRORS_KEY = "errors"  # what failed needs no shard


@dataclass(frozen=True, slots=True)
class Parts:
    """What a step emitted: what is good, and the records that failed, for `Job.write_errors`."""

    good: KeyedStream[Any]
    failed: KeyedStream[Failed]


# What comes of a batch of items, in order. Items that name a `shard` go to it in `by_shard`.
Step = Callable[[list[Any]], Iterable[Any]]
# Makes a shard of a step, from what its snapshot held; None: it is new.
Build = Callable[[str, Any], Shard]


def each_batch(step_id: str, up: Stream[Any], step: Step, *, failing: str) -> Parts:
    """Call `step` with what has come: a list of items, from any partitions and shards.

    It returns an iterable of items and `Failed`s. It may be called for several batches at once
    and keeps nothing from one call to the next. What it raises stops the flow: a record's own fault
    is a `Failed` (`clicks.fail(row, Reason.X, message)`).

        scored = each_batch("score", featured.good, score, failing="failed")
    """

    def run(batch: list[Any]) -> list[tuple[str, Any]]:
        return keyed(finished(step_id, step(without_keys(batch))))

    return split_failed(failing, op.flat_map_batch(step_id, up, leaving(run)))


def by_shard(step_id: str, up: KeyedStream[Any], build: Build, *, failing: str) -> Parts:
    """Call the logic of each shard with its items, in order; its state is resumed after a stop.

    `build` is `Job.keep(make)`, whose state goes to files, or a function of its own, called with
    the step id and what the shard's `snapshot()` said (None: a new shard), that returns an object
    with `on_batch(items) -> items` and `snapshot()`.

        counted = by_shard("count", clicks.good, job.keep(CountCarts), failing="late")
    """

    def built(resume: Any) -> EngineShard:
        return EngineShard(leaving(build)(step_id, resume), lambda items: finished(step_id, items))

    return split_failed(failing, op.stateful_batch(step_id, up, built))


def answer_later(step_id: str, up: KeyedStream[Any], answers: AskLater, *, failing: str) -> Parts:
    """Ask for an answer to each item, and emit it when it has come: in order for each shard, and
    without holding up the worker, an epoch or a stop. What waits is saved, and asked again after a
    restart.

    `answers` is `Job.later(ask, again)`. `ask` is called with one item and returns either a list,
    of what comes of it, or a future of such a list (anything with `done()` and `result()`).

        pool = ThreadPoolExecutor(8)
        looked_up = answer_later(
            "look up",
            orders.good,
            job.later(lambda order: pool.submit(look_up, order), again=decode),
            failing="unknown",
        )
    """

    def built(resume: Any) -> EngineLater:
        return EngineLater(
            leaving(answers.shard)(resume), lambda items: finished(step_id, items), answers.stopping
        )

    return split_failed(failing, op.stateful_batch(step_id, up, built))


def answer_beside(
    step_id: str,
    up: KeyedStream[Any],
    make: Callable[[], Later],
    end_s: float = 5.0,
    stopping: Callable[[], bool] = lambda: False,
) -> KeyedStream[Any]:
    """Ask somebody who is not waited for: what he says of an item is emitted when it comes, if it
    comes. Nothing is saved; at the end of the input it is waited for as long as `end_s`, and not at
    all when a stop is wanted.

    `make` makes the logic of one shard (`engine.wrapping.Later`).
    """
    # Of all shards of the process: the engine ends one after the other, and a stop has 9 s.
    given_up_at: list[float] = []

    def given_up() -> bool:
        if not given_up_at:
            given_up_at.append(time.monotonic() + end_s)
        return stopping() or time.monotonic() > given_up_at[0]

    def built(resume: Any) -> EngineLater:
        return EngineLater(leaving(make)(), lambda items: finished(step_id, items), given_up)

    return op.stateful_batch(step_id, up, built)


def split_failed(step_id: str, up: KeyedStream[Any]) -> Parts:
    """Part what failed from the rest."""
    parts = op.branch(step_id, up, lambda keyed: not isinstance(keyed[1], Failed))
    return Parts(parts.trues, parts.falses)


def split(
    step_id: str, up: KeyedStream[Any], kind: type[Any]
) -> tuple[KeyedStream[Any], KeyedStream[Any]]:
    """Part the items of a kind (second) from the rest (first)."""
    parts = op.branch(step_id, up, lambda keyed: not isinstance(keyed[1], kind))
    return parts.trues, parts.falses


def finished(step_id: str, items: Iterable[Any]) -> list[Any]:
    """The items, with the name of the step in those that failed."""
    return [
        item.at(step_id) if isinstance(item, Failed) and not item.stage else item for item in items
    ]


def keyed(items: Iterable[Any]) -> list[tuple[str, Any]]:
    """Items under the keys by which the engine moves them: their shards."""
    return [(getattr(item, "shard", ERRORS_KEY), item) for item in items]


def without_keys(batch: Sequence[Any]) -> list[Any]:
    """Items as steps know them."""
    return [item[1] if type(item) is tuple else item for item in batch]


__all__ = [
    "Build",
    "Parts",
    "Step",
    "answer_beside",
    "answer_later",
    "by_shard",
    "each_batch",
    "split",
    "split_failed",
]
