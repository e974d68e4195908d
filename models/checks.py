"""The battery of checks that every recommender passes, for those of others too.

    streamrec model check my_module:Trending

or, in a test of one's own:

    def test_it_keeps_the_contract():
        check_recommender(Trending)
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamrec.models.contract import (
    ModelInfo,
    Ranking,
    Sessions,
    check_ranking,
    is_one_by_one,
    scope_of,
)
from streamrec.schemas.columns import strings
from streamrec.schemas.hashing import hash64
from streamrec.user_code import told

_K = 5
_ASKED = 5  # sessions
_MINUTE_MS = 60_000
_START_MS = 1_767_225_600_000

Make = Callable[[], Any]


class BrokenContract(AssertionError):
    """A recommender does not keep the contract; the message says where, and what was expected."""


class Check(NamedTuple):
    """One check, and what it found."""

    name: str
    complaint: str | None  # None: it passed


def check_recommender(make: Make) -> None:
    """Check what `make()` makes against `models.contract`. Raises BrokenContract with all that is
    wrong, a line each. `make` is called several times, and each must be as new."""
    complaints = [f"{c.name}: {c.complaint}" for c in checks_of(make) if c.complaint is not None]
    if complaints:
        raise BrokenContract("\n".join(complaints))


def checks_of(make: Make) -> Iterator[Check]:
    """Run the checks one after the other. What a recommender lacks ends them."""
    for check in (_has_what_it_needs, *_BATTERY):
        name = check.__name__.strip("_").replace("_", " ")
        try:
            check(make)
        except BrokenContract as error:
            complaint: str | None = str(error)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # user code may raise anything
            complaint = f"raised {told(error)}"
        else:
            complaint = None
        yield Check(name, complaint)
        if complaint is not None and check is _has_what_it_needs:
            return


def made_sessions(
    lists: list[list[str]], keys: list[int] | None = None, user_features: int = 0
) -> Sessions:
    """Sessions of these items, oldest first, one click a minute; each by a user of its own."""
    flat = [item for each in lists for item in each]
    bounds = np.cumsum([0, *map(len, lists)])
    times = [_START_MS + place * _MINUTE_MS for each in lists for place in range(len(each))]
    return Sessions(
        keys=np.array(range(len(lists)) if keys is None else keys, np.int64),
        item_ids=strings([each[-1] for each in lists]),
        user_ids=strings([f"u{row}" for row in range(len(lists))]),
        item_keys=hash64(strings(flat)),
        times_ms=np.array(times, np.int64),
        bounds=bounds,
        positions=np.array([len(each) for each in lists], np.int32),
        user_features=np.zeros((len(lists), user_features), np.float32),
    )


def _clicks(n: int, seed: int) -> Iterator[tuple[int, list[str]]]:
    """Sessions as they grow: their keys, and their items after each click."""
    rng = np.random.default_rng(seed)
    held: dict[int, list[str]] = {}
    for _ in range(n):
        key = int(rng.integers(0, 12))
        item = f"i{int(rng.integers(0, 30)) // (1 + key % 3)}"
        held[key] = [*held.get(key, []), item][-32:]
        yield key, held[key]


def _growing(recommender: Any, n: int, seed: int, first_key: int = 0) -> Iterator[Sessions]:
    """The batches in which clicks are learned: one by one where the recommender wants it so."""
    size = 1 if is_one_by_one(recommender) else 20
    features = len(recommender.info.user_features)
    clicks = list(_clicks(n, seed))
    for first in range(0, n, size):
        part = clicks[first : first + size]
        keys = [first_key + key for key, _ in part]
        yield made_sessions([items for _, items in part], keys, features)


def _learned(make: Make) -> Any:
    """Asked and taught as a flow does it."""
    recommender = make()
    _teach(recommender, 200, seed=1)
    return recommender


def _teach(recommender: Any, n: int, seed: int, first_key: int = 0) -> None:
    for sessions in _growing(recommender, n, seed, first_key):
        recommender.recommend(sessions, _K)
        recommender.learn(sessions)


def _asked(recommender: Any) -> Sessions:
    lists = [["i1"], ["i2", "i9", "i2"], ["never seen"], ["i3"] * 7, [f"i{n}" for n in range(20)]]
    return made_sessions(lists, [100, 101, 102, 103, 104], len(recommender.info.user_features))


def _answers(recommender: Any, sessions: Sessions) -> list[Ranking]:
    """In one batch, or one by one where the recommender wants it so."""
    if not is_one_by_one(recommender):
        return [recommender.recommend(sessions, _K)]
    rows = (np.array([row]) for row in range(len(sessions)))
    return [recommender.recommend(sessions.take(row), _K) for row in rows]


def _plain(rankings: list[Ranking]) -> list[list[tuple[bytes, float]]]:
    found = []
    for ranking in rankings:
        for begin, end in pairwise(ranking.bounds.tolist()):
            ids = [ranking.item_ids.bytes_at(row) for row in range(begin, end)]
            found.append(list(zip(ids, ranking.scores[begin:end].tolist(), strict=True)))
    return found


def _has_what_it_needs(make: Make) -> None:
    recommender = make()
    for name in ("info", "recommend", "learn"):
        if not hasattr(recommender, name):
            raise BrokenContract(f"expected {name}, got none")
    if not isinstance(recommender.info, ModelInfo):
        raise BrokenContract(f"info expected a ModelInfo, got {recommender.info!r}")
    if scope_of(recommender) not in ("process", "shard"):
        raise BrokenContract(f"scope expected 'process' or 'shard', got {recommender.scope!r}")
    if scope_of(recommender) == "shard":
        for name in ("state", "restore"):
            if not hasattr(recommender, name):
                raise BrokenContract(f"scope 'shard' expected {name}, got none")


def _answers_before_it_learned(make: Make) -> None:
    recommender = make()
    _check_shape(_answers(recommender, _asked(recommender)), recommender)


def _answers_are_rankings(make: Make) -> None:
    recommender = _learned(make)
    _check_shape(_answers(recommender, _asked(recommender)), recommender)


def _check_shape(rankings: list[Ranking], recommender: Any) -> None:
    for ranking in rankings:
        try:
            check_ranking(ranking, _ASKED // len(rankings))
        except (TypeError, ValueError) as error:
            raise BrokenContract(str(error)) from error
        methods = len(recommender.info.methods)
        if (ranking.methods < 0).any() or (ranking.methods >> max(methods, 0)).any():
            raise BrokenContract(f"methods expected bits of info.methods ({methods}), got others")
    for answer in _plain(rankings):
        ids, scores = [i for i, _ in answer], [score for _, score in answer]
        if len(ids) > _K:
            raise BrokenContract(f"recommend expected at most k = {_K} items, got {len(ids)}")
        if len(set(ids)) < len(ids):
            raise BrokenContract(f"recommend expected no item twice, got {ids}")
        if scores != sorted(scores, reverse=True):
            raise BrokenContract(f"scores expected to fall, best first, got {scores}")


def _predicting_changes_no_answer(make: Make) -> None:
    recommender = _learned(make)
    asked = _asked(recommender)
    first = _plain(_answers(recommender, asked))
    if _plain(_answers(recommender, asked)) != first:
        raise BrokenContract("recommend expected the same answer when asked again, got another")


def _sessions_are_left_as_they_were(make: Make) -> None:
    recommender = _learned(make)
    asked = _asked(recommender)
    if is_one_by_one(recommender):
        asked = asked.take(np.array([1]))
    before = [array.copy() for array in _arrays(asked)]
    recommender.recommend(asked, _K)
    recommender.learn(asked)
    if any(not np.array_equal(a, b) for a, b in zip(before, _arrays(asked), strict=True)):
        raise BrokenContract("the arrays handed over expected to stay as they are, got others")


def _arrays(sessions: Sessions) -> list[NDArray[Any]]:
    ids = sessions.item_ids
    return [sessions.keys, sessions.item_keys, sessions.times_ms, sessions.bounds, ids.data]


def _a_batch_says_what_its_sessions_say_alone(make: Make) -> None:
    recommender = _learned(make)
    if is_one_by_one(recommender):
        return
    asked = _asked(recommender)
    together = _plain(_answers(recommender, asked))
    for row in range(len(asked)):
        alone = _plain([recommender.recommend(asked.take(np.array([row])), _K)])[0]
        same = [item for item, _ in alone] == [item for item, _ in together[row]]
        close = np.allclose([s for _, s in alone], [s for _, s in together[row]], rtol=1e-5)
        if not (same and close):
            raise BrokenContract(
                f"a session alone expected the answer that it has in a batch, {together[row]}, "
                f"got {alone}"
            )


def _equal_calls_give_equal_answers(make: Make) -> None:
    one, other = _learned(make), _learned(make)
    if _plain(_answers(one, _asked(one))) != _plain(_answers(other, _asked(other))):
        raise BrokenContract("two made alike and taught alike expected equal answers, got others")


def _saved_state_resumes_exactly(make: Make) -> None:
    if scope_of(make()) != "shard":
        return
    stopped, resumed = _learned(make), make()
    state = stopped.state()
    for name, array in state.items():
        if not isinstance(array, np.ndarray) or array.dtype.hasobject:
            raise BrokenContract(f"state[{name!r}] expected an array without objects")
    if hasattr(resumed, "beside"):  # what a flow rebuilds from the topic of sessions
        for sessions in _growing(resumed, 200, seed=1):
            resumed.beside.learn(sessions)
    resumed.restore(state)
    for recommender in (stopped, resumed):
        _teach(recommender, 40, seed=2, first_key=1_000)
    if _plain(_answers(stopped, _asked(stopped))) != _plain(_answers(resumed, _asked(resumed))):
        raise BrokenContract("one that was restored expected the answers of one that never stopped")


_BATTERY = (
    _answers_before_it_learned,
    _answers_are_rankings,
    _predicting_changes_no_answer,
    _sessions_are_left_as_they_were,
    _a_batch_says_what_its_sessions_say_alone,
    _equal_calls_give_equal_answers,
    _saved_state_resumes_exactly,
)

__all__ = ["BrokenContract", "Check", "check_recommender", "checks_of", "made_sessions"]
