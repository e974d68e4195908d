"""Inputs of several topics, put together by key: what an ensemble is asked with."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.job.encoding import Records
from streamrec.dataflows.job.topics import Topic
from streamrec.dataflows.serving.outputs import REQUEST_ID, SOURCE, to_json
from streamrec.dataflows.serving.pipelines import Gather
from streamrec.dataflows.steps.held import Answered, Original, Output, TimedRecord, Timer
from streamrec.dataflows.steps.in_time import InEventTime
from streamrec.schemas.columns import VALUE, strings
from streamrec.schemas.reasons import Reason

if TYPE_CHECKING:  # steps run without the engine, which a job wires
    from streamrec.dataflows.job.job import Job

_FIELD = "gathered"


class GatherByKey(InEventTime):
    """The keys of one shard. Each key has groups, in the order in which they were opened: a record
    goes to the first that has none of its topic, and opens one where there is none. So the n-th
    record of one topic meets the n-th of another, as far as all come.

    A group goes out when it is whole, or when its window ends: with null for what is missing, or
    each of its records to `errors`.
    """

    def __init__(
        self, job: "Job", names: Mapping[str, str], gather: Gather, target: Topic
    ) -> None:
        """`names` say what the values of each topic (as it is called in the row) are called."""
        super().__init__(job)
        self._names = names
        self._within_ms = round(gather.within_s * 1000)
        self._fails = gather.missing == "error"
        self._target = target

    def on_record(self, record: TimedRecord) -> Iterator[Output | Failed]:
        name = self._names[record.source.name]
        groups = self.values.get(record.key) or []
        group = next((g for g in groups if name not in g["values"]), None)
        if group is None:
            place = f"{record.topic}/{record.partition}/{record.offset}"
            group = {"id": place, "due": record.time_ms + self._within_ms, "values": {}}
            groups.append(group)
        group["values"][name] = record.value
        if len(group["values"]) == len(set(self._names.values())):
            self.cancel(record.key, group["id"])
            groups.remove(group)
            yield self._said(record, group)
        elif self._fails or len(group["values"]) == 1:
            self.call(record, group["due"], group["id"])
        self._keep(record.key, groups)

    def on_timer(self, timer: Timer) -> Iterator[Output | Failed]:
        record = timer.record
        groups = self.values.get(record.key) or []
        group = next((g for g in groups if g["id"] == timer.name), None)
        if group is None:
            return
        if not self._fails:
            groups.remove(group)
            yield self._said(record, group)
        else:
            missing = sorted({*self._names.values()} - {*group["values"]})
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
        value = {name: group["values"].get(name) for name in self._names.values()}
        return record.output(self._target, **{_FIELD: value})

    def _keep(self, key: str, groups: Sequence[Any]) -> None:
        if groups:
            self.values.put(key, groups)
        else:
            self.values.remove(key)


def gathered_columns(target: Topic) -> Callable[[list[Any]], Iterator[Records]]:
    """What is written of the groups: JSON under the key, with the headers of the record at which
    the group went out."""

    def columns(outputs: list[Output]) -> Iterator[Records]:
        records = [output.record for output in outputs]
        headers = []
        for record in records:
            place = f"{record.topic}/{record.partition}/{record.offset}".encode()
            original = record.original
            given = original.headers if isinstance(original, Original) else []
            own = [header for header in given if header[0] != SOURCE]
            if all(name != REQUEST_ID for name, _ in own):
                own.append((REQUEST_ID, place))
            headers.append([*own, (SOURCE, place)])
        yield Records(
            {
                target.key_column: strings([record.key for record in records]),
                VALUE: strings([to_json(output.fields[_FIELD]) for output in outputs]),
            },
            Answered(records),
            np.arange(len(records)),
            headers=headers,
        )

    return columns


__all__ = ["GatherByKey", "gathered_columns"]
