"""Where the CPU time of the scorer goes: its steps, and what is done to each record within them.

    python -m benchmarks.scorer.timed_scorer WARM_EVENTS OUT.json

Steps are clocked by `benchmarks.timed_flow`, in CPU time of the worker's thread. Within them each
call of what reads, checks, asks and writes a record is clocked too; what the clock itself takes is
measured beforehand and taken off. It runs without a recovery directory.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bytewax.testing import run_main
from typing_extensions import override

from benchmarks.timed_flow import Clock, timed_flow
from streamrec.dataflows import scorer
from streamrec.dataflows.serving import decode, outputs
from streamrec.models.serving.calling import CallPredictor
from streamrec.models.serving.trained.sklearn_file import SklearnEngine

# What is clocked within a step: the beginning of the step's name, and of what.
PARTS = {
    "parse": "decode",
    "check in": "score",
    "call": "score",
    "check out": "score",
    "write JSON": "encode",
    "headers": "encode",
}
_CALIBRATION_CALLS = 100_000


@dataclass
class Counter:
    """Nanoseconds in a part, and calls of it."""

    ns: int = 0
    calls: int = 0

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same callable, counted."""
        now = time.perf_counter_ns

        def counted(*arguments: Any) -> Any:
            start = now()
            result = call(*arguments)
            self.ns += now() - start
            self.calls += 1
            return result

        return counted


@dataclass(frozen=True, slots=True)
class Cost:
    """What counting a call takes, in nanoseconds."""

    within: float  # is in the counter
    whole: float  # with what is not, and is in the step around it

    @classmethod
    def measured(cls) -> "Cost":
        def nothing(value: int) -> int:
            return value

        counter = Counter()
        bare_ns, counted_ns = (
            min(_ns_of(call) for _ in range(5)) / _CALIBRATION_CALLS
            for call in (nothing, counter.around(nothing))
        )
        within = counter.ns / counter.calls
        return cls(within, counted_ns - bare_ns)


def _ns_of(call: Callable[[int], int]) -> int:
    numbers = range(_CALIBRATION_CALLS)
    start = time.perf_counter_ns()
    for number in numbers:
        call(number)
    return time.perf_counter_ns() - start


@dataclass
class PartClock(Clock):
    """The clock of the steps, and counters of the parts that begin anew with it."""

    parts: dict[str, Counter] = field(default_factory=lambda: {part: Counter() for part in PARTS})

    @override
    def emitted(self, batches: list[Any]) -> None:
        was_warm = self.events >= self.warm_events
        super().emitted(batches)
        if not was_warm and self.events >= self.warm_events:
            for counter in self.parts.values():
                counter.ns = counter.calls = 0

    @override
    def report(self) -> dict[str, Any]:
        """As of the steps; a step that has parts is what is left of it: `score, the rest`."""
        cost, report = Cost.measured(), super().report()
        us, events = report["us"], report["events"]
        for part, begins in PARTS.items():
            counter = self.parts[part]
            step = next((name for name in us if name.split(" ")[0] == begins), None)
            if step is None or not counter.calls:
                continue
            part_us = max(counter.ns - counter.calls * cost.within, 0) / 1e3 / events
            us[part] = part_us
            us[step] -= part_us + counter.calls * cost.whole / 1e3 / events
        return report

    def count_parts(self) -> None:
        """Put counters into what this process will call."""
        parts = self.parts
        decode.parse_record = parts["parse"].around(decode.parse_record)
        outputs._values = parts["write JSON"].around(outputs._values)
        outputs._joined = parts["headers"].around(outputs._joined)
        SklearnEngine.ask = parts["call"].around(SklearnEngine.ask)  # type: ignore[method-assign]
        made = CallPredictor.__init__

        def counted(predictor: Any, *arguments: Any, **named: Any) -> None:
            made(predictor, *arguments, **named)
            predictor._take = parts["check in"].around(predictor._take)
            predictor._one = parts["call"].around(predictor._one)
            predictor._give = parts["check out"].around(predictor._give)

        CallPredictor.__init__ = counted  # type: ignore[method-assign]  # of this process only


def main(warm_events: int, out: Path) -> None:
    clock = PartClock(warm_events)
    clock.count_parts()
    flow = timed_flow(scorer.flow(), clock)
    run_main(flow)  # type: ignore[no-untyped-call]  # bytewax leaves it so
    out.write_text(json.dumps(clock.report()))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
