"""Replaying a click log: ask about sessions with what was known before them, then learn them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamrec.models.contract import Ranker
from streamrec.models.sessions.recommender import SessionRecommender
from streamrec.models.training.logs import Judged, SessionRows
from streamrec.models.training.metrics import hits, reciprocal_ranks
from streamrec.models.training.row_blocks import FloatBlocks, RowBlocks

CUT_OFF = 20  # of the hit rate and the reciprocal rank that everything is tuned for
_LEARN_CHUNK = 20_000  # clicks handed over at once, a matter of memory only
_ASK_CHUNK = 512


@dataclass(frozen=True, slots=True)
class Rows:
    """Training rows: all candidates of n sessions whose target is among them. Their inputs stay
    packed; parts of them are over the same memory."""

    blocks: RowBlocks  # these rows from `begin` on: group after group, in the blend's order
    begin: int
    labels: NDArray[np.bool_]  # (rows,)
    groups: NDArray[np.int32]  # (n,) rows of each

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def width(self) -> int:
        """How many inputs a row has."""
        return self.blocks.width

    def first(self, n: int) -> "Rows":
        """The first n groups."""
        end = int(self.groups[:n].sum())
        return Rows(self.blocks, self.begin, self.labels[:end], self.groups[:n])

    def last(self, n: int) -> "Rows":
        """The last n groups."""
        kept = self.groups[max(len(self.groups) - n, 0) :]
        skipped = len(self.labels) - int(kept.sum())
        return Rows(self.blocks, self.begin + skipped, self.labels[skipped:], kept)

    def features(self, begin: int = 0, end: int | None = None) -> NDArray[np.float32]:
        """Inputs of some rows, (end - begin, width); not to be altered."""
        end = len(self) if end is None else end
        return self.blocks.between(self.begin + begin, self.begin + end)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Candidates of n sessions that no row is made of, to choose between rankers."""

    features: FloatBlocks  # (m, n_features, c) each, n sessions together
    items: NDArray[np.int32]  # (n, c)
    targets: NDArray[np.int32]  # (n,)

    def scores(self, ranker: Ranker) -> NDArray[np.float32]:
        """Those that a ranker gives, (n, c)."""
        parts = [self.features[number].transpose(0, 2, 1) for number in range(len(self.features))]
        return np.concatenate([ranker.scores(part) for part in parts])

    def quality(self, scores: NDArray[np.float32]) -> float:
        """HR@20 + MRR@20 of scores (n, c); ties count against us, targets not proposed too."""
        scores = np.where(self.items >= 0, scores, -np.inf)
        found = (self.items == self.targets[:, None]) & (self.targets[:, None] >= 0)
        mine = np.max(np.where(found, scores, -np.inf), axis=1)
        ranks = np.where(found.any(axis=1), (scores >= mine[:, None]).sum(axis=1), 0)
        return float(hits(ranks, CUT_OFF).mean() + reciprocal_ranks(ranks, CUT_OFF).mean())


def learn_rows(model: SessionRecommender, rows: SessionRows, begin: int, end: int) -> None:
    """Learn the clicks `begin` to `end` of the log, in order."""
    for first in range(begin, end, _LEARN_CHUNK):
        model.learn(rows.sessions(slice(first, min(first + _LEARN_CHUNK, end))))


def questions_between(
    rows: SessionRows, begin: int, end: int, rng: np.random.Generator, wanted: int
) -> NDArray[np.int64]:
    """Up to `wanted` clicks in [begin, end) that have a next one, in order.

    Of sessions that begin there, so that nothing of them was learned, as in a published test; of
    all sessions where that would leave fewer than half, as with users who stay for hours.
    """
    goes_on = rows.have_next(slice(begin, end))
    begins = rows.began(slice(begin, end)) >= begin
    if 2 * (begins & goes_on).sum() >= goes_on.sum():
        goes_on &= begins
    questions: NDArray[np.int64] = np.arange(begin, end)[goes_on]
    if len(questions) > wanted:
        questions = np.sort(rng.choice(questions, wanted, replace=False))
    return questions


class RowsMaker:
    """Asks a model and makes rows of the sessions whose target is proposed. All candidates of each
    are rows: keeping only the hard ones cost 5 points of hit rate."""

    def __init__(self, model: SessionRecommender) -> None:
        self._model = model
        self._blocks = RowBlocks(len(model.info.features))
        self._labels = [np.zeros(0, np.bool_)]
        self._groups = [np.zeros(0, np.int32)]
        self.sessions = 0  # of which there are rows

    def ask(self, judged: Judged) -> None:
        """Rows of some more, as the model proposes now."""
        for first in range(0, len(judged), _ASK_CHUNK):
            part = judged[slice(first, first + _ASK_CHUNK)]
            proposed = self._model.candidates(part.sessions)
            taken = proposed.items == part.targets[:, None]
            useful = taken.any(axis=1) & (part.targets >= 0)
            filled = proposed.items[useful] >= 0
            self._blocks.add(proposed.features[useful][filled])
            self._labels.append(taken[useful][filled])
            self._groups.append(filled.sum(axis=1).astype(np.int32))
            self.sessions += len(filled)

    def rows(self) -> Rows:
        """All of them, in order."""
        labels, groups = np.concatenate(self._labels), np.concatenate(self._groups)
        return Rows(self._blocks, 0, labels, groups)


def hold_out(model: SessionRecommender, judged: Judged) -> HeldOut:
    """Candidates as the model proposes them now."""
    features, items = FloatBlocks(), [np.zeros((0, model.slots), np.int32)]
    for first in range(0, len(judged), _ASK_CHUNK):
        proposed = model.candidates(judged[slice(first, first + _ASK_CHUNK)].sessions)
        features.add(proposed.features.transpose(0, 2, 1))
        items.append(proposed.items)
    return HeldOut(features, np.concatenate(items), judged.targets)
