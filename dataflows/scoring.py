"""Purchase propensity: each click gives the user's window counts and the odds of buying.

    clicks ─▶ decode ─▶ user features ─▶ score ─▶ encode scores ─▶ scores
                │             │             │           │
                └─ bad ───────┴─ late ──────┴─ failed ──┴─ unencodable ─▶ encode errors ─▶ errors

- `clicks`: key user_id, value `schemas/clicks.avsc`; event time in Unix milliseconds.
- `scores`: key user_id, value `schemas/scores.avsc`; one record for each click.
- `errors`: key of the original, value `schemas/errors.avsc`; one record for each click that failed.

The main job without sessions and candidates: what a team needs that has a model of its own over
event-time features, and the path that `./justw bench` measures against a bare Kafka client. After a
crash, clicks read since the last snapshot are scored again.

Run it with `python -m bytewax.run dataflows.scoring`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from streamrec.connectors.log import RawBatch
from streamrec.connectors.sink import Out
from streamrec.dataflows.engine import steady_process
from streamrec.dataflows.recommender import split_failed
from streamrec.dataflows.steps.decode import Decoded

FLOW_ID = "scoring"


@dataclass(frozen=True, slots=True)
class Steps:
    """What each box of the picture does."""

    decode: Callable[[list[RawBatch]], list[Decoded]]
    user_features: Callable[[Any], Any]  # builds a shard, or resumes it from its snapshot
    score: Callable[[list[Any]], list[Any]]
    encode_scores: Callable[[list[Any]], list[Any]]
    encode_errors: Callable[[list[Any]], list[Any]]


@dataclass(frozen=True, slots=True)
class Sinks:
    """Where each topic of the picture goes; both take `(lane, Out)`."""

    scores: Sink[tuple[str, Out]]
    errors: Sink[tuple[str, Out]]


def build_flow(clicks: Source[RawBatch], sinks: Sinks, steps: Steps) -> Dataflow:
    """Wire the picture above."""
    flow = Dataflow(FLOW_ID)
    raw = op.input("clicks", flow, clicks)
    decoded = op.flat_map_batch("decode", raw, steps.decode)
    clicks_by_shard, bad = split_failed("bad", decoded)

    featured = op.stateful_batch("user features", clicks_by_shard, steps.user_features)
    featured_by_shard, late = split_failed("late", featured)

    scored = op.flat_map_batch("score", featured_by_shard, steps.score)
    scored_by_batch, failed = split_failed("failed", scored)

    encoded = op.flat_map_batch("encode scores", scored_by_batch, steps.encode_scores)
    out, unencodable = split_failed("unencodable", encoded)
    op.output("scores", out, sinks.scores)

    all_failed = op.merge("all failed", bad, late, failed, unencodable)
    errors = op.flat_map_batch("encode errors", all_failed, steps.encode_errors)
    op.output("errors", errors, sinks.errors)
    return flow


def flow() -> Dataflow:
    """Scoring on real connectors, as the settings say."""
    from streamrec.dataflows.job.scoring_assembly import scoring_flow

    built = scoring_flow()
    steady_process.settle()
    return built


__all__ = ["FLOW_ID", "Sinks", "Steps", "build_flow", "flow"]
