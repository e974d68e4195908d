"""What is known of items now: an index that follows the topic of sessions, as the main job's does.

It answers sessions that come with a request by the model of the settings, and says what is popular,
what is new, and what is clicked around an item. It learns what the processes of the main job have
learned, some 10 ms later (`dataflows.steps.session_table`), and nothing of what it is asked.
"""

import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.log import Log, RawBatch
from streamrec.dataflows.job.codecs import decoder_of
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.job.topics import SESSIONS
from streamrec.dataflows.steps.recommend import make_model
from streamrec.dataflows.steps.serving import Serving
from streamrec.dataflows.steps.session_table import SessionTable
from streamrec.models.contract import ModelInfo
from streamrec.models.loading import Model, load_model
from streamrec.models.sessions.index_state import COUNT, FIRST, LONG
from streamrec.models.sessions.model import SessionModel
from streamrec.models.sessions.numbered import NumberedSessions
from streamrec.models.sessions.recommender import SessionRecommender
from streamrec.schemas.columns import Bytes, strings
from streamrec.schemas.hashing import hash64

KEPT = 500  # popular and new items that are at hand
_KEPT_S = 1.0  # before others are made
_OLD_S = 5.0  # so much later they are not told any more: nobody has asked meanwhile
_AROUND = ("knn", "suffix", "rules", "near", "two_hop")  # methods that look around an item


class ScoredItem(NamedTuple):
    """An item, and why it is there."""

    item_id: str
    score: float
    methods: int  # bit i: the i-th of ModelInfo.methods


class ReadSoFar(NamedTuple):
    """How far an index has read."""

    offsets: dict[int, int]  # of the topic of sessions, as far as it was learned
    newest_ms: int  # of what was learned, by the log's time, Unix ms; 0: nothing yet


@dataclass(frozen=True, slots=True)
class ForEverybody:
    """What holds for everybody, as it was at a time."""

    popular: list[ScoredItem]
    latest: list[ScoredItem]  # score: how many clicks ago the item was seen first, negative
    learned: ReadSoFar


class FollowedSessions(SessionTable):
    """Notes when what it took in was written."""

    newest_ms = 0

    def apply(self, batch: RawBatch) -> int:
        learned = super().apply(batch)
        self.newest_ms = max(self.newest_ms, int(batch.times_ms.max(initial=0)))
        return learned


class LiveItems:
    """One of a process; safe for use by several threads, which take turns."""

    def __init__(self, model: Model, clock_s: Callable[[], float] = time.monotonic) -> None:
        """Its shared recommender must be a `SessionModel`."""
        shared = model.shared
        assert isinstance(shared, SessionModel)
        self.serving = Serving(model, shared.info, np.zeros(0, np.int64))
        self.table: FollowedSessions | None = None
        self._model = shared
        self._recommender = shared.recommender
        self._popular = shared.recommender.alone("popular")
        self._around = shared.recommender.alone(*_AROUND)
        self._clock_s = clock_s
        self._lists: ForEverybody | None = None
        self._lists_until_s = 0.0
        self._making = threading.Lock()

    @property
    def info(self) -> ModelInfo:
        return self.serving.info

    def recommend(
        self, session: Sequence[str], times_ms: Sequence[int], k: int
    ) -> list[ScoredItem]:
        """What comes next in a session of item ids, oldest first, with event times (Unix ms, 0: not
        known). Ids that were never clicked are passed over; without any, what is popular."""
        return self._ranked(self._recommender, session, times_ms, k)

    def around(self, item_id: str, k: int) -> list[ScoredItem] | None:
        """What is clicked in the sessions that hold an item; None: it was never clicked."""
        with self.serving.lock:
            is_known = self._numbers([item_id])[0] >= 0
        if not is_known:
            return None
        found = self._ranked(self._around, [item_id], [0], k + 1)
        return [each for each in found if each.item_id != item_id][:k]

    def rank(
        self, session: Sequence[str], times_ms: Sequence[int], items: Sequence[str]
    ) -> tuple[list[ScoredItem], list[str]]:
        """Given items, best first: those that the model proposes for the session, by its score;
        then the others, by how much they are clicked."""
        wanted = set(items)
        proposed = self.recommend(session, times_ms, self._recommender.slots)
        ranked = [each for each in proposed if each.item_id in wanted]
        placed = {each.item_id for each in ranked}
        rest = [item for item in items if item not in placed]
        clicks = self._popularity(rest)
        order = sorted(range(len(rest)), key=lambda row: (-clicks[row], row))
        return ranked, [rest[row] for row in order]

    def learned(self) -> ReadSoFar:
        """How far it has read by now, at least."""
        table = self.table
        return (
            ReadSoFar({}, 0) if table is None else ReadSoFar(dict(table.positions), table.newest_ms)
        )

    @property
    def has_lists(self) -> bool:
        """Whether `lists` need not be made before it returns."""
        return self._lists is not None and self._clock_s() < self._lists_until_s + _OLD_S

    def lists(self) -> ForEverybody:
        """What holds for everybody, about a second old, and never more than some: a new one is made
        beside, by a thread, or, where the last is old, here."""
        lists = self._lists
        if lists is None or not self.has_lists:
            with self._making:
                if not self.has_lists:
                    self._make()
                lists = self._lists
        elif self._clock_s() >= self._lists_until_s and self._making.acquire(blocking=False):
            threading.Thread(target=self._make_beside, name="popular", daemon=True).start()
        assert lists is not None
        return lists

    def _make_beside(self) -> None:
        try:
            self._make()
        finally:
            self._making.release()

    def _make(self) -> None:
        self._lists = self._made()
        self._lists_until_s = self._clock_s() + _KEPT_S

    def _made(self) -> ForEverybody:
        learned = self.learned()  # first: they hold that, and may hold more
        return ForEverybody(self._most_clicked(), self._first_seen_last(), learned)

    def _most_clicked(self) -> list[ScoredItem]:
        """By the clicks of late; then, behind those that lead, by those of the longer memory."""
        leading = self._ranked(self._popular, [], [], self._popular.slots)
        with self.serving.lock:
            state = self._recommender.index.state
            numbers = _largest(np.where(state.stats[:, COUNT] > 0, state.stats[:, LONG], -1.0))
            ids = self._ids(numbers)
        names = {each.item_id for each in leading}
        popular = 1 << self.info.methods.index("popular")
        return (leading + [ScoredItem(i, 0.0, popular) for i in ids if i not in names])[:KEPT]

    def _first_seen_last(self) -> list[ScoredItem]:
        with self.serving.lock:
            state = self._recommender.index.state
            first = np.where(state.stats[:, COUNT] > 0, state.stats[:, FIRST], -1.0)
            numbers = _largest(first)
            ids, ago = self._ids(numbers), first[numbers] - state.counters[0]
        return [ScoredItem(i, float(a), 0) for i, a in zip(ids, ago.tolist(), strict=True)]

    def _popularity(self, items: Sequence[str]) -> list[float]:
        with self.serving.lock:
            numbers = self._numbers(items)
            stats = self._recommender.index.state.stats
            known = (numbers >= 0) & (numbers < len(stats))
            clicks = np.where(known, stats[np.where(known, numbers, 0), LONG], -1.0)
        found: list[float] = clicks.tolist()
        return found

    def _ranked(
        self,
        recommender: SessionRecommender,
        session: Sequence[str],
        times_ms: Sequence[int],
        k: int,
    ) -> list[ScoredItem]:
        with self.serving.lock:
            # By number and not by id: what is asked must not make an item known.
            numbered = NumberedSessions(
                keys=np.zeros(1, np.int64),
                items=self._numbers(session),
                times_ms=np.array(times_ms, np.int64),
                bounds=np.array([0, len(session)], np.int64),
                positions=np.array([len(session)], np.int32),
                user_features=np.zeros((1, len(recommender.info.user_features)), np.float32),
            )
            ranking = self._model.ranked_by(recommender, numbered, min(k, recommender.slots))
        ids = texts_of(ranking.item_ids)
        scores, methods = ranking.scores.tolist(), ranking.methods.tolist()
        return [ScoredItem(*each) for each in zip(ids, scores, methods, strict=True)]

    def _numbers(self, items: Sequence[str]) -> NDArray[np.int32]:
        keys = hash64(strings(items)) if items else np.zeros(0, np.int64)
        return self._recommender.items.numbers(keys.astype(np.int64), None, add=False)

    def _ids(self, numbers: NDArray[np.int32]) -> list[str]:
        return texts_of(self._recommender.items.ids(numbers))


def _largest(values: NDArray[np.float64]) -> NDArray[np.int32]:
    """Where the largest values stand that are not negative, largest first."""
    count = min(KEPT, len(values))
    if not count:
        return np.zeros(0, np.int32)
    found = np.argpartition(-values, count - 1)[:count]
    found = found[np.argsort(-values[found], kind="stable")]
    return found[values[found] >= 0].astype(np.int32)


def texts_of(ids: Bytes) -> list[str]:
    """A column of ids as plain strings."""
    return [ids.bytes_at(row).decode("utf-8", "replace") for row in range(len(ids))]


def live_items(log: Log, settings: Settings) -> LiveItems:
    """Loaded with what the topic of sessions holds, and following it. Raises StartError."""
    topic = settings.topic(SESSIONS)
    model = make_model(log, settings.model, settings.model_path, topic)
    if not isinstance(model.shared, SessionModel):  # somebody's class says nothing of items
        model = load_model("none")
    live = LiveItems(model)
    decoder = decoder_of(log.registry(), SESSIONS, log.patience)()
    live.table = FollowedSessions(
        log, topic, "", weakref.ref(live.serving), decoder, settings.session_items
    )
    live.table.follow(live.table.load(settings.session_history_s))
    live.lists()
    return live


__all__ = ["KEPT", "ForEverybody", "LiveItems", "ReadSoFar", "ScoredItem", "live_items"]
