"""Makes offers at a steady rate, and tells a moment later what came of each, as a page would.

offers ─▶ the topic of offers (JSON; key user_id; header streamrec-request-id)
   └ a moment later ─▶ outcomes (Avro; what was taken is told; what was not is silence)
"""

import heapq
import json
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from streamrec.connectors.log import Log, Outgoing
from streamrec.connectors.making_topics import subject_of
from streamrec.dataflows.serving.request_ids import REQUEST_ID
from streamrec.schemas.json_codec import JsonEncoder
from streamrec.shop.learning.offers import Offers

_STEP_S = 0.05
_FLUSH_S = 60.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How offers are made."""

    rate: int  # a second
    before_s: float  # until tastes shift
    after_s: float  # from then on
    outcome_s: tuple[float, float]  # an outcome comes so long after its offer, evenly drawn


@dataclass(frozen=True, slots=True)
class Told:
    """When what happened, Unix milliseconds, and how much."""

    began_ms: int
    shifted_ms: int
    ended_ms: int
    offers: int
    outcomes: int


def send_offers(
    log: Log,
    topic: str,
    outcomes: str,
    offers: Offers,
    pace: Pace,
    seed: int,
    still: Callable[[], bool] = lambda: True,
) -> Told:
    """Make offers in real time until the end of the pace, or `still` says no."""
    with closing(log.registry()) as registry:
        registered = registry.latest(subject_of(outcomes))
    encode = JsonEncoder(registered.schema, registered.id).encode
    delays = np.random.default_rng([seed, 1])
    waiting: list[tuple[float, str, str]] = []  # outcomes, by when they happen (Unix s)
    began_s = time.time()
    shift_s, end_s = began_s + pace.before_s, began_s + pace.before_s + pace.after_s
    shifted_ms, made, told = 0, 0, 0
    with closing(log.writer()) as writer:
        while (now_s := time.time()) < end_s and still():
            if not shifted_ms and now_s >= shift_s:
                offers.shift()
                shifted_ms = round(1000 * now_s)
            due = int((now_s - began_s) * pace.rate) - made
            records = []
            for offered in offers.made(max(due, 0)):
                request = f"offer-{made}"
                made += 1
                records.append(
                    Outgoing(
                        offered.offer["user_id"].encode(),
                        json.dumps(offered.offer).encode(),
                        [(REQUEST_ID, request.encode())],
                    )
                )
                if offered.taken:
                    at_s = now_s + float(delays.uniform(*pace.outcome_s))
                    heapq.heappush(waiting, (at_s, request, offered.offer["user_id"]))
            writer.write(topic, records)
            happened = []
            while waiting and waiting[0][0] <= now_s:
                at_s, request, user = heapq.heappop(waiting)
                happened.append(_outcome(encode, request, user, round(1000 * at_s)))
            told += len(happened)
            writer.write(outcomes, happened)
            writer.flush(_FLUSH_S)
            time.sleep(max(0.0, now_s + _STEP_S - time.time()))
        rest = [_outcome(encode, who, user, round(1000 * at)) for at, who, user in sorted(waiting)]
        writer.write(outcomes, rest)
        writer.flush(_FLUSH_S)
    return Told(
        round(1000 * began_s), shifted_ms, round(1000 * time.time()), made, told + len(rest)
    )


def _outcome(
    encode: Callable[[dict[str, object]], bytes], request: str, user: str, at_ms: int
) -> Outgoing:
    record: dict[str, object] = {
        "recommendation_id": request,
        "user_id": user,
        "item_id": None,
        "kind": "taken",
        "value": 1.0,
        "weight": None,
        "timestamp": at_ms,
    }
    return Outgoing(request.encode(), encode(record))


__all__ = ["Pace", "Told", "send_offers"]
