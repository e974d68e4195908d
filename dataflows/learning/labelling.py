"""What `dataflows.labels` reads, and the shards that label, as the learning file says."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from typing_extensions import override

from streamrec.connectors.log import UnknownTopicError
from streamrec.dataflows.job.codecs import plain_decoder_of
from streamrec.dataflows.job.job import Job
from streamrec.dataflows.job.paper import PaperJob
from streamrec.dataflows.job.start_error import StartError
from streamrec.dataflows.job.topics import (
    CLICKS,
    IMPRESSIONS,
    OUTCOMES,
    RANKER_INPUTS,
    RECOMMENDATIONS,
    Topic,
)
from streamrec.dataflows.learning import label_reading as reading
from streamrec.dataflows.learning.label_items import ItemLabels
from streamrec.dataflows.learning.label_keys import (
    IMPRESSION_RULES,
    ByRequest,
    ByServedRequest,
    OutcomeFields,
)
from streamrec.dataflows.learning.label_rows import Came, LabelRows, ReadRows
from streamrec.dataflows.learning.label_scores import PREFIX, ScoredPipeline, ScoreLabels
from streamrec.dataflows.learning.plan import BadPlan, LabelKeys, LearningKeys, read_plan
from streamrec.dataflows.serving.features import named_features
from streamrec.dataflows.serving.rows import PipelineRows
from streamrec.dataflows.serving.serve import listed
from streamrec.dataflows.serving.topic_names import NamedPipeline
from streamrec.dataflows.steps.click_rules import RULES as CLICK_RULES
from streamrec.dataflows.steps.decode_records import DecodeRecords, decode_records
from streamrec.models.users.features import declared

_BYTES = Topic("bytes", format="bytes")
_MB = 1024 * 1024


class Role(NamedTuple):
    """What a topic is to a pipeline."""

    kind: str  # input, answer, recommendation, impression, ranked, click, outcome
    pipeline: str = ""


@dataclass(slots=True)
class _Read:
    """A topic that is read."""

    decode: DecodeRecords
    read: ReadRows
    roles: list[Role] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Labelling:
    """All that is wired: topics with the steps that decode them, and what makes a shard."""

    topics: Sequence[tuple[Topic, DecodeRecords]]
    made: Callable[[], "Labels"]


def labelling(job: Job) -> Labelling:
    """As the settings say. Raises StartError."""
    try:
        plan = read_plan(job.settings.learning)
    except BadPlan as error:
        raise StartError(str(error)) from error
    scored = [each for each in plan.models if not each.is_recommender]
    recommender = next((each for each in plan.models if each.is_recommender), None)
    topics = _Topics(job)
    if scored:
        pipelines = {named.name: (named, rows) for named, rows in listed(job)}
        for each in scored:
            topics.add_scores(each, pipelines)
    if recommender is not None:
        topics.add_recommender(recommender.labels)
    topics.add_outcomes(bool(scored), recommender is not None)
    entries = [each.labels for each in plan.models]
    make = partial(
        Labels,
        job,
        list(topics.found.values()),
        [ScoredPipeline(each.pipeline, each.labels) for each in scored],
        None if recommender is None else recommender.labels,
        max(each.late_ms for each in entries),
        sum(each.max_mb for each in entries) * _MB,
    )
    return Labelling([(topic, each.decode) for topic, each in topics.found.items()], make)


class _Topics:
    """The topics that are read, in order: what stands for itself before what is about it."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self.found: dict[Topic, _Read] = {}
        self._by_name: dict[str, Topic] = {}

    def add_scores(
        self, keys: LearningKeys, pipelines: dict[str, tuple[NamedPipeline, PipelineRows]]
    ) -> None:
        job = self._job
        if keys.pipeline not in pipelines:
            raise StartError(
                f"learning: pipeline expected one of the list of models "
                f"({', '.join(sorted(pipelines))}) or recommender, got {keys.pipeline!r}"
            )
        named, rows = pipelines[keys.pipeline]
        any_avro, score = job.value_decoder(), keys.labels.score
        for topic in rows.inputs:
            adapt = None
            if topic is RECOMMENDATIONS:
                adapt = named_features(declared(job.settings.windows))
            read = reading.inputs_of(any_avro, adapt)
            if named.metadata[0].content_types:
                read = reading.not_read
            # As outputs name the request of an input that is another model's answer.
            by_source = rows.output_schema is None
            self._add(topic, self._bytes(ByRequest(by_source)), read, Role("input"))
        if rows.output_schema is None:
            answers = reading.json_answers(score)
            decode = self._bytes(ByRequest())
            self._add(rows.outputs, decode, answers, Role("answer", keys.pipeline))
        else:
            decode = self._bytes(ByServedRequest(any_avro))
            answers = reading.avro_answers(any_avro, score)
            self._add(rows.outputs, decode, answers, Role("answer", keys.pipeline))

    def add_recommender(self, keys: LabelKeys) -> None:
        job = self._job
        recommendations = decode_records(job, RECOMMENDATIONS, key="user_id", time="requested_at")
        read = reading.recommendations(job.decoder(RECOMMENDATIONS))
        self._add(RECOMMENDATIONS, recommendations, read, Role("recommendation"))
        if _is_there(job, RANKER_INPUTS):
            ranked = decode_records(job, RANKER_INPUTS, key="user_id", time="requested_at")
            read = reading.ranker_inputs(job.decoder(RANKER_INPUTS))
            self._add(RANKER_INPUTS, ranked, read, Role("ranked"))
        if keys.shown == "impressions":
            shown = decode_records(job, IMPRESSIONS, key="user_id", rules=IMPRESSION_RULES)
            read = reading.impressions(job.decoder(IMPRESSIONS))
            self._add(IMPRESSIONS, shown, read, Role("impression"))
        clicks = decode_records(job, CLICKS, rules=CLICK_RULES)
        read = reading.clicks(job.decoder(CLICKS), CLICKS.schema)
        self._add(CLICKS, clicks, read, Role("click"))

    def add_outcomes(self, scores: bool, items: bool) -> None:
        job = self._job
        fields = OutcomeFields(job.settings.max_ahead_s, scores, items)
        settings = job.settings
        decode = DecodeRecords(job.decoder(OUTCOMES), fields, settings.shards, settings.lanes)
        self._add(OUTCOMES, decode, reading.outcomes(job.decoder(OUTCOMES)), Role("outcome"))

    def _bytes(self, fields: ByRequest | ByServedRequest) -> DecodeRecords:
        settings = self._job.settings
        return DecodeRecords(plain_decoder_of(_BYTES), fields, settings.shards, settings.lanes)

    def _add(self, topic: Topic, decode: DecodeRecords, read: ReadRows, role: Role) -> None:
        name = self._job.settings.topic(topic)
        known = self._by_name.setdefault(name, topic)
        if known not in self.found:
            self.found[known] = _Read(decode, read, [role])
            return
        kinds = {each.kind for each in self.found[known].roles} | {role.kind}
        if kinds != {"input"}:
            raise StartError(
                f"learning: topic {name!r} expected to be {' or '.join(sorted(kinds))} in one "
                "dataflow, got it as both; label one of them in a dataflow of its own, with a "
                "learning file of its own"
            )


def _is_there(job: Job, topic: Topic) -> bool:
    """Whether a topic exists that need not."""
    if isinstance(job, PaperJob):
        return True
    admin = job.log.admin()
    try:
        admin.bounds(job.settings.topic(topic))
    except UnknownTopicError:
        return False
    finally:
        admin.close()
    return True


class Labels(LabelRows):
    """One shard: the requests and the users that are its own."""

    def __init__(
        self,
        job: Job,
        reads: Sequence[_Read],
        scored: Sequence[ScoredPipeline],
        items: LabelKeys | None,
        late_ms: int,
        max_bytes: int,
    ) -> None:
        """`reads` by the number of the topic."""
        super().__init__(job, [each.read for each in reads], late_ms, max_bytes)
        self._scores = ScoreLabels(self, scored, self.topics) if scored else None
        self._items = ItemLabels(self, items, self.topics) if items is not None else None
        self._on = [self._handler(each.roles[0]) for each in reads]

    def _handler(self, role: Role) -> Callable[[Came], Iterator[Any]]:
        if role.kind == "outcome":
            return self._on_outcome
        if role.kind in ("input", "answer"):
            assert self._scores is not None
            if role.kind == "input":
                return self._scores.on_input
            return partial(self._scores.on_answer, name=role.pipeline)
        assert self._items is not None
        return {
            "recommendation": self._items.on_recommendation,
            "ranked": self._items.on_ranked,
            "impression": self._items.on_impression,
            "click": self._items.on_happened,
        }[role.kind]

    def _on_outcome(self, came: Came) -> Iterator[Any]:
        if self._items is not None and (self._scores is None or came.said.item_id is not None):
            return self._items.on_happened(came)
        assert self._scores is not None
        return self._scores.on_outcome(came)

    @override
    def on_record(self, came: Came) -> Iterator[Any]:
        return self._on[came.topic](came)

    @override
    def on_call(self, key: str) -> Iterator[Any]:
        if key.startswith(PREFIX):
            return iter(()) if self._scores is None else self._scores.on_call(key)
        return iter(()) if self._items is None else self._items.on_call(key)

    @override
    def calls_of(self, key: str, value: Any) -> Iterator[int]:
        if key.startswith(PREFIX):
            return iter(()) if self._scores is None else self._scores.calls_of(value)
        return iter(()) if self._items is None else self._items.calls_of(key, value)


__all__ = ["Labelling", "Labels", "labelling"]
