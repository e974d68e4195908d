"""What `train` does and says."""

import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import typer
from numpy.typing import NDArray

from streamrec.connectors.click_files.reading import ClickFiles
from streamrec.connectors.click_files.sorting import in_time_order
from streamrec.dataflows.job.settings import Settings, SettingsError, load_settings
from streamrec.dataflows.steps.history import History, by_time, file_history, topic_history
from streamrec.models.sessions.learned import LearnedLog
from streamrec.models.sessions.recommender import SessionRecommender
from streamrec.models.training.logs import SessionRows, number_items
from streamrec.models.training.metrics import hits, mean_of, reciprocal_ranks, target_ranks
from streamrec.models.training.rows import CUT_OFF, learn_rows, questions_between
from streamrec.models.training.telling import Telling
from streamrec.models.training.train import ENOUGH_QUESTIONS, TrainingSettings, train
from streamrec.program.file_options import FileOptions, file_errors
from streamrec.program.rejected_rows import RejectedRows
from streamrec.program.shared import CommandError, UsageError, opened, say
from streamrec.shop.history import SHOP_IDS, shop_history
from streamrec.shop.shop import Shop

_HELD_OUT_SHARE = 0.1  # of the clicks, the newest
_QUESTIONS_MAX = 5_000
_LINES = 8  # of progress within the budget, beside one for each phase
_SILENT_S_MAX = 15.0
_ORDER, _RANKER = "candidate order", "ranker"


@dataclass(frozen=True, slots=True)
class Source:
    """Where clicks are taken from: one of the three."""

    files: list[Path]
    options: FileOptions
    shop: int | None
    topic: bool


def train_model(
    source: Source, out: Path, ranker: str, budget: float, seed: int, threads: int
) -> None:
    """The command, its options parsed."""
    if sum((bool(source.files), source.shop is not None, source.topic)) != 1:
        raise UsageError("train expected one of FILE, --shop CLICKS and --topic")
    try:
        settings = load_settings()
        training = TrainingSettings(budget_minutes=budget, seed=seed, threads=threads)
    except (SettingsError, ValueError) as error:
        raise UsageError(f"settings: {error}") from None
    began = time.monotonic()
    every_s = min(60.0 * budget / _LINES, _SILENT_S_MAX)
    telling = Telling(lambda message: say(f"{time.monotonic() - began:5.0f} s  {message}"), every_s)
    try:
        history = by_time(_history(source, settings, seed))
        failed = f", {history.failed:,} more are too late or no clicks" if history.failed else ""
        say(f"{len(history.log):,} clicks{failed}")
        cut = int(len(history.log) * (1.0 - _HELD_OUT_SHARE))
        model = train(
            history.log[:cut],
            distinct=history.items,
            settings=training,
            ranker=ranker,
            user_features=history.feature_names,
            user_values=history.user_features.first(cut),
            progress=telling,
            began_s=began,
        )
        telling.end()
    except ValueError as error:
        raise CommandError(f"train: {error}") from error
    judged = Judgement.of(model, history, cut, seed)
    typer.echo(judged.table())
    learn_the_rest(model, history, cut)
    model.save(out)
    say(f"trained in {time.monotonic() - began:.0f} s: STREAMREC_MODEL_PATH={out}")
    if model.ranker is None:
        say(
            f"too few clicks for a ranker, which takes {ENOUGH_QUESTIONS} sessions that go on: the "
            "artifact holds the candidate order alone"
        )
    elif complaint := judged.complaint():
        say(complaint)


def learn_the_rest(model: SessionRecommender, history: History, cut: int) -> None:
    """Learn the clicks that were held out, and note what has been learned: a flow starts with it
    and learns none of it again."""
    log = history.log
    numbers = number_items(model.items, log.items, history.items, add=True)
    rows = SessionRows(log, numbers, key_base=len(log), user_features=history.user_features)
    learn_rows(model, rows, cut, len(log))
    model.learned = LearnedLog.of_times(log.times_ms, history.offsets)


@dataclass(frozen=True, slots=True)
class Judgement:
    """How good the ranker, the candidate order and popularity are on clicks that training never
    saw: of each question whether its answer was a hit, and its reciprocal rank."""

    hits: dict[str, NDArray[np.float64]]
    reciprocal: dict[str, NDArray[np.float64]]

    @classmethod
    def of(cls, model: SessionRecommender, history: History, cut: int, seed: int) -> "Judgement":
        """By the clicks from `cut` on."""
        log = history.log
        numbers = number_items(model.items, log.items, history.items, add=False)
        rows = SessionRows(log, numbers, key_base=len(log), user_features=history.user_features)
        asked = questions_between(rows, cut, len(log), np.random.default_rng(seed), _QUESTIONS_MAX)
        judged = rows.judged(asked)
        named = {"popularity": model.alone("popular"), _ORDER: model.alone(*model.methods)}
        if model.ranker is not None:
            named[_RANKER] = model
        ranks = {
            name: target_ranks(each.recommend(judged.sessions, 2 * CUT_OFF), judged.targets)
            for name, each in named.items()
        }
        return cls(
            {name: hits(each, CUT_OFF) for name, each in ranks.items()},
            {name: reciprocal_ranks(each, CUT_OFF) for name, each in ranks.items()},
        )

    def table(self) -> str:
        count = len(self.hits[_ORDER])
        lines = [
            f"on the newest {_HELD_OUT_SHARE:.0%}, which training never saw, {count:,} questions:",
            f"{'':16} {'HR@20':>15} {'MRR@20':>15}",
        ]
        for name, each in self.hits.items():
            hit_rate, mrr = mean_of(each), mean_of(self.reciprocal[name])
            lines.append(f"{name:16} {hit_rate!s:>15} {mrr!s:>15}")
        return "\n".join(lines)

    def complaint(self) -> str | None:
        """What to know of a ranker that is not surely better than the order that it was given."""
        gain = mean_of(
            self.hits[_RANKER]
            - self.hits[_ORDER]
            + self.reciprocal[_RANKER]
            - self.reciprocal[_ORDER]
        )
        if gain.n < ENOUGH_QUESTIONS:
            return f"too few clicks to judge the ranker: {gain.n} questions, of {ENOUGH_QUESTIONS}"
        if gain.value > gain.within:
            return None
        better = "not surely better" if gain.value > 0 else "no better"
        return (
            f"the ranker is {better} than the candidate order: HR@20 + MRR@20 apart by {gain}; "
            "more clicks or a larger --budget may help"
        )


def _history(source: Source, settings: Settings, seed: int) -> History:
    if source.shop is not None:
        # Only good records: what is broken is nothing to learn from.
        shop = Shop(seed=seed, clicks=source.shop, schema_ids=SHOP_IDS, broken_share=0.0)
        return shop_history(shop, settings)
    if source.files:
        with file_errors("train"):
            files = ClickFiles(source.files, source.options.read_as())
            for guess in files.guesses:
                say(guess)
            with closing(RejectedRows(files.several)) as rows:
                return file_history(in_time_order(rows.passing(files.batches())), settings)
    with opened() as (log, _):
        return topic_history(log, settings)
