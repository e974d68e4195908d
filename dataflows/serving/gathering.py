"""Inputs of several topics, put together by key: what an ensemble is asked with."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from streamrec.connectors.log import Headers
from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.job.encoding import Records
from streamrec.dataflows.job.topics import Topic
from streamrec.dataflows.serving.outputs import REQUEST_ID, to_json
from streamrec.dataflows.serving.pipelines import Gather
from streamrec.dataflows.steps.held import Answered, Original, Output, TimedRecord, Timer
from streamrec.dataflows.steps.in_time import InEventTime
from streamrec.dataflows.steps.records import ShardRecords, ShardTicks
from streamrec.schemas.reasons import Reason

if TYPE_CHECKING:  # steps run without the engine, which a job wires
    from streamrec.dataflows.job.job import Job

_FIELD = "gathered"
_LATE_MS_MAX = 10_000


class GatherByKey(InEventTime):
    """The keys of one shard. Each key has groups, in the order in which they were opened: a record
    goes to the first that has none of its topic, and opens one where there is none. So the n-th
    record of one topic meets the n-th of another, as far as all come.

    A group goes out when it is whole, or when its window ends: with null for what is missing, or
    each of its records to `errors`.
    """

    def __init__(self, job: "Job", names: Mapping[str, str], gather: Gather, target: Topic) -> None:
        """`names` say what the values of a topic are called, by the name of its row; records of
        other topics are another's."""
        within_ms = round(gather.within_s * 1000)
        super().__init__(job, late_ms=min(within_ms, _LATE_MS_MAX))
        self._names = names
        self._all = sorted(set(names.values()))
        self._within_ms = within_ms
        self._fails = gather.missing == "error"
        self._target = target

    @override
    def update(self, items: list[ShardRecords | ShardTicks]) -> list[Any]:
        """All inputs come to each model, which says nothing of those that are another's: they may
        be too late here too."""
        said = super().update(items)
        return [each for each in said if not isinstance(each, Failed) or each.topic in self._names]

    def on_record(self, record: TimedRecord) -> Iterator[Output | Failed]:
        name = self._names.get(record.source.name)
        if name is None:
            return
        groups = self.values.get(record.key) or []
        group = next((each for each in groups if name not in each["values"]), None)
        if group is None:
            place = f"{record.topic}/{record.partition}/{record.offset}"
            group = {"id": place, "due": record.time_ms + self._within_ms, "values": {}}
            groups.append(group)
        group["values"][name] = record.value
        if len(group["values"]) == len(self._all):
            self.cancel(record.key, group["id"])
            groups.remove(group)
            yield self._said(record, group)
        elif self._fails or len(group["values"]) == 1:
            self.call(record, group["due"], group["id"])
        self._keep(record.key, groups)

    def on_timer(self, timer: Timer) -> Iterator[Output | Failed]:
        record = timer.record
        groups = self.values.get(record.key) or []
        group = next((each for each in groups if each["id"] == timer.name), None)
        if group is None:
            return
        if not self._fails:
            groups.remove(group)
            yield self._said(record, group)
        else:
            missing = [name for name in self._all if name not in group["values"]]
            yield record.fail(
                Reason.INVALID_VALUE,
                f"inputs expected a record of {', '.join(missing)} of the same key within "
                f"{self._within_ms / 1000:g} s, got none",
            )
            group["told"] = group.get("told", 0) + 1
            if group["told"] == len(group["values"]):
                groups.remove(group)
        self._keep(record.key, groups)

    def _said(self, record: TimedRecord, group: Mapping[str, Any]) -> Output:
        fields = {_FIELD: {name: group["values"].get(name) for name in self._all}}
        return Output(self._target, record, "", 0, fields)

    def _keep(self, key: str, groups: Sequence[Any]) -> None:
        if groups:
            self.values.put(key, groups)
        else:
            self.values.remove(key)


def gathered_columns() -> Callable[[list[Any]], Iterator[Records]]:
    """What is written of the groups: JSON under the key, with the headers and the time of the
    record at which the group went out."""

    def columns(outputs: list[Output]) -> Iterator[Records]:
        records = [output.record for output in outputs]
        yield Records(
            {},
            Answered(records),
            np.arange(len(records)),
            keys=[record.key.encode() for record in records],
            values=[to_json(output.fields[_FIELD]).encode() for output in outputs],
            headers=[_headers(record) for record in records],
            times_ms=np.array([record.time_ms for record in records], np.int64),
        )

    return columns


def _headers(record: TimedRecord) -> Headers:
    original = record.original
    headers = list(original.headers) if isinstance(original, Original) else []
    if all(name != REQUEST_ID for name, _ in headers):
        place = f"{record.topic}/{record.partition}/{record.offset}"
        headers.append((REQUEST_ID, place.encode()))
    return headers


__all__ = ["GatherByKey", "gathered_columns"]
