"""What feeds what in a dataflow, as text and as a Mermaid diagram, without connecting to anything.

    print(describe(on_paper("dataflows.scoring")[1]).text())

Branches and merges are not boxes of the picture but the way its arrows run, so they are shown as
arrows. Of a branch's two streams the second, for which its predicate is false, carries the branch's
name in brackets: that is how `job.parts` names them.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bytewax.dataflow import Dataflow, Operator, Port

from streamrec.dataflows.job.topics import TOPICS, Topic

Kind = Literal["source", "step", "sink"]

_KINDS: dict[str, Kind] = {"input": "source", "output": "sink"}
# Shapes of Mermaid: a log is a cylinder, what keeps state a box with double sides.
_SHAPES = {"source": '[("{}")]', "sink": '[("{}")]', "step": '["{}"]', "state": '[["{}"]]'}


@dataclass(frozen=True, slots=True)
class Arrow:
    """One box feeds another. `labels` are the branches on whose named side it lies, in order."""

    start: str
    end: str
    labels: tuple[str, ...] = ()

    def label(self) -> str:
        return f" ({', '.join(self.labels)})" if self.labels else ""


@dataclass(frozen=True, slots=True)
class Box:
    """A source, step or sink; `state` is the name under which recovery keeps a step's state."""

    name: str
    kind: Kind
    state: str | None = None
    topic: Topic | None = None  # of a source or sink

    def line(self) -> str:
        title = f"{self.kind.capitalize()}: {self.name}"
        topic = self.topic
        if topic is not None:
            key = topic.key_field or topic.key_doc
            return f"{title} (key: {key}, value: {topic.schema_place})"
        return f"{title} (state by key: {self.state!r})" if self.state else title

    def mermaid(self) -> str:
        shape = "state" if self.state else self.kind
        return self.mermaid_id() + _SHAPES[shape].format(self.name)

    def mermaid_id(self) -> str:
        return f"{self.kind}_{re.sub('[^a-zA-Z0-9]+', '_', self.name)}"


@dataclass(frozen=True, slots=True)
class Topology:
    """The boxes of a dataflow in the order in which it is wired, and its arrows."""

    name: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]

    def text(self) -> str:
        """As Kafka Streams' `Topology.describe` prints it: what each box feeds, and is fed by."""
        lines = [f"Dataflow: {self.name}"]
        for box in self.boxes:
            lines.append(f"  {box.line()}")
            lines += [f"    --> {a.end}{a.label()}" for a in self.arrows if a.start == box.name]
            lines += [f"    <-- {a.start}{a.label()}" for a in self.arrows if a.end == box.name]
        return "\n".join(lines) + "\n"

    def mermaid(self) -> str:
        """A flowchart for a Markdown page."""
        ids = {box.name: box.mermaid_id() for box in self.boxes}
        lines = ["flowchart LR", *(f"    {box.mermaid()}" for box in self.boxes)]
        for arrow in self.arrows:
            label = f'|"{", ".join(arrow.labels)}"|' if arrow.labels else ""
            lines.append(f"    {ids[arrow.start]} -->{label} {ids[arrow.end]}")
        return "\n".join(lines) + "\n"


def describe(flow: Dataflow, topics: Sequence[Topic] = TOPICS) -> Topology:
    """Walk a dataflow. A step that holds several inputs has an arrow from each. `topics` are rows
    beside our own.

    >>> import bytewax.operators as op
    >>> from bytewax.testing import TestingSink, TestingSource
    >>> flow = Dataflow("doubling")
    >>> numbers = op.input("numbers", flow, TestingSource([1]))
    >>> doubled = op.map("double", numbers, lambda n: 2 * n)
    >>> op.output("doubled", doubled, TestingSink([]))
    >>> print(describe(flow).text(), end="")
    Dataflow: doubling
      Source: numbers
        --> double
      Step: double
        --> doubled
        <-- numbers
      Sink: doubled
        <-- double
    """
    every = (*topics, *TOPICS)
    rows = {step: topic for topic in every for step in (topic.read_step, topic.write_step)}
    boxes: list[Box] = []
    arrows: list[Arrow] = []
    # By stream, the boxes that it comes from and the branches on whose named side it lies.
    origins: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    for step in flow.substeps:
        sources = [
            origin for stream in _streams(step, step.ups_names) for origin in origins[stream]
        ]
        operator = type(step).__name__
        if operator == "merge":
            origins |= dict.fromkeys(_streams(step, step.dwn_names), sources)
        elif operator == "branch":
            (trues,), (falses,) = (_streams(step, [port]) for port in ("trues", "falses"))
            origins[trues] = sources
            origins[falses] = [(box, (*labels, step.step_name)) for box, labels in sources]
        else:
            kind = _KINDS.get(operator, "step")
            state = step.step_id if _keeps_state(step) else None
            topic = None if kind == "step" else rows.get(step.step_name)
            boxes.append(Box(step.step_name, kind, state, topic))
            arrows += [Arrow(box, step.step_name, labels) for box, labels in sources]
            own = [(step.step_name, ())]
            origins |= {stream: list(own) for stream in _streams(step, step.dwn_names)}
    return Topology(flow.flow_id, tuple(boxes), tuple(arrows))


def _streams(step: Operator, ports: list[str]) -> list[str]:
    return list(_stream_ids([getattr(step, port) for port in ports]))


def _stream_ids(ports: list[Port | Any]) -> Iterator[str]:
    for port in ports:
        if isinstance(port, Port):  # an input's only port is the dataflow itself, not a stream
            yield from port.stream_ids.values()


def _keeps_state(step: Operator) -> bool:
    """Whether a step is, or is made of, the one operator of the engine that keeps state."""
    return type(step).__name__ == "stateful_batch" or any(map(_keeps_state, step.substeps))
