"""A trained model starts with what it has learned, and learns none of it again."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamrec.dataflows.steps import recommend
from streamrec.dataflows.steps.history import History, by_time, topic_history
from streamrec.models.loading import Model, load_model
from streamrec.models.sessions.index_state import CLICKS
from streamrec.models.sessions.learned import LearnedLog
from streamrec.models.sessions.model import SessionModel
from streamrec.models.sessions.recommender import SessionRecommender
from streamrec.models.training.train import TrainingSettings, train
from streamrec.program.learning.train_run import learn_the_rest
from tests.dataflows.main_job import MainJob

MakeJob = Callable[..., MainJob]
CLICKS_SENT = 3_000


def trained(history: History, folder: Path) -> SessionRecommender:
    cut = int(0.9 * len(history.log))
    model = train(
        history.log[:cut],
        distinct=history.items,
        settings=TrainingSettings(budget_minutes=0.01),
        ranker="none",
        user_features=history.feature_names,
        user_values=history.user_features[:cut],
    )
    learn_the_rest(model, history, cut)
    model.save(folder)
    return model


def recommender_of(model: Model) -> SessionRecommender:
    assert isinstance(model.shared, SessionModel)
    return model.shared.recommender


def learned_clicks(model: SessionRecommender) -> int:
    return int(model.index.state.counters[CLICKS])


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Model]:
    """The models that runs serve, as they are made."""
    made: list[Model] = []

    def load(*given: Any) -> Model:
        made.append(load_model(*given))
        return made[-1]

    monkeypatch.setattr(recommend, "load_model", load)
    return made


@pytest.mark.parametrize("source", ["topic", "file"])
def test_clicks_that_were_trained_on_are_answered_in_full_and_not_learned_again(
    embedded_job: MakeJob, tmp_path: Path, served: list[Model], source: str
) -> None:
    job = embedded_job()
    job.send_shop(CLICKS_SENT, broken_share=0.0)
    history = by_time(topic_history(job.log, job.settings))
    if source == "file":  # which knows times only
        history = replace(history, offsets={})
    model = trained(history, tmp_path / "artifact")
    assert learned_clicks(model) == len(history.log)

    again = embedded_job(model="artifact", model_path=tmp_path / "artifact")
    again.run()

    answers = again.recommendations()
    assert len(answers) > CLICKS_SENT / 2
    assert all(answer.fields["items"] for answer in answers)
    assert learned_clicks(recommender_of(served[-1])) == len(history.log)

    newest_ms = int(history.log.times_ms.max())
    new = [{"user_id": f"new{n}", "item_id": "i1", "timestamp": newest_ms + 1 + n} for n in (1, 2)]
    job.send_clicks(new)
    again.run()
    # The second start reads the topic of sessions, with all that the first one passed on, too.
    assert learned_clicks(recommender_of(served[-1])) == len(history.log) + len(new)
    assert len(again.recommendations()) == len(answers) + len(new)


def test_the_first_click_alone_is_answered_with_nothing(embedded_job: MakeJob) -> None:
    job = embedded_job(shards=1)
    job.send_clicks({"user_id": f"u{n % 50}", "item_id": f"i{n % 7}"} for n in range(2_000))
    job.run()
    empty = [answer.place for answer in job.recommendations() if not answer.fields["items"]]
    # Of one partition each: what is known when it begins is what the others before it held.
    assert len(empty) <= 1, empty


def test_of_a_topic_the_offsets_and_the_times_must_both_be_within() -> None:
    learned = LearnedLog(1_000, 2_000, {"clicks": {0: 5, 2: 7}})
    assert LearnedLog.of_plain(learned.plain()) == learned
    places = np.array([[0, 4], [0, 5], [1, 0], [2, 6], [3, 0], [0, 0]])
    times = np.array([1_000, 1_500, 1_500, 2_000, 1_500, 2_001])
    assert learned.holds("clicks", places, times).tolist() == [
        True,
        False,
        False,
        True,
        False,
        False,
    ]
    assert not learned.holds("others", places, times).any()
    of_file = LearnedLog(1_000, 2_000)
    assert of_file.holds("any", places, times).tolist() == [True] * 5 + [False]


def test_wrong_clocks_do_not_stretch_the_range_of_what_was_learned() -> None:
    day_ms, start_ms = 86_400_000, 1_700_000_000_000
    times = start_ms + np.arange(1_000) * 60_000
    wrong = np.concatenate([times, [start_ms + 3_650 * day_ms] * 9, [5] * 9])
    learned = LearnedLog.of_times(wrong, {})
    assert (learned.from_ms, learned.to_ms) == (times[0], times[-1])
    assert LearnedLog.of_times(times[:3], {}).to_ms == times[2]
    assert LearnedLog.of_times(times[:1], {}).from_ms == times[0]
