"""Memory of the session index in a run that reaches its bounds, and goes on for as long again.

    python -m benchmarks.index_plateau [--items 5000] [--sessions 1048576] [--clicks 12000000]

Clicks fall on all items alike, in sessions of six: the least that can be foreseen, and the most
pairs and sessions that an item can have. So it shows what the bounds allow, and how soon.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from streamrec.models.sessions.numbered import NumberedSessions
from streamrec.models.sessions.recommender import SessionRecommender
from streamrec.models.sessions.weights import Bounds
from streamrec.schemas.columns import Bytes

CLICKS_A_SESSION = 6
_STEP = 3_000  # sessions learned in one go
_ROWS = 24


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4_096


def next_sessions(rng: np.random.Generator, first: int, items: int) -> NumberedSessions:
    """Every click of some sessions, each with the clicks before it."""
    own = rng.integers(0, items, (_STEP, CLICKS_A_SESSION), np.int32)
    lengths = np.tile(np.arange(1, CLICKS_A_SESSION + 1), _STEP)
    bounds = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=bounds[1:])
    inside = np.tril_indices(CLICKS_A_SESSION)[1]
    return NumberedSessions(
        keys=np.repeat(np.arange(first, first + _STEP), CLICKS_A_SESSION),
        items=np.ascontiguousarray(own[:, inside].ravel()),
        times_ms=np.zeros(int(bounds[-1]), np.int64),
        bounds=bounds,
        positions=lengths.astype(np.int32),
        user_features=np.zeros((len(lengths), 0), np.float32),
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.index_plateau", description=__doc__)
    parser.add_argument("--items", type=int, default=5_000)
    parser.add_argument("--sessions", type=int, default=Bounds().sessions_max)
    parser.add_argument("--clicks", type=int, default=2 * CLICKS_A_SESSION * Bounds().sessions_max)
    given = parser.parse_args()
    rng = np.random.default_rng(1)
    model = SessionRecommender(Bounds(sessions_max=given.sessions))
    names = [b"item-%07d" % number for number in range(given.items)]
    width = len(names[0])
    ids = Bytes(
        np.frombuffer(bytearray(b"".join(names)), np.uint8),
        np.arange(given.items) * width,
        np.full(given.items, width),
    )
    model.items.numbers(rng.integers(1, 2**62, given.items), ids, add=True)
    start = resident_bytes()
    sys.stdout.write(f"{'clicks':>12}{'index MB':>10}{'process MB':>12}{'bytes a click':>15}\n")
    clicks, shown_mb, shown_clicks = 0, 0.0, 0
    per_row = given.clicks // _ROWS
    while clicks < given.clicks:
        model.learn(next_sessions(rng, clicks // CLICKS_A_SESSION, given.items))
        clicks += _STEP * CLICKS_A_SESSION
        if clicks - shown_clicks >= per_row:
            mb = (resident_bytes() - start) / 1e6
            growth = (mb - shown_mb) * 1e6 / (clicks - shown_clicks)
            sys.stdout.write(
                f"{clicks:12,}{model.bytes_used / 1e6:10.1f}{mb:12.1f}{growth:15.1f}\n"
            )
            sys.stdout.flush()
            shown_mb, shown_clicks = mb, clicks
    return 0


if __name__ == "__main__":
    sys.exit(main())
