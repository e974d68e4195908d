"""The public battery: a class that keeps the contract passes, and each way to break it is told."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from streamrec import ModelInfo, Ranking, Sessions, check_recommender
from streamrec.models.artifact import BadArtifact
from streamrec.models.checks import BrokenContract
from streamrec.models.kinds import KINDS
from streamrec.models.loading import load_model
from streamrec.models.sessions.recommender import SessionRecommender


class Popular:
    """Counts; one of the shard."""

    info = ModelInfo(name="popular", version="1")
    scope = "shard"

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def recommend(self, sessions: Sessions, k: int) -> Ranking:
        best = sorted(self.counts, key=lambda item: (-self.counts[item], item))[:k]
        return Ranking.of_lists([best] * len(sessions))

    def learn(self, sessions: Sessions) -> None:
        self.counts.update(sessions.ids())

    def state(self) -> dict[str, np.ndarray]:
        return {
            "items": np.array(list(self.counts), "U8"),
            "counts": np.array(list(self.counts.values()), np.int64),
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        pairs = zip(state["items"].tolist(), state["counts"].tolist(), strict=True)
        self.counts = Counter(dict(pairs))


class NoInfo(Popular):
    info = None  # type: ignore[assignment]  # what is to be found


class TooMany(Popular):
    def recommend(self, sessions: Sessions, k: int) -> Ranking:
        return super().recommend(sessions, k + 1)


class Twice(Popular):
    def recommend(self, sessions: Sessions, k: int) -> Ranking:
        return Ranking.of_lists([["i1", "i1"]] * len(sessions))


class NotANumber(Popular):
    def recommend(self, sessions: Sessions, k: int) -> Ranking:
        return Ranking.of_lists([["i1"]] * len(sessions), [[float("nan")]] * len(sessions))


class Rising(Popular):
    def recommend(self, sessions: Sessions, k: int) -> Ranking:
        return Ranking.of_lists([["i1", "i2"]] * len(sessions), [[1.0, 2.0]] * len(sessions))


class TooFew(Popular):
    def recommend(self, sessions: Sessions, k: int) -> Ranking:
        return Ranking.of_lists([["i1"]])


class ListOfLists(Popular):
    def recommend(self, sessions: Sessions, k: int) -> Ranking:
        return [["i1"]] * len(sessions)  # type: ignore[return-value]  # what is to be found


class Drifting(Popular):
    def recommend(self, sessions: Sessions, k: int) -> Ranking:
        self.counts["i1"] += 100 if self.counts["i1"] <= self.counts["i0"] else -100
        return super().recommend(sessions, k)


class ByBatch(Popular):
    def recommend(self, sessions: Sessions, k: int) -> Ranking:
        return Ranking.of_lists([[f"of {len(sessions)}"]] * len(sessions))


class Chance(Popular):
    def __init__(self) -> None:
        super().__init__()
        self.name = str(np.random.default_rng().integers(1 << 40))

    def recommend(self, sessions: Sessions, k: int) -> Ranking:
        return Ranking.of_lists([[self.name]] * len(sessions))


class Scribbling(Popular):
    def learn(self, sessions: Sessions) -> None:
        super().learn(sessions)
        sessions.keys[:] = 0


class Forgetful(Popular):
    def restore(self, state: dict[str, np.ndarray]) -> None:
        pass


class Objects(Popular):
    def state(self) -> dict[str, np.ndarray]:
        return {"counts": np.array([dict(self.counts)], object)}


class Failing(Popular):
    def learn(self, sessions: Sessions) -> None:
        raise KeyError("i7")


def test_a_class_that_keeps_the_contract_passes() -> None:
    check_recommender(Popular)


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (NoInfo, "has what it needs: info expected a ModelInfo, got None"),
        (TooMany, "recommend expected at most k = 5 items, got 6"),
        (Twice, "recommend expected no item twice"),
        (NotANumber, "scores expected finite numbers"),
        (Rising, "scores expected to fall, best first"),
        (TooFew, "recommend expected a ranking of 5 sessions, got 1"),
        (ListOfLists, "recommend expected a Ranking, got list"),
        (Drifting, "predicting changes no answer: recommend expected the same answer"),
        (ByBatch, "a batch says what its sessions say alone: a session alone expected"),
        (Chance, "equal calls give equal answers: two made alike"),
        (Scribbling, "sessions are left as they were: the arrays handed over"),
        (Forgetful, "saved state resumes exactly: one that was restored expected"),
        (Objects, "state['counts'] expected an array without objects"),
        (Failing, "raised KeyError('i7') at "),
    ],
)
def test_each_way_to_break_it_is_told(broken: type[Popular], told: str) -> None:
    with pytest.raises(BrokenContract) as raised:
        check_recommender(broken)
    assert told in str(raised.value)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_keeps_the_contract(kind: str) -> None:
    check_recommender(lambda: load_model(kind).for_shard())


def test_an_artifact_is_served_by_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "artifact"
    model = SessionRecommender()
    model.save(folder)
    loaded = load_model(str(folder)).for_shard()
    assert loaded.info.version not in ("untrained", load_model("artifact").for_shard().info.version)
    with pytest.raises(BadArtifact):
        load_model(str(tmp_path))
