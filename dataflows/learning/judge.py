"""The step `judge` of `dataflows.evaluation`: each answer against what came of it, as sums."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from typing_extensions import override

from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.job.topics import CLICKS, RECOMMENDATIONS, TRAINING_EXAMPLES, Topic
from streamrec.dataflows.learning.plan import RECOMMENDER, LearningKeys, LearningPlan
from streamrec.dataflows.steps.held import Output, TimedRecord, Timer
from streamrec.dataflows.steps.in_time import InEventTime
from streamrec.dataflows.steps.records import ShardRecords, ShardTicks
from streamrec.dataflows.steps.shards import shard_name
from streamrec.models.judging.ranks import MISS, RankSums
from streamrec.models.judging.scores import ScoreSums
from streamrec.schemas.reasons import Reason

if TYPE_CHECKING:  # steps run without the engine, which a job wires
    from streamrec.dataflows.job.job import Job

SCORES, RANKS, CORRECTIONS, LATE = "scores", "ranks", "corrections", "late"
ALL, NEW_USERS, NEW_ITEMS = "all", "new_users", "new_items"
_NEW_CLICKS = 5  # a user with at most so many is new
_ITEMS_MAX = 100_000  # of a shard, that are remembered to tell new ones from others

Place = tuple[int, str, int, int]  # event time, topic, partition, offset: the newest is the largest


class Group(NamedTuple):
    """What is summed up together."""

    pipeline: str
    start_ms: int  # of the window
    what: str  # SCORES, RANKS, CORRECTIONS or LATE
    model: str
    version: str
    variant: str  # empty: none
    mode: str  # served or shadow
    segment: str


class _By(NamedTuple):
    """Who answered."""

    model: str
    version: str
    variant: str
    mode: str


class Sums(NamedTuple):
    """Of a group."""

    group: Group
    sums: dict[str, Any]  # `plain` of ScoreSums or RankSums; of CORRECTIONS and LATE, `of` alone
    place: Place  # of the newest record among them


@dataclass(frozen=True, slots=True)
class ShardJudged:
    """All that a shard judged at one tick, for the one who puts the shards together."""

    shard: str  # where they are put together
    by: str  # the shard that judged
    tick: int
    until_ms: int | None  # all before this event time is judged; None: nothing has come yet
    sums: list[Sums]


class JudgeAnswers(InEventTime):
    """The users and requests of one shard.

    - A click of a type that asks for recommendations judges the newest served one of its user, of
      at most `labels.window_s` before. Of a time, clicks are called before recommendations, so none
      is judged by the click that it answers.
    - An example with a score and a label judges the score, in the window of `served_at`. Its
      corrections are counted, and change nothing: what they correct is not kept.

    `values` holds of each user of the last `labels.window_s` the newest recommendation, and the
    items that were clicked, 100,000 of a shard at most: after that nothing counts as new.
    """

    # What is judged may come late, as when another dataflow was away: it counts all the same.
    takes_late: ClassVar[bool] = True

    def __init__(self, job: "Job", plan: LearningPlan) -> None:
        super().__init__(job, late_ms=max(each.evaluation.late_ms for each in plan.models))
        self._plan = plan
        self._shard = ""  # not known before the first items
        self._asks = job.settings.recommend_on
        self._sums: dict[Group, tuple[ScoreSums | RankSums | list[int], Place]] = {}
        self._items = -1  # that are remembered; -1: to be counted
        self._forget_ms = 0
        keys = plan.of(RECOMMENDER)
        self._rank_keys = keys or LearningKeys(pipeline=RECOMMENDER)

    @override
    def update(self, items: list[ShardRecords | ShardTicks]) -> list[Any]:
        self._shard = items[-1].shard
        return super().update(items)

    @override
    def run(self, until_ms: int) -> Iterator[Any]:
        yield from super().run(until_ms)
        sums = [
            Sums(group, {"of": each[0]} if isinstance(each, list) else each.plain(), place)
            for group, (each, place) in sorted(self._sums.items(), key=lambda item: item[0])
        ]
        self._sums.clear()
        seen = until_ms if until_ms > 0 else None
        yield ShardJudged(shard_name(0), self._shard, self.tick, seen, sums)
        if until_ms >= self._forget_ms:
            self._forget(until_ms)

    def on_record(self, record: TimedRecord) -> Iterator[Output | Failed]:
        if record.source is TRAINING_EXAMPLES:
            yield from self._example(record)
        elif record.source is RECOMMENDATIONS:
            self._recommended(record)
        else:
            self._clicked(record)

    def on_timer(self, timer: Timer) -> Iterator[Output | Failed]:
        raise AssertionError("no call is asked for")

    # Scores.

    def _example(self, record: TimedRecord) -> Iterator[Failed]:
        said = record.value
        keys = self._plan.of(said["pipeline"])
        score, label = said["score"], said["label"]
        if keys is None or keys.is_recommender or score is None or label is None:
            return
        if not (isfinite(score) and isfinite(label)):
            what = f"score and label expected finite numbers, got {score!r} and {label!r}"
            yield record.fail(Reason.INVALID_VALUE, what)
            return
        by = _By(said["model"], said["version"], said["variant"] or "", said["mode"])
        if said["number"] > 0:
            at_ms = said["labelled_at"]
            group = Group(keys.pipeline, window_of(keys, at_ms), CORRECTIONS, *by, ALL)
            self._counted(group, record)
            return
        group = Group(keys.pipeline, window_of(keys, said["served_at"]), SCORES, *by, ALL)
        sums, _ = self._sums.get(group) or (new_sums(keys, SCORES), None)
        assert isinstance(sums, ScoreSums)
        sums.add(score, label)
        self._note(group, sums, record)

    # Recommendations.

    def _recommended(self, record: TimedRecord) -> None:
        said = record.value
        if said["mode"] != "served":
            return
        user = self._user(record.key, record.time_ms)
        most = max(self._rank_keys.evaluation.k)
        user["said"] = {
            "at": record.time_ms,
            "items": [item["item_id"] for item in said["items"][:most]],
            "by": [said["model_name"], said["model_version"], said["variant"] or "", "served"],
        }
        self.values.put(f"user {record.key}", user)

    def _clicked(self, record: TimedRecord) -> None:
        if record.value["event_type"] not in self._asks:
            return
        user, keys = self._user(record.key, record.time_ms), self._rank_keys
        item, said = record.value["item_id"], user["said"]
        is_new_item = self._is_new(item)
        if said is not None and said["at"] >= record.time_ms - keys.labels.window_ms:
            items = said["items"]
            position = items.index(item) if item in items else MISS
            segments = [ALL]
            segments += [NEW_USERS] if user["clicks"] <= _NEW_CLICKS else []
            segments += [NEW_ITEMS] if is_new_item else []
            for segment in segments:
                start_ms = window_of(keys, record.time_ms)
                group = Group(keys.pipeline, start_ms, RANKS, *_By(*said["by"]), segment)
                sums, _ = self._sums.get(group) or (new_sums(keys, RANKS), None)
                assert isinstance(sums, RankSums)
                sums.add(position)
                self._note(group, sums, record)
        user["clicks"] = min(user["clicks"] + 1, _NEW_CLICKS + 1)
        user["last"] = max(user["last"], record.time_ms)
        self.values.put(f"user {record.key}", user)

    def _user(self, key: str, at_ms: int) -> dict[str, Any]:
        """What is known of a user; one who was silent for the window begins anew."""
        user = self.values.get(f"user {key}")
        if user is None or user["last"] < at_ms - self._rank_keys.labels.window_ms:
            return {"clicks": 0, "last": at_ms, "said": None}
        found: dict[str, Any] = user
        return found

    def _is_new(self, item: str) -> bool:
        """Whether nobody of the shard clicked it before."""
        if self._items < 0:
            self._items = sum(key.startswith("item ") for key in self.values)
        if self.values.get(f"item {item}") is not None or self._items >= _ITEMS_MAX:
            return False
        self._items += 1
        self.values.put(f"item {item}", 1)
        return True

    def _forget(self, now_ms: int) -> None:
        """Users who are known no more: it changes nothing of what is said."""
        window_ms = self._rank_keys.labels.window_ms
        self._forget_ms = now_ms + window_ms // 4 + 1
        for key in [key for key in self.values if key.startswith("user ")]:
            if self.values.get(key)["last"] < now_ms - window_ms - self._late_ms:
                self.values.remove(key)

    # Sums.

    def _counted(self, group: Group, record: TimedRecord) -> None:
        sums, _ = self._sums.get(group) or ([0], None)
        assert isinstance(sums, list)
        sums[0] += 1
        self._note(group, sums, record)

    def _note(
        self, group: Group, sums: ScoreSums | RankSums | list[int], record: TimedRecord
    ) -> None:
        place = (record.time_ms, record.topic, record.partition, record.offset)
        before = self._sums.get(group)
        self._sums[group] = sums, place if before is None else max(place, before[1])


def window_of(keys: LearningKeys, at_ms: int) -> int:
    """Where the window of an event time begins."""
    window_ms = round(keys.evaluation.window_s * 1000)
    return at_ms // window_ms * window_ms


def new_sums(keys: LearningKeys, what: str) -> ScoreSums | RankSums:
    """Of nothing yet."""
    if what == SCORES:
        return ScoreSums(keys.evaluation.threshold)
    return RankSums(keys.evaluation.k)


def judged_topics(plan: LearningPlan) -> list[Topic]:
    """What must be read: clicks first, so that of a time they come first."""
    topics = [CLICKS, RECOMMENDATIONS] if plan.of(RECOMMENDER) else []
    if any(not each.is_recommender for each in plan.models):
        topics.append(TRAINING_EXAMPLES)
    return topics


__all__ = [
    "ALL",
    "CORRECTIONS",
    "LATE",
    "RANKS",
    "SCORES",
    "Group",
    "JudgeAnswers",
    "ShardJudged",
    "Sums",
    "judged_topics",
    "new_sums",
    "window_of",
]
