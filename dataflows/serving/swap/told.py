"""What `model-events` says of pipelines: tables of versions, and which were taken back."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from streamrec.connectors.log import Log, RawBatch
from streamrec.connectors.table import Follower
from streamrec.dataflows.learning.model_events import EventCodec, ModelEvent
from streamrec.dataflows.serving.swap.timeline import ModelVersion, Timeline
from streamrec.schemas.json_codec import UnreadableError

BEGAN, TAKEN_BACK, ENDED = "began", "taken_back", "ended"


@dataclass(slots=True)
class ToldOfPipeline:
    """What was told of one pipeline."""

    timelines: dict[tuple[str, int], Timeline] = field(default_factory=dict)  # topic, partition
    ends: dict[tuple[str, int], int] = field(default_factory=dict)  # where the last run ended
    order: list[ModelVersion] = field(default_factory=list)  # that have answered, newest last
    taken_back: set[ModelVersion] = field(default_factory=set)

    def take(self, event: ModelEvent) -> None:
        """An event of this pipeline, in the topic's order."""
        version = ModelVersion(event.model, event.version)
        answers = version
        if event.kind == TAKEN_BACK:
            self.taken_back.add(version)
            answers = ModelVersion(event.model, event.previous or "")
        if event.topic is None or event.partition is None or event.first_offset is None:
            return
        place = event.topic, event.partition
        if event.kind == ENDED:
            self.ends[place] = event.first_offset
        elif event.kind in (BEGAN, TAKEN_BACK):
            self.ends.pop(place, None)
            self.timelines.setdefault(place, Timeline()).begin(event.first_offset, answers)
            if answers in self.order:
                self.order.remove(answers)
            self.order.append(answers)


class ToldEvents(Follower):
    """The topic `model-events`, as far as it was read."""

    def __init__(self, log: Log, topic: str, codec: EventCodec) -> None:
        super().__init__(log, topic)
        self._codec = codec
        self.pipelines: defaultdict[str, ToldOfPipeline] = defaultdict(ToldOfPipeline)
        self.on_change: Callable[[], object] = lambda: None

    def apply(self, batch: RawBatch) -> int:
        for value in batch.values:
            if value is None:
                continue
            try:
                event = self._codec.event(value)
            except UnreadableError:
                continue  # not of ours
            if event.pipeline is not None:
                self.pipelines[event.pipeline].take(event)
            elif event.kind in ("promoted", "pinned", "rolled_back"):
                # Somebody wants it, whatever became of it before.
                for told in self.pipelines.values():
                    told.taken_back.discard(ModelVersion(event.model, event.version))
        return len(batch)


__all__ = ["BEGAN", "ENDED", "TAKEN_BACK", "ToldEvents", "ToldOfPipeline"]
