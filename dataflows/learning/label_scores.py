"""Labels of scores: what a model was asked, what it answered, and the outcome of that request.

All that is known of a request is one plain value under `s<request id>`: its inputs, the answers of
each pipeline, and the outcomes. The label of an answer follows from the outcomes that are known,
whatever order they came in: the newest one says it. When that changes after it was told, it is told
again, with the next number.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.learning.examples import Example
from streamrec.dataflows.learning.label_rows import Came, LabelRows
from streamrec.dataflows.learning.plan import LabelKeys
from streamrec.schemas.reasons import Reason

PREFIX = "s"
_BYTES = 600  # of what is held of a request, beside its texts
_OUTCOME_BYTES = 200


@dataclass(frozen=True, slots=True)
class ScoredPipeline:
    """A pipeline whose answers are labelled."""

    name: str
    keys: LabelKeys


# Columns of an outcome as it is held: event time and place come first, so that the newest is the
# largest.
_AT, _TOPIC, _PARTITION, _OFFSET, _KIND, _LABEL, _WEIGHT, _UNTIL = range(8)


class ScoreLabels:
    """The requests of one shard."""

    def __init__(
        self, rows: LabelRows, pipelines: Sequence[ScoredPipeline], topics: Sequence[str]
    ) -> None:
        """`topics` by number."""
        self._rows = rows
        self._keys: Mapping[str, LabelKeys] = {each.name: each.keys for each in pipelines}
        self._topics = topics
        # An input waits for any pipeline's answer, an outcome too.
        self._input_ms = max(each.keys.horizon_ms for each in pipelines)
        self._outcome_ms = max(each.keys.window_ms for each in pipelines)

    def on_input(self, came: Came) -> Iterator[Example]:
        """`came.said` is the input as JSON text; None: it cannot be said so."""
        rows, key = self._rows, PREFIX + came.key
        state = self._state(key)
        text: str | None = came.said
        until_ms = max(came.time_ms, rows.now_ms) + self._input_ms
        state["in"][f"{self._topics[came.topic]}/{came.partition}/{came.offset}"] = [text, until_ms]
        rows.weigh(_BYTES + len(text or ""))
        rows.call_at(until_ms, key)
        for name, answer in state["out"].items():
            yield from self._told(came.key, state, name, answer)
        rows.values.put(key, state)

    def on_answer(self, came: Came, name: str) -> Iterator[Example | Failed]:
        """`came.said` is an `SaidAnswer` of the pipeline of this name."""
        rows, key, said = self._rows, PREFIX + came.key, came.said
        state = self._state(key)
        before = state["out"].get(name)
        if before is not None:
            yield rows.refuse(
                *came[1:4],
                came.key,
                Reason.REPEATED,
                f"request {came.key!r} expected one answer of {name!r}, got another beside that "
                f"at {'/'.join(map(str, before['at']))}",
            )
            return
        keys = self._keys[name]
        answer = {
            **said._asdict(),
            "at": [self._topics[came.topic], came.partition, came.offset],
            "served": came.time_ms,
            "closed": False,
            "told": None,
            "number": 0,
            "labelled": 0,
        }
        state["out"][name] = answer
        rows.weigh(_BYTES + len(said.text))
        rows.call_at(came.time_ms + keys.window_ms, key)
        rows.call_at(came.time_ms + keys.horizon_ms, key)
        for each in state["got"]:
            if each[_UNTIL] is not None and each[_AT] <= came.time_ms + keys.horizon_ms:
                self._use(came.key, each)
        yield from self._told(came.key, state, name, answer)
        rows.values.put(key, state)

    def on_outcome(self, came: Came) -> Iterator[Example]:
        """`came.said` is a `SaidOutcome`."""
        rows, key, said = self._rows, PREFIX + came.key, came.said
        state = self._state(key)
        label = 1.0 if said.value is None else said.value
        weight = 1.0 if said.weight is None else said.weight
        place = [self._topics[came.topic], came.partition, came.offset]
        until_ms = max(came.time_ms, rows.now_ms) + self._outcome_ms
        each = [came.time_ms, *place, said.kind, label, weight, until_ms]
        state["got"].append(each)
        rows.weigh(_OUTCOME_BYTES)
        for name, answer in state["out"].items():
            if came.time_ms <= answer["served"] + self._keys[name].horizon_ms:
                each[_UNTIL] = None
                yield from self._told(came.key, state, name, answer)
        if each[_UNTIL] is not None:
            rows.hold(came)
            rows.call_at(until_ms, key)
        rows.values.put(key, state)

    def on_call(self, key: str) -> Iterator[Example | Failed]:
        """What is due of a request: windows close, horizons end, and what waited in vain fails."""
        rows, now_ms, request_id = self._rows, self._rows.now_ms, key[len(PREFIX) :]
        state = rows.values.get(key)
        if state is None:
            return
        for name, answer in list(state["out"].items()):
            keys = self._keys.get(name)
            if not answer["closed"] and (
                keys is None or now_ms >= answer["served"] + keys.window_ms
            ):
                answer["closed"] = True
                if keys is not None:
                    yield from self._told(request_id, state, name, answer)
            if keys is None or now_ms >= answer["served"] + keys.horizon_ms:
                del state["out"][name]
                rows.weigh(-_BYTES - len(answer["text"]))
        for each in list(state["got"]):
            if each[_UNTIL] is not None and each[_UNTIL] <= now_ms:
                yield self._in_vain(request_id, each)
                self._forget(state, each)
            elif each[_UNTIL] is None and not state["out"]:
                self._forget(state, each)
        for place, (text, until_ms) in list(state["in"].items()):
            if until_ms <= now_ms:
                del state["in"][place]
                rows.weigh(-_BYTES - len(text or ""))
        if any(state.values()):
            rows.values.put(key, state)
        else:
            rows.values.remove(key)

    def calls_of(self, state: Any) -> Iterator[int]:
        """When something of a request is due."""
        for name, answer in state["out"].items():
            keys = self._keys.get(name)
            served_ms = answer["served"]
            if not answer["closed"]:
                yield served_ms + (0 if keys is None else keys.window_ms)
            yield served_ms + (0 if keys is None else keys.horizon_ms)
        yield from (each[_UNTIL] for each in state["got"] if each[_UNTIL] is not None)
        yield from (until_ms for _, until_ms in state["in"].values())

    def _state(self, key: str) -> Any:
        return self._rows.values.get(key) or {"in": {}, "out": {}, "got": []}

    def _use(self, request_id: str, each: list[Any]) -> None:
        """An outcome that waited has its answer."""
        each[_UNTIL] = None
        self._rows.release(
            self._topics.index(each[_TOPIC]), each[_PARTITION], each[_OFFSET], request_id
        )

    def _forget(self, state: Any, each: list[Any]) -> None:
        state["got"].remove(each)
        self._rows.weigh(-_OUTCOME_BYTES)

    def _in_vain(self, request_id: str, each: list[Any]) -> Failed:
        return self._rows.refuse(
            self._topics.index(each[_TOPIC]),
            each[_PARTITION],
            each[_OFFSET],
            request_id,
            Reason.TOO_LATE,
            f"outcome expected an answer to request {request_id!r} that is still held, or one "
            f"within {self._outcome_ms / 1000:g} s, got none",
        )

    def _told(self, request_id: str, state: Any, name: str, answer: Any) -> Iterator[Example]:
        """The example, where what is known says another than was told."""
        keys, served_ms = self._keys[name], answer["served"]
        asked = state["in"].get(answer["source"])
        text = None if asked is None else asked[0]
        is_closed = answer["closed"]
        said = _label(state["got"], served_ms, served_ms + keys.horizon_ms)
        if said is not None and not is_closed:
            # What the model saw belongs to it; after the window it is not waited for any more.
            if keys.positive == "window" or asked is None:
                return
        elif said is None:
            if not is_closed or keys.default is None:
                return
            said = [keys.default, None, 1.0, None]
        told = [*said, asked is not None]
        if told == answer["told"]:
            return
        label, outcome, weight, delay_ms = said
        labelled_ms = max(self._rows.now_ms, answer["labelled"])
        yield Example(
            tuple(answer["at"]),
            answer["number"],
            request_id,
            name,
            answer["model"],
            answer["version"],
            answer["experiment"],
            answer["variant"],
            answer["propensity"],
            answer["mode"],
            answer["key"],
            served_ms,
            labelled_ms,
            text,
            None,
            None,
            answer["text"],
            answer["score"],
            label,
            outcome,
            weight,
            delay_ms,
        )
        answer["told"], answer["labelled"] = told, labelled_ms
        answer["number"] += 1


def _label(got: Iterable[Any], served_ms: int, until_ms: int) -> list[Any] | None:
    """Label, kind, weight and delay of an answer by the outcomes that are known; None: none is."""
    known = [each for each in got if each[_AT] <= until_ms]
    if not known:
        return None
    if len(known) == 1:
        at_ms, kind, label, weight = (known[0][c] for c in (_AT, _KIND, _LABEL, _WEIGHT))
        return [label, kind, weight, max(0, at_ms - served_ms)]
    newest = max(known, key=lambda each: each[: _OFFSET + 1])
    said = newest[_KIND : _WEIGHT + 1]
    first_ms = min(each[_AT] for each in known if each[_KIND : _WEIGHT + 1] == said)
    return [newest[_LABEL], newest[_KIND], newest[_WEIGHT], max(0, first_ms - served_ms)]


__all__ = ["PREFIX", "ScoreLabels", "ScoredPipeline"]
