"""The main job: clicks in, recommendations and errors out, learning from each click.

    clicks ─▶ decode ─▶ user features ─▶ recommend ─▶ encode recommendations ─▶ recommendations
                │             │              │ └────▶ encode sessions ────────▶ sessions
                └─ bad ───────┴─ late ───────┴─ failed ─▶ encode errors ──────▶ errors

- `clicks`: key user_id, value `schemas/clicks.avsc`; event time in Unix milliseconds.
- `recommendations`: key user_id, value `schemas/recommendations.avsc`; one record for each click
  that asks for one (setting `recommend_on`).
- `errors`: key of the original, value `schemas/errors.avsc`; one record for each click that failed.
- `sessions`: key writer, value `schemas/sessions.avsc`; what other processes, and the next start,
  learn their session indexes from.

Run it with `python -m bytewax.run dataflows.recommender`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow, Stream
from bytewax.inputs import Source
from bytewax.operators import KeyedStream
from bytewax.outputs import Sink

from streamrec.connectors.log import RawBatch
from streamrec.connectors.sink import Out
from streamrec.dataflows.engine import steady_process
from streamrec.dataflows.steps.batches import Failed, ShardClicks
from streamrec.dataflows.steps.decode import Decoded
from streamrec.dataflows.steps.recommend import Learned, Recommended

FLOW_ID = "recommender"


@dataclass(frozen=True, slots=True)
class Steps:
    """What each box of the picture does."""

    decode: Callable[[list[RawBatch]], list[Decoded]]
    user_features: Callable[[Any], Any]  # builds a shard, or resumes it from its snapshot
    recommend: Callable[[Any], Any]
    encode_recommendations: Callable[[list[Any]], list[Any]]
    encode_sessions: Callable[[list[Any]], list[Any]]
    encode_errors: Callable[[list[Any]], list[Any]]


@dataclass(frozen=True, slots=True)
class Sinks:
    """Where each topic of the picture goes; all take `(lane, Out)`."""

    recommendations: Sink[tuple[str, Out]]
    sessions: Sink[tuple[str, Out]]
    errors: Sink[tuple[str, Out]]


def build_flow(clicks: Source[RawBatch], sinks: Sinks, steps: Steps) -> Dataflow:
    """Wire the picture above."""
    flow = Dataflow(FLOW_ID)
    raw = op.input("clicks", flow, clicks)
    decoded = op.flat_map_batch("decode", raw, steps.decode)
    clicks_by_shard, bad = split_failed("bad", decoded)

    featured = op.stateful_batch("user features", clicks_by_shard, steps.user_features)
    featured_by_shard, late = split_failed("late", featured)

    answered = op.stateful_batch("recommend", featured_by_shard, steps.recommend)
    answers, failed = split_failed("failed", answered)
    recommended, learned = split_learned("learned", answers)

    encoded = op.flat_map_batch("encode recommendations", recommended, steps.encode_recommendations)
    out, unencodable = split_failed("unencodable", encoded)
    op.output("recommendations", out, sinks.recommendations)

    shared = op.flat_map_batch("encode sessions", learned, steps.encode_sessions)
    op.output("sessions", shared, sinks.sessions)

    all_failed = op.merge("all failed", bad, late, failed, unencodable)
    errors = op.flat_map_batch("encode errors", all_failed, steps.encode_errors)
    op.output("errors", errors, sinks.errors)
    return flow


def split_failed(step_id: str, up: Stream[Any]) -> tuple[KeyedStream[Any], KeyedStream[Failed]]:
    """Part what failed (second) from the rest (first)."""
    parts = op.branch(step_id, up, lambda keyed: not isinstance(keyed[1], Failed))
    return parts.trues, parts.falses


def split_learned(
    step_id: str, up: Stream[Any]
) -> tuple[KeyedStream[Recommended], KeyedStream[Learned]]:
    """Part what is for other processes to learn (second) from the answers (first)."""
    parts = op.branch(step_id, up, lambda keyed: not isinstance(keyed[1], Learned))
    return parts.trues, parts.falses


def flow() -> Dataflow:
    """The main job on real connectors, as the settings say."""
    from streamrec.dataflows.job.assembly import recommender_flow

    built = recommender_flow()
    steady_process.settle()
    return built


__all__ = ["FLOW_ID", "ShardClicks", "Sinks", "Steps", "build_flow", "flow"]
