"""`ClickIndex`: what all candidate methods remember, learned click by click in compiled code."""

import numpy as np
from numpy.typing import NDArray

from streamrec.models.sessions.index_state import (
    CLICKS,
    CONTEXT,
    DISTANCE_MAX,
    LINES,
    LONG_STEP,
    N_LEADERS,
    PAIR_STEP,
    PAIR_TOP,
    POST_TOP,
    SHORT_STEP,
    WAYS,
    State,
)
from streamrec.models.sessions.items import grown
from streamrec.models.sessions.learn_kernel import forget_items, learn_clicks
from streamrec.models.sessions.numbered import NumberedSessions
from streamrec.models.sessions.vectors import STEP_CLICKS, Vectors, empty_vectors, step, with_room
from streamrec.models.sessions.vectors import forget as forget_vectors
from streamrec.models.sessions.weights import Bounds, Weights

_FIRST_ITEMS = 1_024
_FIRST_LINES = 4_096
_OPEN_MIN = 4_096


class ClickIndex:
    """The state of the methods, with its growth, its bounds and its exact copies.

    Memory, default bounds: 64 bytes a session kept, 392 an item, 4 a session listed for an item
    and 24 an item listed for an item, up to twice that for room to grow. `docs/models.md` has the
    bytes per million clicks. Used by one thread.
    """

    def __init__(self, bounds: Bounds, weights: Weights) -> None:
        self.bounds = bounds
        sets = 1
        while sets * WAYS < max(_OPEN_MIN, bounds.sessions_max // 4):
            sets *= 2
        growth = np.ones(6)
        growth[SHORT_STEP] = np.exp(1.0 / max(weights.short_clicks, 1.0))
        growth[LONG_STEP] = np.exp(1.0 / max(weights.long_clicks, 1.0))
        growth[PAIR_STEP] = np.exp(1.0 / max(weights.pair_clicks, 1.0))
        room = 4 * (CONTEXT + 1) * bounds.posts_max
        pair_room = 4 * 2 * DISTANCE_MAX * bounds.pairs_max
        self.state = State(
            counters=np.zeros(6, np.int64),
            growth=growth,
            stats=np.zeros((min(_FIRST_ITEMS, bounds.items_max), 8)),
            blocks=np.zeros((min(_FIRST_ITEMS, bounds.items_max), 8), np.int64),
            lines=np.zeros((min(_FIRST_LINES, bounds.sessions_max), 16), np.int32),
            open_keys=np.zeros(sets * WAYS, np.int64),
            open_lines=np.full(sets * WAYS, -1, np.int64),
            posts=np.zeros(room, np.uint32),
            pair_items=np.zeros(pair_room, np.int32),
            pair_values=np.zeros((pair_room, 4), np.float32),
            pair_seen=np.zeros(pair_room, np.uint32),
            free_posts=np.full(32, -1, np.int64),
            free_pairs=np.full(32, -1, np.int64),
            leaders=np.zeros(N_LEADERS, np.int32),
        )
        self.vectors = empty_vectors(len(self.state.stats))

    def learn(self, sessions: NumberedSessions, n_items: int) -> None:
        """Learn the last click of each session, in order; `n_items` bounds the item numbers."""
        state = self.state
        if n_items > len(state.stats):
            capacity = min(max(n_items, 2 * len(state.stats)), self.bounds.items_max)
            state = state._replace(
                stats=grown(state.stats, capacity), blocks=grown(state.blocks, capacity)
            )
            self.vectors = with_room(self.vectors, capacity)
        # The ring only doubles before it has come round: then a line's place stays the same.
        lines = len(state.lines)
        while lines < self.bounds.sessions_max and state.counters[LINES] + len(sessions) > lines:
            lines *= 2
        if lines > len(state.lines):
            state = state._replace(lines=grown(state.lines, lines))
        self.state = state
        row = 0
        while row < len(sessions):
            clicks_before = self.state.counters[CLICKS]
            row = learn_clicks(
                self.state,
                sessions.keys,
                sessions.items,
                sessions.bounds,
                sessions.positions,
                row,
                self.bounds.posts_max,
                self.bounds.pairs_max,
                STEP_CLICKS,
            )
            clicks = self.state.counters[CLICKS]
            if clicks > clicks_before and clicks % STEP_CLICKS == 0:
                self.vectors = step(self.state, self.vectors)
            elif row < len(sessions):
                self._make_room()

    def forget(self, numbers: NDArray[np.int32]) -> None:
        """Drop what is known of items whose numbers will stand for others."""
        known = numbers[numbers < len(self.state.stats)]
        forget_items(self.state, known)
        forget_vectors(self.vectors, known)

    @property
    def bytes_used(self) -> int:
        """Memory of the arrays, in bytes."""
        return sum(array.nbytes for array in (*self.state, *self.vectors))

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Everything learned, as arrays without objects; arenas up to what is in use."""
        state = self.state
        posts, pairs = state.counters[POST_TOP], state.counters[PAIR_TOP]
        ends = {"posts": posts, "pair_items": pairs, "pair_values": pairs, "pair_seen": pairs}
        kept = {
            name: array[: ends.get(name, len(array))].copy()
            for name, array in state._asdict().items()
        }
        vectors = {name: array.copy() for name, array in self.vectors._asdict().items()}
        return {**kept, **vectors}

    def restore(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        """Become the index whose `arrays()` these are."""
        fresh = self.state._asdict()
        room = {name: len(fresh[name]) for name in _ARENAS}
        loaded = {}
        for name, array in fresh.items():
            given = np.ascontiguousarray(arrays[name], array.dtype)
            loaded[name] = grown(given, len(given) + room[name]) if name in room else given
        self.state = State(**loaded)
        self.vectors = Vectors(
            **{
                name: np.ascontiguousarray(arrays[name], array.dtype)
                for name, array in self.vectors._asdict().items()
            }
        )

    def _make_room(self) -> None:
        state = self.state
        posts = int(state.counters[POST_TOP]) * 3 // 2 + 4 * (CONTEXT + 1) * self.bounds.posts_max
        pairs = int(state.counters[PAIR_TOP]) * 3 // 2 + 8 * DISTANCE_MAX * self.bounds.pairs_max
        if posts > len(state.posts):
            self.state = self.state._replace(posts=grown(state.posts, posts))
        if pairs > len(state.pair_items):
            self.state = self.state._replace(
                pair_items=grown(state.pair_items, pairs),
                pair_values=grown(state.pair_values, pairs),
                pair_seen=grown(state.pair_seen, pairs),
            )


_ARENAS = ("posts", "pair_items", "pair_values", "pair_seen")
