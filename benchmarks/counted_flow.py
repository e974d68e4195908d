"""CPU time that a main job spends on being seen: what counts, and what answers who looks.

    python -m benchmarks.counted_flow WARM_EVENTS OUT.json

Runs the main job as the environment says, until it ends. What is measured begins once WARM_EVENTS
were read. The clock around each call is counted with it.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bytewax.testing import run_main

from streamrec.dataflows import recommender
from streamrec.dataflows.engine.epoch_times import EpochTimes
from streamrec.dataflows.job.report import Report
from streamrec.services.metrics.served import Pages

_CALLS: tuple[tuple[type[Any], str], ...] = (
    (Report, "read"),
    (Report, "wrote"),
    (Report, "failed"),
    (EpochTimes, "closing"),
    (EpochTimes, "closed"),
    (EpochTimes, "saved"),
)


@dataclass
class _Spent:
    warm_events: int
    counting_s: float = 0.0
    counted: int = 0  # calls
    answering_s: float = 0.0
    read: int = 0
    began_s: float | None = None  # of the process; None: it is not warm

    def timed(self, call: Callable[..., Any], is_counting: bool = True) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            start = time.thread_time()
            result = call(*arguments, **named)
            took_s = time.thread_time() - start
            if self.began_s is not None and is_counting:
                self.counting_s += took_s
                self.counted += 1
            elif self.began_s is not None:
                self.answering_s += took_s
            return result

        return called

    def watching(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(report: Any, topic: str, batches: Any, *rest: Any) -> Any:
            self.read += sum(map(len, batches))
            if self.began_s is None and self.read >= self.warm_events:
                self.began_s = time.process_time()
            return call(report, topic, batches, *rest)

        return called


def main(warm_events: int, out: Path) -> None:
    spent = _Spent(warm_events)
    for owner, name in _CALLS:
        setattr(owner, name, spent.timed(getattr(owner, name)))
    Pages.page = spent.timed(Pages.page, is_counting=False)  # type: ignore[method-assign]
    Report.read = spent.watching(Report.read)  # type: ignore[method-assign]  # to know when it is warm
    run_main(recommender.flow())  # type: ignore[no-untyped-call]  # bytewax leaves it so
    assert spent.began_s is not None
    whole_s = time.process_time() - spent.began_s
    found = {
        "counting": spent.counting_s / whole_s,
        "answering": spent.answering_s / whole_s,
        "us": spent.counting_s * 1e6 / spent.counted,
    }
    out.write_text(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
