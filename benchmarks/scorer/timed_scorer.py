"""Where the CPU time of the scorer goes: its steps, and what is done to each record within them.

    python -m benchmarks.scorer.timed_scorer WARM_EVENTS OUT.json

Steps are clocked by `benchmarks.timed_flow`, in CPU time of the worker's thread. Within them each
call of what reads, checks, asks and writes a record is clocked too; what the clock itself takes is
measured and taken off. It runs without a recovery directory.
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
from streamrec.dataflows.job import encoding
from streamrec.dataflows.serving import decode, outputs
from streamrec.dataflows.serving.inputs import ModelInputs
from streamrec.models.serving.calling import CallPredictor
from streamrec.models.serving.trained.sklearn_file import SklearnEngine

# What is clocked within a step, and what is left of that step then.
PARTS = {
    "parse": "rest of decode",
    "check in": "rest of score",
    "call": "rest of score",
    "check out": "rest of score",
    "key and headers of inputs": "rest of encode",
    "write JSON": "rest of encode",
    "headers of who answered": "rest of encode",
    "headers of the source": "rest of encode",
}
_CALLED: dict[str, tuple[Any, str]] = {
    "parse": (decode, "parse_record"),
    "call": (SklearnEngine, "ask"),
    "key and headers of inputs": (ModelInputs, "details"),
    "write JSON": (outputs, "_values"),
    "headers of who answered": (outputs, "_joined"),
    "headers of the source": (encoding, "with_ids"),
}
_OF_A_CALL = {"check in": "_take", "call": "_one", "check out": "_give"}
_KINDS = {  # of steps by the first word of their names
    "read": "poll",
    "decode": "rest of decode",
    "score": "rest of score",
    "encode": "rest of encode",
    "write": "produce",
}
_CALIBRATION_CALLS = 100_000


@dataclass
class Counter:
    """Nanoseconds in a part, and calls of it."""

    ns: int = 0
    calls: int = 0

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same callable, counted."""
        now = time.thread_time_ns

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
    start = time.thread_time_ns()
    for number in numbers:
        call(number)
    return time.thread_time_ns() - start


def _kind(step: str) -> str:
    """What a step does, without the names of its model and topics.

    >>> _kind("decode iris:1:0"), _kind("write my-outputs (sink) snapshot"), _kind("engine")
    ('rest of decode', 'snapshots', 'engine')
    """
    return "snapshots" if step.endswith(" snapshot") else _KINDS.get(step.split(" ")[0], step)


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
        """As of the steps, by what they do; of a step that has parts, what is left of it."""
        report = super().report()
        events, cost = report["events"], Cost.measured()
        us: dict[str, float] = {}
        for step, step_us in report["us"].items():
            kind = _kind(step)
            us[kind] = us.get(kind, 0.0) + step_us
        for part, step in PARTS.items():
            counter = self.parts[part]
            if counter.calls and step in us:
                us[part] = (counter.ns - counter.calls * cost.within) / 1e3 / events
                us[step] -= us[part] + counter.calls * cost.whole / 1e3 / events
        return {**report, "us": us}

    def count_parts(self) -> None:
        """Put counters into what this process will call."""
        for part, (owner, name) in _CALLED.items():
            setattr(owner, name, self.parts[part].around(getattr(owner, name)))
        made, parts = CallPredictor.__init__, self.parts

        def counted(predictor: Any, *arguments: Any, **named: Any) -> None:
            made(predictor, *arguments, **named)
            for part, name in _OF_A_CALL.items():
                setattr(predictor, name, parts[part].around(getattr(predictor, name)))

        setattr(CallPredictor, "__init__", counted)  # noqa: B010  # which mypy would refuse


def main(warm_events: int, out: Path) -> None:
    clock = PartClock(warm_events)
    clock.count_parts()
    flow = timed_flow(scorer.flow(), clock)
    run_main(flow)  # type: ignore[no-untyped-call]  # bytewax leaves it so
    out.write_text(json.dumps(clock.report()))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
