"""`python -m benchmarks.drift`: false alarms a million examples, and the delay after a change.

The error of an example is |label - chance|, of a model whose chances are right until the change:
chances are drawn from a beta distribution, labels by them. At the change a share of the labels
turns into its opposite. Streams are seeded; the figures are those of docs/learning.md.
"""

import sys
import time

import numpy as np
from numpy.typing import NDArray

from streamrec.models.learning.adwin import Adwin

STREAMS = 20
QUIET = 100_000  # examples of each stream without a change
BEFORE = 2_000  # the window's examples when the change comes
AFTER = 10_000
SHARES = (0.05, 0.1, 0.2, 0.4)


def errors(rng: np.random.Generator, n: int, turned: float) -> NDArray[np.float64]:
    """(n,) of examples of which a share has the opposite label."""
    chances = rng.beta(0.5, 1.5, n)
    labels = rng.random(n) < chances
    labels ^= rng.random(n) < turned
    return np.abs(labels - chances)


def false_alarms() -> tuple[int, float]:
    """In all quiet streams, and seconds for an example."""
    told, began_s = 0, time.perf_counter()
    for seed in range(STREAMS):
        drift = Adwin()
        values = errors(np.random.default_rng(seed), QUIET, 0.0).tolist()
        told += sum(drift.update(value) for value in values)
    return told, (time.perf_counter() - began_s) / (STREAMS * QUIET)


def delays(turned: float) -> list[int | None]:
    """By stream, examples from the change to when it was told; None: never."""
    found: list[int | None] = []
    for seed in range(STREAMS):
        rng = np.random.default_rng(1_000 + seed)
        drift = Adwin()
        for value in errors(rng, BEFORE, 0.0).tolist():
            drift.update(value)
        after = errors(rng, AFTER, turned).tolist()
        found.append(next((n + 1 for n, value in enumerate(after) if drift.update(value)), None))
    return found


def main() -> None:
    say = sys.stdout.write
    told, cost_s = false_alarms()
    million = STREAMS * QUIET / 1e6
    say(f"false alarms: {told / million:.1f} a million examples ({told} in {million:g} million)\n")
    say(f"cost: {cost_s * 1e6:.1f} us an example\n")
    for share in SHARES:
        found = delays(share)
        seen = sorted(each for each in found if each is not None)
        rise = errors(np.random.default_rng(7), 100_000, share).mean()
        usual = errors(np.random.default_rng(7), 100_000, 0.0).mean()
        say(
            f"{share:.0%} of labels turned (mean error {usual:.3f} to {rise:.3f}): told in "
            f"{len(seen)} of {len(found)}, after {int(np.median(seen))} examples (median), "
            f"{seen[-1]} (most)\n"
        )


if __name__ == "__main__":
    main()
