"""Labels of recommendations: what was shown of them, and what came of each item.

A recommendation is one plain value under `r<user>\\n<recommendation id>`; under `u<user>` stand the
ids of the user's recommendations, what the user did of late, and what was told of recommendations
that are not there yet. Which recommendation is credited for what the user did follows from event
times alone. Where a recommendation or an impression is read late, credit moves to it, and what was
told of both is told again, with the next numbers.
"""

import base64
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.learning.examples import Example, Items
from streamrec.dataflows.learning.label_rows import Came, LabelRows
from streamrec.dataflows.learning.plan import RECOMMENDER, LabelKeys
from streamrec.schemas.reasons import Reason

RECOMMENDATION_PREFIX, USER_PREFIX = "r", "u"
_END = "\0"  # of the items of one recommendation
# What is told without an id is what was told with one, if no more lies between them.
SAME_MS = 10_000
_BYTES = 800  # of what is held of a recommendation, beside its items
_DONE_BYTES = 250  # of something that a user did


# Of a user: items of all recommendations; when what was done is forgotten, the newest of it, and
# how much of it was told with an id.
_NOTHING = {"text": "", "forget": 0, "newest": 0, "named": 0}
# Columns of what a user did; the first four are event time and place.
_AT, _TOPIC, _PARTITION, _OFFSET, _ITEM, _KIND, _WEIGHT, _ID, _CREDITED, _UNTIL = range(10)


class ItemLabels:
    """The users of one shard."""

    def __init__(self, rows: LabelRows, keys: LabelKeys, topics: Sequence[str]) -> None:
        """`topics` by number."""
        self._rows = rows
        self._keys = keys
        self._topics = topics
        self._by_impressions = keys.shown == "impressions"

    # What comes.

    def on_recommendation(self, came: Came) -> Iterator[Example | Failed]:
        rows, said, user = self._rows, came.said, came.key
        state, key = self._user(user), _key(user, said.recommendation_id)
        if said.recommendation_id in state["ids"]:
            yield rows.refuse(
                *came[1:4],
                user,
                Reason.REPEATED,
                f"recommendation expected an id of its own, got {said.recommendation_id!r} again",
            )
            return
        entry = {
            **said._asdict(),
            "at": [self._topics[came.topic], came.partition, came.offset],
            "served": came.time_ms,
            "shows": [],
            "done": [],
            "ranked": None,
            "closed": False,
            "told": None,
            "number": 0,
            "labelled": 0,
        }
        # The items of all as one text, which is looked through much faster than lists.
        state["text"] += _text_of(said.items) + _END
        state["ids"][said.recommendation_id] = came.time_ms
        rows.weigh(_BYTES + sum(map(len, said.items)))
        rows.values.put(key, entry)
        rows.call_at(came.time_ms + self._keys.window_ms, key)
        rows.call_at(came.time_ms + self._keys.horizon_ms, key)
        for waits in [each for each in state["shows"] if each[4] == said.recommendation_id]:
            state["shows"].remove(waits)
            rows.weigh(-_DONE_BYTES)
            rows.release(self._topics.index(waits[1]), waits[2], waits[3], user)
            self._show(entry, waits[:4], waits[5])
        for waits in [each for each in state["ranked"] if each[0] == said.recommendation_id]:
            state["ranked"].remove(waits)
            rows.weigh(-_DONE_BYTES - len(waits[4]))
            self._rank(entry, waits)
        mine = self._maybe_of(state, entry, came.time_ms)
        yield from self._credit(user, state, mine, {said.recommendation_id})
        rows.values.put(USER_PREFIX + user, state)

    def on_impression(self, came: Came) -> Iterator[Example | Failed]:
        rows, said, user = self._rows, came.said, came.key
        state = self._user(user)
        place = [came.time_ms, self._topics[came.topic], came.partition, came.offset]
        if said.recommendation_id in state["ids"]:
            key = _key(user, said.recommendation_id)
            entry = rows.values.get(key)
            self._show(entry, place, said.items)
            rows.values.put(key, entry)
            mine = self._maybe_of(state, entry, came.time_ms)
            yield from self._credit(user, state, mine, {said.recommendation_id})
        else:
            until_ms = self._until_ms(came)
            state["shows"].append([*place, said.recommendation_id, said.items, until_ms])
            rows.weigh(_DONE_BYTES)
            rows.hold(came)
            rows.call_at(until_ms, USER_PREFIX + user)
        rows.values.put(USER_PREFIX + user, state)

    def on_ranked(self, came: Came) -> Iterator[Example | Failed]:
        rows, said, user = self._rows, came.said, came.key
        state = self._user(user)
        content = base64.b64encode(said.inputs.tobytes()).decode()
        until_ms = self._until_ms(came)
        ranked = [said.recommendation_id, said.weight, said.names, said.items, content, until_ms]
        if said.recommendation_id in state["ids"]:
            key = _key(user, said.recommendation_id)
            entry = rows.values.get(key)
            self._rank(entry, ranked)
            rows.values.put(key, entry)
            yield from self._told(user, entry)
        else:
            state["ranked"].append(ranked)
            rows.weigh(_DONE_BYTES + len(content))
            rows.call_at(until_ms, USER_PREFIX + user)
            rows.values.put(USER_PREFIX + user, state)

    def on_happened(self, came: Came) -> Iterator[Example | Failed]:
        rows, said, user = self._rows, came.said, came.key
        weight = self._keys.weights.get(said.kind)
        if weight is not None and said.weight is not None:
            weight = said.weight
        if not weight:
            return  # labels nothing
        state = self._user(user)
        until_ms = self._until_ms(came)
        place = [came.time_ms, self._topics[came.topic], came.partition, came.offset]
        id_ = said.recommendation_id
        did = [*place, said.item_id, said.kind, weight, id_, None, until_ms]
        if id_ is None and state["named"] and any(_is_same(did, each) for each in state["did"]):
            return  # it was told with an id
        changed = self._withdraw(user, state, did) if id_ is not None else set()
        state["did"].append(did)
        rows.weigh(_DONE_BYTES)
        if id_ is not None:
            state["named"] += 1
            rows.call_at(until_ms, USER_PREFIX + user)
            yield from self._credit(user, state, [did], changed, new=did)
            if did[_CREDITED] is None:
                rows.hold(came)
            rows.values.put(USER_PREFIX + user, state)
            return
        state["newest"] = max(state["newest"], came.time_ms)
        if state["forget"] <= rows.now_ms:
            state["forget"] = until_ms
            rows.call_at(until_ms, USER_PREFIX + user)
        yield from self._credit(user, state, [did], set())
        rows.values.put(USER_PREFIX + user, state)

    def on_call(self, key: str) -> Iterator[Example | Failed]:
        """What is due of a user or of a recommendation."""
        if key[0] == USER_PREFIX:
            yield from self._forget(key[1:])
            return
        rows, entry = self._rows, self._rows.values.get(key)
        if entry is None:
            return
        user = key[1 : -len(entry["recommendation_id"]) - 1]
        if not entry["closed"] and rows.now_ms >= entry["served"] + self._keys.window_ms:
            entry["closed"] = True
            yield from self._told(user, entry)
            rows.values.put(key, entry)
        if rows.now_ms >= entry["served"] + self._keys.horizon_ms:
            rows.weigh(-_BYTES - sum(map(len, entry["items"])))
            rows.weigh(-_DONE_BYTES * (len(entry["done"]) + len(entry["shows"])))
            if entry["ranked"] is not None:
                rows.weigh(-_DONE_BYTES - len(entry["ranked"][2]))
            rows.values.remove(key)
            state = self._user(user)
            texts = state["text"].split(_END)
            del texts[list(state["ids"]).index(entry["recommendation_id"])]
            state["text"] = _END.join(texts)
            del state["ids"][entry["recommendation_id"]]
            self._keep(user, state)

    def calls_of(self, key: str, value: Any) -> Iterator[int]:
        """When something of a user or of a recommendation is due."""
        if key[0] == RECOMMENDATION_PREFIX:
            if not value["closed"]:
                yield value["served"] + self._keys.window_ms
            yield value["served"] + self._keys.horizon_ms
            return
        yield value["forget"]
        for name in ("did", "shows", "ranked"):
            yield from (each[-1] for each in value[name] if name != "did" or each[_ID] is not None)

    def _forget(self, user: str) -> Iterator[Failed]:
        """What a user did that is no longer looked at, and what waited in vain."""
        rows, state = self._rows, self._user(user)
        for did in [each for each in state["did"] if each[_UNTIL] <= rows.now_ms]:
            state["did"].remove(did)
            rows.weigh(-_DONE_BYTES)
            if did[_ID] is None:
                continue
            state["named"] -= 1
            if did[_CREDITED] is None:
                yield self._in_vain(user, did[1:4], "outcome", did[_ID])
        for shown in [each for each in state["shows"] if each[-1] <= rows.now_ms]:
            state["shows"].remove(shown)
            rows.weigh(-_DONE_BYTES)
            yield self._in_vain(user, shown[1:4], "impression", shown[4])
        for ranked in [each for each in state["ranked"] if each[-1] <= rows.now_ms]:
            state["ranked"].remove(ranked)
            rows.weigh(-_DONE_BYTES - len(ranked[4]))
        left = [each[_UNTIL] for each in state["did"] if each[_ID] is None]
        if left and state["forget"] <= rows.now_ms:
            # Once for all that is there now: what is over by itself is not looked at.
            state["forget"] = max(left)
            rows.call_at(state["forget"], USER_PREFIX + user)
        self._keep(user, state)

    def _in_vain(self, user: str, place: Sequence[Any], what: str, id_: str) -> Failed:
        return self._rows.refuse(
            self._topics.index(place[0]),
            place[1],
            place[2],
            user,
            Reason.TOO_LATE,
            f"{what} expected recommendation {id_!r} of user {user!r}, still held or within "
            f"{self._keys.window_s:g} s, got none",
        )

    # Who is credited.

    def _maybe_of(self, state: Any, entry: Any, from_ms: int) -> list[Any]:
        """Of what a user did, that for which a recommendation may be credited that is new, or was
        shown anew at a time."""
        if from_ms > state["newest"] and not state["named"]:
            return []
        items, id_, now_ms = entry["items"], entry["recommendation_id"], self._rows.now_ms
        return [
            each
            for each in state["did"]
            if each[_UNTIL] >= now_ms
            and (
                each[_ID] == id_
                if each[_ID] is not None
                else each[_AT] >= from_ms and each[_ITEM] in items
            )
        ]

    def _credit(
        self, user: str, state: Any, did: Iterable[Any], changed: set[str], new: Any = None
    ) -> Iterator[Example]:
        """Looks again who is credited for some of what a user did, of which one may be new, and
        tells what has changed of recommendations, in the order in which they were served."""
        rows = self._rows
        entries: dict[str, Any] = {}

        def entry_of(id_: str) -> Any:
            if id_ not in entries:
                entries[id_] = rows.values.get(_key(user, id_))
            return entries[id_]

        for each in did:
            before = each[_CREDITED]
            if before is not None and before not in state["ids"]:
                continue  # nothing more can be said of it, and it is counted once
            credited = self._credited(state, each, entry_of)
            if credited == before:
                continue
            if before is not None:
                entry_of(before)["done"].remove(each[:_ID])
                rows.weigh(-_DONE_BYTES)
                changed.add(before)
            if credited is not None:
                entry_of(credited)["done"].append(each[:_ID])
                rows.weigh(_DONE_BYTES)
                changed.add(credited)
                if each[_ID] is not None and each is not new:
                    topic = self._topics.index(each[_TOPIC])
                    rows.release(topic, each[_PARTITION], each[_OFFSET], user)
            each[_CREDITED] = credited
        for id_ in sorted(changed, key=lambda id_: (state["ids"][id_], id_)):
            entry = entry_of(id_)
            yield from self._told(user, entry)
            rows.values.put(_key(user, id_), entry)

    def _withdraw(self, user: str, state: Any, named: Any) -> set[str]:
        """Takes back what was told without an id and is told with one now; returns the
        recommendations that had been credited for it."""
        rows, changed = self._rows, set()
        now_ms = rows.now_ms
        for each in [e for e in state["did"] if e[_UNTIL] >= now_ms and _is_same(e, named)]:
            state["did"].remove(each)
            rows.weigh(-_DONE_BYTES)
            credited = each[_CREDITED]
            if credited in state["ids"]:
                key = _key(user, credited)
                entry = rows.values.get(key)
                entry["done"].remove(each[:_ID])
                rows.weigh(-_DONE_BYTES)
                rows.values.put(key, entry)
                changed.add(credited)
        return changed

    def _credited(self, state: Any, did: Any, entry_of: Any) -> str | None:
        """The id of the recommendation that is credited; None: none that is there."""
        at_ms, item, id_ = did[_AT], did[_ITEM], did[_ID]
        horizon_ms = self._keys.horizon_ms
        if id_ is not None:
            served_ms = state["ids"].get(id_)
            is_in_time = served_ms is not None and at_ms <= served_ms + horizon_ms
            return id_ if is_in_time else None
        last = self._keys.credit == "last"
        found: list[tuple[Any, ...]] = []
        wanted = _text_of([item])
        if wanted not in state["text"]:
            return None
        texts = state["text"].split(_END)
        for (name, served_ms), text in zip(state["ids"].items(), texts, strict=False):
            if wanted not in text or not served_ms <= at_ms <= served_ms + horizon_ms:
                continue
            entry = entry_of(name)
            if item not in entry["items"]:
                continue
            if not self._by_impressions:
                if served_ms < at_ms:
                    found.append((served_ms, served_ms, *entry["at"], name))
                continue
            index = entry["items"].index(item)
            shown = [each[0] for each in entry["shows"] if index in _indexes(each)]
            shown = [each for each in shown if each <= at_ms]
            if shown:
                shown_ms = max(shown) if last else min(shown)
                found.append((shown_ms, served_ms, *entry["at"], name))
        if not found:
            return None
        name = (max(found) if last else min(found))[-1]
        return str(name)

    # What is told.

    def _told(self, user: str, entry: Any) -> Iterator[Example]:
        """The example, where what is known says another than was told."""
        keys = self._keys
        strongest = _strongest(entry["done"], entry["items"], entry["served"])
        if not entry["closed"] and (keys.positive == "window" or not strongest):
            return
        shown = self._positions(entry)
        if not shown and not strongest:
            return
        indexes = list(range(len(entry["items"]))) if entry["closed"] else sorted(strongest)
        ranked = entry["ranked"]
        told = [
            entry["closed"],
            [
                [index, shown.get(index, index), index in shown or index in strongest]
                for index in indexes
            ],
            [[index, *strongest[index]] for index in sorted(strongest)],
            ranked is not None,
        ]
        if told == entry["told"]:
            return
        nothing = (0.0, None, None)
        said = [strongest.get(index, nothing) for index in indexes]
        items = Items(
            [entry["items"][index] for index in indexes],
            [shown.get(index, index) for index in indexes],
            [index in shown or index in strongest for index in indexes],
            [each[0] for each in said],
            [each[1] for each in said],
            [each[2] for each in said],
        )
        best = max(said, key=lambda each: (each[0], -(each[2] or 0), each[1] or ""))
        features = None if ranked is None else _features(ranked, indexes)
        labelled_ms = max(self._rows.now_ms, entry["labelled"])
        yield Example(
            tuple(entry["at"]),
            entry["number"],
            entry["recommendation_id"],
            RECOMMENDER,
            entry["model"],
            entry["version"],
            entry["experiment"],
            entry["variant"],
            entry["propensity"],
            entry["mode"],
            user,
            entry["served"],
            labelled_ms,
            None,
            features,
            None if features is None else ranked[1],
            None,
            None,
            best[0],
            best[1],
            1.0 if features is None else ranked[0],
            best[2],
            items,
        )
        entry["told"], entry["labelled"] = told, labelled_ms
        entry["number"] += 1

    def _positions(self, entry: Any) -> dict[int, int]:
        """By item, by its place in the list, where it was shown first."""
        if not self._by_impressions:
            return {index: index for index in range(len(entry["items"]))}
        shown: dict[int, int] = {}
        for each in sorted(entry["shows"], key=lambda each: each[:4]):
            for index, position in each[4]:
                shown.setdefault(index, position)
        return shown

    # What is held.

    def _user(self, user: str) -> Any:
        state = self._rows.values.get(USER_PREFIX + user)
        return state or {"ids": {}, "did": [], "shows": [], "ranked": [], **_NOTHING}

    def _keep(self, user: str, state: Any) -> None:
        if any(state[name] for name in ("ids", "did", "shows", "ranked")):
            self._rows.values.put(USER_PREFIX + user, state)
        else:
            self._rows.values.remove(USER_PREFIX + user)

    def _until_ms(self, came: Came) -> int:
        """How long what came is looked at, in case that its recommendation comes later."""
        return max(came.time_ms, self._rows.now_ms) + self._keys.window_ms

    def _show(self, entry: Any, place: list[Any], items: Sequence[str]) -> None:
        """An impression of a recommendation; items that it does not have were not its own."""
        index_of = {item: index for index, item in reversed(list(enumerate(entry["items"])))}
        positions: dict[int, int] = {}
        for position, item in enumerate(items):
            if item in index_of:
                positions.setdefault(index_of[item], position)
        entry["shows"].append([*place, [list(each) for each in positions.items()]])
        self._rows.weigh(_DONE_BYTES)

    def _rank(self, entry: Any, ranked: Sequence[Any]) -> None:
        """What the ranker saw of a recommendation's items, in their order; of what has not all of
        them nothing is kept."""
        if entry["ranked"] is not None:
            return
        _, weight, names, items, content, _ = ranked
        inputs = np.frombuffer(base64.b64decode(content), np.float32)
        width = len(names.split(","))
        index_of = {item: index for index, item in enumerate(items)}
        chosen = [index_of.get(item, -1) for item in entry["items"]]
        if -1 in chosen or len(inputs) != width * len(items):
            return
        own = base64.b64encode(inputs.reshape(-1, width)[chosen].tobytes()).decode()
        entry["ranked"] = [weight, names, own]
        self._rows.weigh(_DONE_BYTES + len(own))


def _key(user: str, recommendation_id: str) -> str:
    return f"{RECOMMENDATION_PREFIX}{user}\n{recommendation_id}"


def _text_of(items: Sequence[str]) -> str:
    """Items as one text, in which each is found; more may be found than is there."""
    text = "\n" + "\n".join(items) + "\n"
    return text.replace(_END, "\n") if _END in text else text


def _is_same(anonymous: Any, named: Any) -> bool:
    """Whether what was told without an id was told with one, too."""
    return (
        anonymous[_ID] is None
        and named[_ID] is not None
        and anonymous[_ITEM] == named[_ITEM]
        and anonymous[_KIND] == named[_KIND]
        and abs(anonymous[_AT] - named[_AT]) <= SAME_MS
    )


def _indexes(shown: Any) -> set[int]:
    return {index for index, _ in shown[4]}


def _strongest(
    done: Sequence[Any], items: Sequence[str], served_ms: int
) -> dict[int, tuple[float, str, int]]:
    """By item, by its place in the list: weight, kind and delay of the strongest thing that
    happened; of several the first."""
    found: dict[int, tuple[Any, ...]] = {}
    for each in done:
        if each[_ITEM] not in items:
            continue
        index = items.index(each[_ITEM])
        rank = (-each[_WEIGHT], *each[: _OFFSET + 1], each[_KIND])
        if index not in found or rank < found[index]:
            found[index] = rank
    return {
        index: (-rank[0], rank[-1], max(0, rank[1] - served_ms)) for index, rank in found.items()
    }


def _features(ranked: Sequence[Any], indexes: Sequence[int]) -> NDArray[np.float32]:
    """What the ranker saw of some items, in turns."""
    _, names, content = ranked
    inputs = np.frombuffer(base64.b64decode(content), np.float32)
    chosen: NDArray[np.float32] = inputs.reshape(-1, len(names.split(",")))[indexes].reshape(-1)
    return chosen


__all__ = ["RECOMMENDATION_PREFIX", "SAME_MS", "USER_PREFIX", "ItemLabels"]
