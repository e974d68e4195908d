"""What must come out of `dataflows.labels`, by a plain program that sees it all.

It has all records and all ticks, and no code of ours but a restatement of the rule for watermarks.
Whatever happens, it works out anew what is known of every answer, from all records that have come
so far, and says what has changed.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.models.reference_watermarks import ReferenceWatermark
from tests.proofs.join_plain import HOUR_MS, PlainTick, partition_of

SAME_MS = 10_000
_NOT_BEGUN_MS = -(1 << 62)

Place = tuple[str, int, int]


class Fact(NamedTuple):
    """A record that can be read. `about` is what it is sharded by; `what` is input, answer,
    recommendation, ranked, impression, did (a click or an outcome of an item) or outcome."""

    topic: int
    name: str
    partition: int
    offset: int
    time_ms: int
    about: str
    what: str
    says: Mapping[str, Any]

    @property
    def place(self) -> Place:
        return self.name, self.partition, self.offset


class Rules(NamedTuple):
    """Settings of one pipeline."""

    window_ms: int
    horizon_ms: int
    late_ms: int
    at_once: bool
    default: float | None = None
    by_impressions: bool = True
    weights: Mapping[str, float] = {}
    last: bool = True


@dataclass
class Said:
    """Examples by source and number, errors by place."""

    examples: dict[tuple[Any, ...], dict[str, Any]] = field(default_factory=dict)
    errors: dict[Place, str] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)

    def fail(self, fact: Fact, reason: str) -> None:
        assert fact.place not in self.errors
        self.errors[fact.place] = reason
        self.kinds[reason] += 1


@dataclass
class Held:
    """A record that is still looked at."""

    fact: Fact
    until_ms: int
    used: bool = False  # what it is about is known, so that it does not fail
    about: "Judged | None" = None  # as long as which it is kept
    credited: Place | None = None
    final: bool = False


@dataclass
class Judged:
    """An answer or a recommendation."""

    fact: Fact
    closes_ms: int
    ends_ms: int
    closed: bool = False
    told: Any = None
    number: int = 0
    labelled_ms: int = 0
    done: list[Fact] = field(default_factory=list)


def plain_labels(
    facts: Mapping[tuple[int, int], Sequence[Fact]],
    ticks: Sequence[PlainTick],
    shards: int,
    scores: Rules,
    items: Rules,
) -> Said:
    """`facts` by topic and partition, in the order of their offsets."""
    said = Said()
    of_shard = [_Shard(said, scores, items) for _ in range(shards)]
    taken = dict.fromkeys(facts, 0)
    now_ms = 0
    for tick in ticks:
        now_ms = max(now_ms, tick.time_ms)
        rows: list[list[Fact]] = [[] for _ in range(shards)]
        for place, own in facts.items():
            while taken[place] < len(own):
                fact = own[taken[place]]
                ends = tick.ends.get(fact.name, ())
                if fact.offset >= (ends[fact.partition] if fact.partition < len(ends) else 0):
                    break
                taken[place] += 1
                rows[partition_of(fact.about.encode(), shards)].append(fact)
        for shard, own_rows in zip(of_shard, rows, strict=True):
            shard.take_in(own_rows, now_ms)
    return said


class _Shard:
    def __init__(self, said: Said, scores: Rules, items: Rules) -> None:
        self._said = said
        self._rules = {"answer": scores, "recommendation": items}
        self._late_ms = scores.late_ms
        self._watermark = ReferenceWatermark(1 << 62, HOUR_MS)
        self._base_ms = self._base_tick_ms = 0
        self._clock_ms = _NOT_BEGUN_MS
        self._waiting: list[tuple[int, Fact]] = []
        self._abouts: dict[str, _About] = {}

    def take_in(self, rows: Sequence[Fact], tick_ms: int) -> None:
        """What lies between two ticks. What comes late is called at once."""
        earliest_ms = self._clock_ms - self._late_ms
        for fact in sorted(rows, key=lambda fact: (fact.time_ms, fact[:4])):
            if fact.time_ms < earliest_ms:
                self._waiting.append((earliest_ms, fact))
                continue
            self._waiting.append((fact.time_ms, fact))
            self._watermark.take_in(hash(fact.about), fact.time_ms)
        newest_ms = self._watermark.now_ms
        if newest_ms != self._base_ms:
            self._base_ms, self._base_tick_ms = newest_ms, tick_ms
        if newest_ms:
            self._clock_ms = max(self._clock_ms, newest_ms + tick_ms - self._base_tick_ms)
        until_ms = self._clock_ms - self._late_ms
        self._waiting.sort(key=lambda each: (each[0], each[1].topic, each[1][2:4]))
        while self._waiting and self._waiting[0][0] < until_ms:
            at_ms, fact = self._waiting.pop(0)
            if fact.about not in self._abouts:
                self._abouts[fact.about] = _About(self._said, self._rules)
            about = self._abouts[fact.about]
            about.pass_until(at_ms)
            about.come(fact, at_ms)
        for name, about in list(self._abouts.items()):
            about.pass_until(until_ms)
            if about.is_over():
                del self._abouts[name]


class _About:
    """One request, or one user; nobody else's records matter to it."""

    def __init__(self, said: Said, rules: Mapping[str, Rules]) -> None:
        self._said = said
        self._rules = rules
        self._now_ms = 0
        self._judged: list[Judged] = []
        self._held: list[Held] = []

    def is_over(self) -> bool:
        return not self._judged and not self._held

    def pass_until(self, before_ms: int) -> None:
        """Windows close, horizons end, and nothing is waited for for ever."""
        while True:
            times = [each.ends_ms for each in self._judged]
            times += [each.closes_ms for each in self._judged if not each.closed]
            times += [each.until_ms for each in self._held]
            if min(times, default=before_ms) >= before_ms:
                return
            self._now_ms = min(times)
            for judged in self._judged:
                judged.closed |= judged.closes_ms <= self._now_ms
            self._look()
            for judged in [each for each in self._judged if each.ends_ms <= self._now_ms]:
                self._judged.remove(judged)
                self._held = [each for each in self._held if each.about is not judged]
            over = [each for each in self._held if each.until_ms <= self._now_ms]
            self._held = [each for each in self._held if each.until_ms > self._now_ms]
            for each in over:
                if not each.used and _must_be_known(each.fact):
                    self._said.fail(each.fact, "too_late")

    def come(self, fact: Fact, at_ms: int) -> None:
        self._now_ms = at_ms
        self._come(fact)
        self._look()

    def _come(self, fact: Fact) -> None:
        if fact.what in self._rules:
            rules = self._rules[fact.what]
            if self._same_as(fact):
                self._said.fail(fact, "repeated")
                return
            closes_ms, ends_ms = fact.time_ms + rules.window_ms, fact.time_ms + rules.horizon_ms
            now_ms = self._now_ms
            judged = Judged(fact, max(now_ms, closes_ms), max(now_ms, ends_ms))
            self._judged.append(judged)
            return
        since_ms = max(self._now_ms, fact.time_ms)
        is_of_scores = fact.what in ("input", "outcome")
        rules = self._rules["answer" if is_of_scores else "recommendation"]
        # What was asked is told with corrections, too.
        wait_ms = rules.horizon_ms if fact.what == "input" else rules.window_ms
        if fact.what == "did":
            if not self._weight(fact) or any(_same(fact, each.fact) for each in self._held):
                return
            for each in [each for each in self._held if _same(each.fact, fact)]:
                self._held.remove(each)
                for judged in self._judged:
                    judged.done = [done for done in judged.done if done is not each.fact]
        self._held.append(Held(fact, since_ms + wait_ms))

    def _same_as(self, fact: Fact) -> bool:
        return any(
            (each.fact.what, each.fact.says["id"]) == (fact.what, fact.says["id"])
            for each in self._judged
        )

    def _weight(self, fact: Fact) -> float:
        own = self._rules["recommendation"].weights.get(fact.says["kind"], 0.0)
        given = fact.says.get("weight")
        return own if given is None or not own else float(given)

    # Everything anew.

    def _look(self) -> None:
        self._know()
        self._credit()
        for judged in self._judged:
            told = self._scored(judged) if judged.fact.what == "answer" else self._items(judged)
            whole = judged.closed and judged.fact.what == "recommendation"
            if told is None or (told, whole) == judged.told:
                continue
            judged.told = (told, whole)
            judged.labelled_ms = max(judged.labelled_ms, self._now_ms)
            label, outcome, weight, delay_ms, content = told
            self._said.examples[(*judged.fact.place, judged.number)] = {
                "label": label,
                "outcome": outcome,
                "weight": weight,
                "delay_ms": delay_ms,
                "served_at": judged.fact.time_ms,
                "labelled_at": judged.labelled_ms,
                "request_id": judged.fact.says["id"],
                **content,
            }
            late = "late" if judged.closed and judged.number else ""
            self._said.kinds[f"{judged.fact.what} {outcome} {late}"] += 1
            judged.number += 1

    def _of(self, what: str) -> Iterator[Judged]:
        return (each for each in self._judged if each.fact.what == what)

    def _know(self) -> None:
        """What is about an answer that is there is kept as long as that is."""
        for held in self._held:
            fact = held.fact
            if held.used or fact.what not in ("outcome", "impression", "ranked"):
                continue
            what = "answer" if fact.what == "outcome" else "recommendation"
            for judged in self._of(what):
                horizon_ms = self._rules[what].horizon_ms
                if judged.fact.says["id"] == fact.says["id"] and (
                    what == "recommendation" or fact.time_ms <= judged.fact.time_ms + horizon_ms
                ):
                    held.used, held.about, held.until_ms = True, judged, 1 << 62

    def _credit(self) -> None:
        for held in self._held:
            if held.fact.what != "did" or held.final:
                continue
            there = {each.fact.place for each in self._judged}
            if held.credited is not None and held.credited not in there:
                held.final = True
                continue
            found = self._credited(held.fact)
            place = None if found is None else found.fact.place
            if place != held.credited:
                for judged in self._judged:
                    judged.done = [done for done in judged.done if done is not held.fact]
                if found is not None:
                    found.done.append(held.fact)
                held.credited, held.used = place, found is not None

    def _credited(self, fact: Fact) -> Judged | None:
        rules = self._rules["recommendation"]
        best: tuple[Any, Judged] | None = None
        for judged in self._of("recommendation"):
            served_ms = judged.fact.time_ms
            if fact.time_ms > served_ms + rules.horizon_ms:
                continue
            if fact.says["id"] is not None:
                if judged.fact.says["id"] == fact.says["id"]:
                    return judged
                continue
            if fact.says["item"] not in judged.fact.says["items"]:
                continue
            if rules.by_impressions:
                times = [
                    each.time_ms
                    for each in self._shown(judged)
                    if fact.says["item"] in each.says["items"]
                    and each.time_ms <= fact.time_ms
                    and served_ms <= fact.time_ms
                ]
            else:
                times = [served_ms] if served_ms < fact.time_ms else []
            if not times:
                continue
            order = (max(times) if rules.last else min(times), served_ms, judged.fact.place)
            if best is None or (order > best[0] if rules.last else order < best[0]):
                best = (order, judged)
        return None if best is None else best[1]

    def _shown(self, judged: Judged) -> list[Fact]:
        """Its impressions, in the order of event time."""
        found = [
            each.fact
            for each in self._held
            if each.fact.what == "impression" and each.fact.says["id"] == judged.fact.says["id"]
        ]
        return sorted(found, key=lambda fact: (fact.time_ms, fact.place))

    def _scored(self, judged: Judged) -> Any:
        rules, fact = self._rules["answer"], judged.fact
        asked = [
            each.fact
            for each in self._held
            if each.fact.what == "input" and each.fact.place == fact.says["source"]
        ]
        content = {
            "inputs": asked[0].says["text"] if asked else None,
            "answer": fact.says["text"],
        }
        outcomes = [
            each.fact
            for each in self._held
            if each.fact.what == "outcome" and each.fact.time_ms <= fact.time_ms + rules.horizon_ms
        ]
        if not outcomes:
            if judged.closed and rules.default is not None:
                return rules.default, None, 1.0, None, content
            return None
        if not judged.closed and not (rules.at_once and asked):
            return None
        newest = max(outcomes, key=lambda each: (each.time_ms, each.place))
        alike = [each for each in outcomes if _judges(each) == _judges(newest)]
        kind, value, weight = _judges(newest)
        delay_ms = max(0, min(each.time_ms for each in alike) - fact.time_ms)
        return value, kind, weight, delay_ms, content

    def _items(self, judged: Judged) -> Any:
        rules, fact = self._rules["recommendation"], judged.fact
        items = fact.says["items"]
        strongest: dict[str, tuple[float, str, int]] = {}
        done = sorted(judged.done, key=lambda each: (each.time_ms, each.place))
        for each in done:
            item, weight = each.says["item"], self._weight(each)
            if item in items and weight > strongest.get(item, (0.0, "", 0))[0]:
                since_ms = max(0, each.time_ms - fact.time_ms)
                strongest[item] = (weight, each.says["kind"], since_ms)
        positions: dict[str, int] = {}
        if rules.by_impressions:
            for shown in self._shown(judged):
                for position, item in enumerate(shown.says["items"]):
                    if item in items:
                        positions.setdefault(item, position)
        else:
            positions = {item: position for position, item in enumerate(items)}
        if not judged.closed and (not rules.at_once or not strongest):
            return None
        if not positions and not strongest:
            return None
        told = [item for item in items if judged.closed or item in strongest]
        rows = [
            {
                "item_id": item,
                "position": positions.get(item, items.index(item)),
                "shown": item in positions or item in strongest,
                "label": strongest.get(item, (0.0,))[0],
                "outcome": strongest[item][1] if item in strongest else None,
                "delay_ms": strongest[item][2] if item in strongest else None,
            }
            for item in told
        ]
        label, outcome, delay_ms = _best(strongest.values())
        ranked = [
            each.fact
            for each in self._held
            if each.fact.what == "ranked" and each.fact.says["id"] == fact.says["id"]
        ]
        content: dict[str, Any] = {"items": rows, "features": None}
        weight = 1.0
        if ranked:
            weight = ranked[0].says["weight"]
            content["features"] = [v for item in told for v in ranked[0].says["inputs"][item]]
        return label, outcome, weight, delay_ms, content


def _best(
    said: Iterable[tuple[float, str, int]],
) -> tuple[float, str | None, int | None]:
    """Weight, kind and delay of the strongest of what is said of items; of several the first."""
    found = sorted(said, key=lambda each: (-each[0], each[2]))
    return found[0] if found else (0.0, None, None)


def _must_be_known(fact: Fact) -> bool:
    return fact.what in ("outcome", "impression") or (
        fact.what == "did" and fact.says["id"] is not None
    )


def _judges(outcome: Fact) -> tuple[str, float, float]:
    """Kind, label and weight."""
    value, weight = outcome.says["value"], outcome.says["weight"]
    label = 1.0 if value is None else value
    return outcome.says["kind"], label, 1.0 if weight is None else weight


def _same(anonymous: Fact, named: Fact) -> bool:
    return (
        anonymous.what == named.what == "did"
        and anonymous.says["id"] is None
        and named.says["id"] is not None
        and anonymous.says["item"] == named.says["item"]
        and anonymous.says["kind"] == named.says["kind"]
        and abs(anonymous.time_ms - named.time_ms) <= SAME_MS
    )
