"""Traces through a dataflow: from a header of the record that was read to one of its output.

Of each record that was sampled, by whoever began its trace, there is a span from when it was read
to when its output was handed to the log. Each batch that holds outputs of some has a span, which is
linked with theirs. An input that another process of the cluster had read is not followed.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from streamrec.connectors.log import Headers, RawBatch
from streamrec.connectors.out import Out
from streamrec.services.traces.spans import HEADER, Traces, is_sampled

_FOLLOWED = 100_000  # records that were read and have no output yet; older ones are let go
_LINKS = 128  # of a batch, as OpenTelemetry has it
_VALUE_MAX = 512 * 1_024  # a larger record may have no room for a header

_Place = tuple[str, int, int]  # topic, partition, offset


class _Followed(NamedTuple):
    traceparent: str
    read_ns: int


class FlowTraces:
    """Of one dataflow, in one process."""

    def __init__(self, traces: Traces, flow_id: str) -> None:
        self._traces = traces
        self._flow_id = flow_id
        self._lock = threading.Lock()
        self._followed: OrderedDict[_Place, _Followed] = OrderedDict()

    def read(self, batches: Sequence[RawBatch]) -> None:
        """These were read. Looks at the headers of those that have any."""
        now_ns = time.time_ns()
        for batch in batches:
            for row in batch.with_headers():
                found = traceparent_of(batch.detail(row).headers)
                if found is not None and is_sampled(found):
                    place = (batch.topic, batch.partition, int(batch.offsets[row]))
                    with self._lock:
                        self._followed[place] = _Followed(found, now_ns)
                        if len(self._followed) > _FOLLOWED:
                            self._followed.popitem(last=False)

    def carried(self, topic: str, out: Out) -> Out:
        """The same records, each with a header that goes on with its input's trace. Ends the spans
        of these inputs."""
        if out.sources is None or not self._followed:
            return out
        found: dict[int, _Followed] = {}
        with self._lock:
            for row, each in enumerate(out.sources.ids()):
                followed = self._followed.pop((each.topic, each.partition, each.offset), None)
                if followed is not None:
                    found[row] = followed
        if not found:
            return out
        headers: list[Headers] = [[] for _ in out.values]
        if out.headers is not None:
            headers = [[h for h in each if h[0] != HEADER] for each in out.headers]
        carried = self._ended(topic, len(out.values), list(found.values()))
        for row, traceparent in zip(found, carried, strict=True):
            if len(out.values[row]) <= _VALUE_MAX:
                headers[row].append((HEADER, traceparent.encode()))
        return replace(out, headers=headers)

    def stored(self, where: str, count: int) -> None:
        """So much was put where no headers are: ends the spans of all that was read by then, which
        is put in the order in which it came."""
        with self._lock:
            found, self._followed = list(self._followed.values()), OrderedDict()
        if found:
            self._ended(where, count, found)

    def _ended(self, where: str, count: int, inputs: Sequence[_Followed]) -> list[str]:
        """End the spans of inputs whose output is handed over now, and that of their batch; returns
        the headers with which their traces go on."""
        carried = []
        for followed in inputs:
            facts = {"messaging.destination.name": where}
            span = self._traces.begin(
                self._flow_id,
                followed.traceparent,
                facts,
                began_ns=followed.read_ns,
                kind="CONSUMER",
            )
            span.end()
            carried.append(span.traceparent)
        self._traces.begin(
            f"{self._flow_id} batch",
            None,
            {"messaging.destination.name": where, "messaging.batch.message_count": count},
            links=carried[:_LINKS],
            began_ns=min(each.read_ns for each in inputs),
            kind="PRODUCER",
        ).end()
        return carried


def traceparent_of(headers: Headers) -> str | None:
    """What a record's headers say; None: nothing that is text."""
    for name, value in headers:
        if name == HEADER and value is not None:
            return value.decode("ascii", "replace")
    return None


__all__ = ["FlowTraces", "traceparent_of"]
