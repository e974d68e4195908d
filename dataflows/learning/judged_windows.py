"""The step `windows` of `dataflows.evaluation`: what shards judged, put together by window."""

import json
from collections.abc import Iterator, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from streamrec.dataflows.job.packed import pack, unpack
from streamrec.dataflows.job.topics import METRICS
from streamrec.dataflows.job.values import KeyedValues
from streamrec.dataflows.learning.judge import (
    ALL,
    CORRECTIONS,
    LATE,
    Group,
    Place,
    ShardJudged,
    Sums,
    new_sums,
    window_of,
)
from streamrec.dataflows.learning.plan import LearningKeys, LearningPlan
from streamrec.dataflows.steps.held import Output, TimedRecord
from streamrec.models.judging.intervals import Estimate
from streamrec.models.judging.ranks import RankSums
from streamrec.models.judging.scores import ScoreSums

if TYPE_CHECKING:  # steps run without the engine, which a job wires
    from streamrec.dataflows.job.job import Job


class _Line(NamedTuple):
    """For whom metrics are told."""

    level: str  # version, variant (all its versions) or total (all that was served of a model)
    model: str
    version: str
    variant: str
    segment: str


class JudgedWindows:
    """All shards' sums. A window is told once all shards have passed its end, of scores by as much
    as labels may take; what is judged after that is counted as `late`, in the window of then.

    Shards say what they judged tick by tick, and are taken in tick by tick, so that the same is
    told in every run. A metric is an output to the newest record that it judges.
    """

    def __init__(self, job: "Job", plan: LearningPlan) -> None:
        self._plan = plan
        self._flow_sources = dict(zip(job.inputs, job.sources, strict=True))
        self._shards = job.settings.shards
        self._tick_ms = round(job.settings.tick_s * 1000)
        self._sums = KeyedValues()
        self._open: dict[tuple[str, int], set[str]] = {}  # by pipeline and start, keys of `_sums`
        self._reached: dict[str, int] = {}  # by shard, its last tick
        self._until_ms: dict[str, int] = {}
        self._waiting: dict[int, list[ShardJudged]] = {}  # by tick, until all come to it
        self._now_ms = 0

    # What `job.keep` asks for.

    def update(self, items: list[ShardJudged]) -> list[Output]:
        """The metrics of the windows that close."""
        for each in items:
            self._reached[each.by] = max(each.tick, self._reached.get(each.by, -1))
            self._waiting.setdefault(each.tick, []).append(each)
        if len(self._reached) < self._shards:
            return []
        done = min(self._reached.values())
        out: list[Output] = []
        for tick in sorted(each for each in self._waiting if each <= done):
            for judged in sorted(self._waiting.pop(tick), key=lambda each: each.by):
                self._take_in(judged)
            out += self._close()
        return out

    def changed(self, whole: bool) -> tuple[pa.Table, dict[str, Any]]:
        return pack({"values": self._sums.changed(whole)}), {
            "reached": self._reached,
            "until_ms": self._until_ms,
            "now_ms": self._now_ms,
            "waiting": [
                [each.shard, each.by, each.tick, each.until_ms, each.sums]
                for _, of_tick in sorted(self._waiting.items())
                for each in of_tick
            ],
        }

    def restore(self, tables: Sequence[pa.Table], facts: dict[str, Any]) -> None:
        self._sums.restore(unpack(tables, "values"))
        self._reached, self._until_ms = dict(facts["reached"]), dict(facts["until_ms"])
        self._now_ms = facts["now_ms"]
        for shard, by, tick, until_ms, sums in facts["waiting"]:
            plain = [
                Sums(Group(*group), each, (place[0], place[1], place[2], place[3]))
                for group, each, place in sums
            ]
            self._waiting.setdefault(tick, []).append(ShardJudged(shard, by, tick, until_ms, plain))
        for key in self._sums:
            group = Group(*json.loads(key))
            self._open.setdefault((group.pipeline, group.start_ms), set()).add(key)

    # In between.

    def _take_in(self, judged: ShardJudged) -> None:
        if judged.until_ms is not None:
            self._until_ms[judged.by] = judged.until_ms
        for group, sums, place in judged.sums:
            keys = self._plan.of(group.pipeline)
            if keys is None:  # it was, when this was judged
                continue
            if self._closes_ms(keys, group.start_ms) <= self._now_ms:
                start_ms = window_of(keys, self._now_ms)
                late = Group(group.pipeline, start_ms, LATE, *group[3:7], ALL)
                if group.segment == ALL:
                    self._add(keys, late, {"of": sums["of"]}, place)
                continue
            self._add(keys, group, sums, place)

    def _add(self, keys: LearningKeys, group: Group, sums: dict[str, Any], place: Place) -> None:
        key = json.dumps(group)
        before = self._sums.get(key)
        if before is not None:
            sums, place = _merged(keys, group, [before[0], sums]), max(place, tuple(before[1]))
        self._sums.put(key, [sums, list(place)])
        self._open.setdefault((group.pipeline, group.start_ms), set()).add(key)

    def _close(self) -> Iterator[Output]:
        """Tell the windows whose time has come."""
        if self._until_ms:
            self._now_ms = max(self._now_ms, min(self._until_ms.values()))
        for pipeline, start_ms in sorted(self._open):
            keys = self._plan.of(pipeline)
            if keys is not None and self._closes_ms(keys, start_ms) > self._now_ms:
                continue
            members = sorted(self._open.pop((pipeline, start_ms)))
            if keys is not None:
                yield from self._told(keys, start_ms, members)
            for key in members:
                self._sums.remove(key)

    def _closes_ms(self, keys: LearningKeys, start_ms: int) -> int:
        """Labels come as late as their window says, and by the way that they take: until the
        labeller waited for what is out of order, and two ticks."""
        end_ms = start_ms + round(keys.evaluation.window_s * 1000)
        if keys.is_recommender:
            return end_ms
        return end_ms + keys.labels.window_ms + keys.labels.late_ms + 2 * self._tick_ms

    def _told(self, keys: LearningKeys, start_ms: int, members: list[str]) -> Iterator[Output]:
        lines: dict[tuple[_Line, str], tuple[list[dict[str, Any]], Place]] = {}
        for key in members:
            group = Group(*json.loads(key))
            sums, place = self._sums.get(key)
            for line in _lines_of(group):
                found, newest = lines.get((line, group.what), ([], tuple(place)))
                lines[line, group.what] = [*found, sums], max(newest, tuple(place))
        for (line, what), (parts, place) in sorted(lines.items(), key=lambda item: item[0]):
            for segment, metric, told in _metrics(keys, line.segment, what, parts):
                if isfinite(told.value):
                    yield self._output(keys, start_ms, line, segment, metric, told, place)

    def _output(
        self,
        keys: LearningKeys,
        start_ms: int,
        line: _Line,
        segment: str,
        metric: str,
        told: Estimate,
        place: Place,
    ) -> Output:
        time_ms, topic, partition, offset = place
        source = self._flow_sources[topic]
        record = TimedRecord(
            topic, partition, offset, line.model, time_ms, None, lambda _: None, source
        )
        return record.output(
            METRICS,
            f"{line.level} {segment} {metric}",
            pipeline=keys.pipeline,
            model=line.model,
            version=line.version,
            variant=line.variant,
            segment=segment,
            metric=metric,
            value=told.value,
            low=told.low,
            high=told.high,
            count=told.answers,
            window_start=start_ms,
            window_end=start_ms + round(keys.evaluation.window_s * 1000),
        )


def _lines_of(group: Group) -> list[_Line]:
    """Where a group counts: what was only compared, in no total."""
    is_served = group.mode == "served"
    variant = group.variant or ("" if is_served else group.mode)
    lines = [_Line("version", group.model, group.version, variant, group.segment)]
    if is_served:
        lines.append(_Line("total", group.model, "", "", group.segment))
        if variant:
            lines.append(_Line("variant", group.model, "", variant, group.segment))
    return lines


def _metrics(
    keys: LearningKeys, segment: str, what: str, parts: list[dict[str, Any]]
) -> Iterator[tuple[str, str, Estimate]]:
    """Segment, metric and estimate of sums."""
    if what in (CORRECTIONS, LATE):
        count = sum(part["of"] for part in parts)
        yield segment, what, Estimate(float(count), None, None, count)
        return
    sums = _sum_of(keys, what, parts)
    for metric, told in sums.metrics():
        yield segment, metric, told
    if isinstance(sums, RankSums) and segment == ALL:
        largest = max(keys.evaluation.k)
        for position, told in sums.of_positions():
            yield f"position={position}", f"hit_rate@{largest}", told


def _merged(keys: LearningKeys, group: Group, parts: list[dict[str, Any]]) -> dict[str, Any]:
    if group.what in (CORRECTIONS, LATE):
        return {"of": sum(part["of"] for part in parts)}
    return _sum_of(keys, group.what, parts).plain()


def _sum_of(keys: LearningKeys, what: str, parts: list[dict[str, Any]]) -> ScoreSums | RankSums:
    sums = new_sums(keys, what)
    for part in parts:
        sums.merge(part)
    return sums


__all__ = ["JudgedWindows"]
