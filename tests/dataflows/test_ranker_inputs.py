"""What the ranker saw, of a share of the answers: the same ones in every run, and as it was."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from streamrec.dataflows.job.modules import on_paper
from streamrec.dataflows.job.start_error import StartError
from streamrec.dataflows.job.topics import CLICKS, RANKER_INPUTS, make_all
from streamrec.dataflows.steps.encode import ranker_input_columns
from streamrec.dataflows.steps.recommend import Recommended, RecommendShard
from streamrec.dataflows.steps.sampled import in_share
from streamrec.dataflows.steps.serving import Serving
from streamrec.models.contract import ModelInfo, Ranking, Sessions
from streamrec.models.sessions.model import SessionModel
from streamrec.models.sessions.online import OnlineModel
from streamrec.models.sessions.recommender import SessionRecommender
from streamrec.schemas import load
from streamrec.schemas.json_codec import JsonDecoder
from streamrec.schemas.wire import WireEncoder
from tests.dataflows.main_job import MainJob
from tests.dataflows.test_ranker_variants import (
    BOUNDS,
    FEATURES,
    OPTIONS,
    alone,
    answers,
    batches,
    by_offset,
    recommender,
    together,
)

SHARE = 0.3


def logged(serving: Serving) -> list[Recommended]:
    shard = RecommendShard(serving, replace(OPTIONS, inputs_share=SHARE))
    out = [each for batch in batches() for each in shard.on_batch(batch)]
    return [each for each in out if isinstance(each, Recommended)]


def records_of(found: list[Recommended]) -> list[dict[str, Any]]:
    """What is written of them."""
    encoder = WireEncoder(load("ranker_inputs"), 1)
    decode = JsonDecoder(lambda _: load("ranker_inputs")).decode
    return [
        decode(value, [])
        for records in ranker_input_columns(found)
        for value in encoder.encode(records.columns).values
    ]


def values_of(record: dict[str, Any]) -> NDArray[np.float32]:
    """The inputs of a record; JSON has bytes as characters of the same numbers."""
    raw = record["inputs"]
    return np.frombuffer(raw if isinstance(raw, bytes) else raw.encode("latin-1"), "<f4")


def is_logged(offset: int) -> bool:
    return bool(in_share("clicks", np.array([[0, offset]]), SHARE)[0])


def test_a_share_is_drawn_evenly_and_a_larger_one_holds_it() -> None:
    places = np.array([[n % 8, n] for n in range(40_000)])
    tenth, half = in_share("clicks", places, 0.1), in_share("clicks", places, 0.5)

    assert tenth.mean() == pytest.approx(0.1, abs=0.005)
    assert half.mean() == pytest.approx(0.5, abs=0.01)
    assert half[tenth].all()
    assert in_share("clicks", places, 1.0).all()
    assert (in_share("others", places, 0.1) != tenth).any()


def test_answers_are_bit_by_bit_those_without_and_scores_are_those_of_the_inputs() -> None:
    x = FEATURES.names[0]
    plain, found = (
        by_offset(log(alone(recommender(0, -1, reads=(x,))))) for log in (answers, logged)
    )

    assert {at: answer for at, (answer, _) in found.items()} == {
        at: answer for at, (answer, _) in plain.items()
    }
    records = records_of(logged(alone(recommender(0, -1, reads=(x,)))))
    assert {each["source_offset"] for each in records} == set(filter(is_logged, range(2_000)))
    for each in records:
        _, ids, scores, _ = found[each["source_offset"]][0]
        assert each["item_ids"] == [item.decode() for item in ids]
        names = each["input_names"].split(",")
        inputs = values_of(each).reshape(len(ids), len(names))
        assert (inputs[:, 0] + inputs[:, -1]).tolist() == scores  # as the ranker ranks
        assert names[-1] == x
        assert each["weight"] == 1 / SHARE
        assert each["recommendation_id"] == f"clicks/0/{each['source_offset']}"
        assert (each["model_version"], each["variant"]) == ("by (0, -1)", None)


def test_each_variant_logs_its_own_inputs() -> None:
    x, y = FEATURES.names[0], FEATURES.names[-1]
    serving = together(recommender(0, -1, reads=(x,)), recommender(3, -1, reads=(y,)))
    found = logged(serving)
    answer_of = by_offset(found)

    records = records_of(found)

    assert {each["source_offset"] for each in records} == set(filter(is_logged, range(2_000)))
    assert {(each["variant"], each["input_names"].split(",")[-1]) for each in records} == {
        ("a", x),
        ("b", y),
    }
    for each in records:
        scores = answer_of[each["source_offset"]][0][2]
        inputs = values_of(each).reshape(len(scores), -1)
        first = 0 if each["variant"] == "a" else 3
        assert (inputs[:, first] + inputs[:, -1]).tolist() == scores


def test_one_that_learns_online_tells_what_it_ranked_by() -> None:
    model = OnlineModel(SessionModel(SessionRecommender(BOUNDS)))
    serving = Serving(alone(recommender()).model, model.info, np.zeros(0, np.int64))
    sessions = first_sessions(serving)
    model.learn(sessions)
    wanted = np.arange(len(sessions)) % 2 == 0

    ranking, inputs = model.recommend_with_inputs(sessions, 5, wanted)

    expected = model.recommend(sessions, 5)
    assert ranking.scores.tolist() == expected.scores.tolist()
    items = np.diff(ranking.bounds)
    ranker = model._ranker
    assert ranker.scores(inputs).tolist() == ranking.scores[np.repeat(wanted, items)].tolist()


def first_sessions(serving: Serving) -> Sessions:
    """Of the first batch, as a step hands them over."""
    seen: list[Sessions] = []

    class Sees(SessionModel):
        def learn(self, sessions: Sessions) -> None:
            seen.append(sessions)
            super().learn(sessions)

    model = Sees(SessionRecommender(BOUNDS))
    serving = Serving(serving.model._replace(shared=model), model.info, serving.user_columns)
    RecommendShard(serving, OPTIONS).on_batch(batches()[0])
    return seen[-1]


def test_inputs_of_another_shape_fail_the_click_and_its_neighbours_are_answered() -> None:
    class Wrong(SessionModel):
        def recommend_with_inputs(
            self, sessions: Sessions, k: int, wanted: Any
        ) -> tuple[Ranking, Any]:
            return self.recommend(sessions, k), np.zeros((1, 2), np.float32)

    made = recommender(0)
    serving = Serving(alone(made).model._replace(shared=Wrong(made)), made.info, np.zeros(0, int))
    shard = RecommendShard(serving, replace(OPTIONS, inputs_share=SHARE))
    out = [each for batch in batches()[:1] for each in shard.on_batch(batch)]

    failed = [each for each in out if not isinstance(each, Recommended)]
    assert {each.offset for each in failed} == set(filter(is_logged, range(250)))  # type: ignore[union-attr]  # they are Failed
    assert "ranker's inputs expected float32" in failed[0].message  # type: ignore[union-attr]


def test_without_the_setting_the_topic_is_not_written() -> None:
    written = [
        on_paper("dataflows.recommender", log_ranker_inputs=share)[0].topics_written
        for share in (0, 1)
    ]

    assert RANKER_INPUTS not in written[0]
    assert RANKER_INPUTS in written[1]


def test_the_main_job_logs_the_share_of_its_answers(
    embedded_job: Callable[..., MainJob],
) -> None:
    job = embedded_job(log_ranker_inputs=0.5)
    name = job.settings.topic(RANKER_INPUTS)
    make_all(job.log, {name: RANKER_INPUTS})
    job.send_clicks({"user_id": f"u{n % 40}", "item_id": f"i{n % 7}"} for n in range(200))

    job.run()

    decode = JsonDecoder(lambda _: RANKER_INPUTS.schema).decode
    found = [decode(each.value or b"", []) for each in job.records(name)]
    said = {each.fields["recommendation_id"]: each.fields for each in job.recommendations()}
    clicks = job.settings.topic(CLICKS)
    places = np.array([[f["source_partition"], f["source_offset"]] for f in said.values()])
    drawn = dict(zip(said, in_share(clicks, places, 0.5).tolist(), strict=True))
    assert {each["recommendation_id"] for each in found} == {name for name in said if drawn[name]}
    for each in found:
        answer = said[each["recommendation_id"]]
        assert each["item_ids"] == [item["item_id"] for item in answer["items"]]
        assert len(values_of(each)) == len(each["item_ids"]) * len(each["input_names"].split(","))


class Plain:
    """Recommends nothing, and has no ranker."""

    info = ModelInfo("plain", "1")

    def recommend(self, sessions: Sessions, k: int) -> Ranking:
        return Ranking.of_lists([[] for _ in range(len(sessions))])

    def learn(self, sessions: Sessions) -> None:
        pass


def test_a_model_that_does_not_tell_its_inputs_stops_the_start(
    embedded_job: Callable[..., MainJob],
) -> None:
    job = embedded_job(log_ranker_inputs=0.5, model="tests.dataflows.test_ranker_inputs:Plain")
    with pytest.raises(StartError, match="STREAMREC_LOG_RANKER_INPUTS expected a model that tells"):
        job.run()
