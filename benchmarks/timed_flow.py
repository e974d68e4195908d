"""CPU time of a dataflow by step: every callable of its operators, wrapped in a clock.

    python -m benchmarks.timed_flow MODULE WARM_EVENTS OUT.json

Runs the dataflow of a module on this thread, as the environment says, until it ends or SIGTERM asks
it to. What is measured begins once its sources have emitted WARM_EVENTS messages. What is left of
the thread's time is the engine's; what is left of the process's, that of the client's threads.
"""

import dataclasses
import importlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from bytewax.testing import run_main
from typing_extensions import override


@dataclass
class Clock:
    """CPU seconds of the worker's thread, and calls, by step, since the end of the warm-up."""

    warm_events: int
    events: int = 0  # emitted by the sources in all
    seconds: dict[str, float] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    thread_s: float = 0.0
    process_s: float = 0.0

    def timed(self, step: str, call: Callable[..., Any], *arguments: Any) -> Any:
        start = time.thread_time()
        result = call(*arguments)
        self.seconds[step] = self.seconds.get(step, 0.0) + time.thread_time() - start
        self.calls[step] = self.calls.get(step, 0) + 1
        return result

    def emitted(self, batches: list[Any]) -> None:
        was_warm = self.events >= self.warm_events
        self.events += sum(map(len, batches))
        if not was_warm and self.events >= self.warm_events:
            self.warm_events = self.events
            self.seconds.clear()
            self.calls.clear()
            self.thread_s, self.process_s = time.thread_time(), time.process_time()

    def report(self) -> dict[str, Any]:
        """us of CPU per event and calls by step; `engine` and `client threads` are what is left."""
        events = max(self.events - self.warm_events, 1)
        thread_s = time.thread_time() - self.thread_s
        process_s = time.process_time() - self.process_s
        seconds = {
            **self.seconds,
            "engine": thread_s - sum(self.seconds.values()),
            "client threads": process_s - thread_s,
        }
        return {
            "events": events,
            "us": {step: used * 1e6 / events for step, used in seconds.items()},
            "calls": self.calls,
        }


@dataclass
class _TimedPart(StatefulSourcePartition[Any, Any]):
    part: StatefulSourcePartition[Any, Any]
    name: str
    clock: Clock

    @override
    def next_batch(self) -> Any:
        batches = self.clock.timed(self.name, self.part.next_batch)
        if batches:
            self.clock.emitted(batches)
        return batches

    @override
    def next_awake(self) -> datetime | None:
        return self.part.next_awake()

    @override
    def snapshot(self) -> Any:
        return self.clock.timed(f"{self.name} snapshot", self.part.snapshot)

    @override
    def close(self) -> None:
        self.part.close()


@dataclass
class _TimedSource(FixedPartitionedSource[Any, Any]):
    source: FixedPartitionedSource[Any, Any]
    name: str
    clock: Clock

    @override
    def list_parts(self) -> list[str]:
        return self.source.list_parts()

    @override
    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> _TimedPart:
        part = self.source.build_part(step_id, for_part, resume_state)
        return _TimedPart(part, self.name, self.clock)


@dataclass
class _TimedLane(StatefulSinkPartition[Any, Any]):
    part: StatefulSinkPartition[Any, Any]
    name: str
    clock: Clock

    @override
    def write_batch(self, values: list[Any]) -> None:
        self.clock.timed(self.name, self.part.write_batch, values)

    @override
    def snapshot(self) -> Any:
        return self.clock.timed(f"{self.name} snapshot", self.part.snapshot)

    @override
    def close(self) -> None:
        self.part.close()


@dataclass
class _TimedSink(FixedPartitionedSink[Any, Any]):
    sink: FixedPartitionedSink[Any, Any]
    name: str
    clock: Clock

    @override
    def list_parts(self) -> list[str]:
        return self.sink.list_parts()

    @override
    def part_fn(self, item_key: str) -> int:
        return self.sink.part_fn(item_key)

    @override
    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> _TimedLane:
        part = self.sink.build_part(step_id, for_part, resume_state)
        return _TimedLane(part, self.name, self.clock)


@dataclass
class _TimedLogic(StatefulBatchLogic[Any, Any, Any]):
    logic: StatefulBatchLogic[Any, Any, Any]
    name: str
    clock: Clock

    @override
    def on_batch(self, values: list[Any]) -> Any:
        return self.clock.timed(self.name, self.logic.on_batch, values)

    @override
    def on_notify(self) -> Any:
        return self.clock.timed(self.name, self.logic.on_notify)

    @override
    def on_eof(self) -> Any:
        return self.clock.timed(self.name, self.logic.on_eof)

    @override
    def notify_at(self) -> datetime | None:
        return self.logic.notify_at()

    @override
    def snapshot(self) -> Any:
        return self.clock.timed(f"{self.name} snapshot", self.logic.snapshot)


def timed_flow(flow: Dataflow, clock: Clock) -> Dataflow:
    """The same dataflow, in place, with each step's callable in a clock."""
    for index, step in enumerate(flow.substeps):
        name, own = step.step_name, vars(step)
        wrapped: dict[str, Any] = {}
        if "source" in own:
            wrapped["source"] = _TimedSource(own["source"], name, clock)
        elif "sink" in own:
            wrapped["sink"] = _TimedSink(own["sink"], f"{name} (sink)", clock)
        elif "builder" in own:
            wrapped["builder"] = _timed_builder(own["builder"], name, clock)
        elif "mapper" in own:
            wrapped["mapper"] = _timed_mapper(own["mapper"], name, clock)
        flow.substeps[index] = dataclasses.replace(step, **wrapped)
    return flow


def _timed_mapper(mapper: Callable[..., Any], name: str, clock: Clock) -> Callable[..., Any]:
    return lambda batch: clock.timed(name, mapper, batch)


def _timed_builder(builder: Callable[..., Any], name: str, clock: Clock) -> Callable[..., Any]:
    return lambda resume: _TimedLogic(builder(resume), name, clock)


def main(module: str, warm_events: int, out: Path) -> None:
    clock = Clock(warm_events)
    flow = timed_flow(importlib.import_module(module).flow(), clock)
    run_main(flow)  # type: ignore[no-untyped-call]  # bytewax leaves it so
    out.write_text(json.dumps(clock.report()))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
