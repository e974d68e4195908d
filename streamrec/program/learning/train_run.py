"""What `train` does and says."""

import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import typer

from streamrec.connectors.click_files.reading import ClickFiles
from streamrec.connectors.click_files.sorting import in_time_order
from streamrec.dataflows.job.settings import Settings, SettingsError, load_settings
from streamrec.dataflows.steps.history import History, by_time, file_history, topic_history
from streamrec.models.sessions.learned import LearnedLog
from streamrec.models.sessions.recommender import SessionRecommender
from streamrec.models.training.logs import SessionRows
from streamrec.models.training.metrics import hits, mean_of, reciprocal_ranks, target_ranks
from streamrec.models.training.rows import CUT_OFF, learn_rows, questions_between
from streamrec.models.training.telling import Telling
from streamrec.models.training.train import TrainingSettings, train
from streamrec.program.file_options import FileOptions, file_errors
from streamrec.program.rejected_rows import RejectedRows
from streamrec.program.shared import CommandError, UsageError, opened, say
from streamrec.schemas.columns import Bytes
from streamrec.shop.history import SHOP_IDS, shop_history
from streamrec.shop.shop import Shop

_HELD_OUT_SHARE = 0.1  # of the clicks, the newest
_QUESTIONS_MAX = 5_000
_LINES = 8  # of progress within the budget, beside one for each phase


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
    every_s = 60.0 * budget / _LINES
    telling = Telling(lambda message: say(f"{time.monotonic() - began:5.0f} s  {message}"), every_s)
    try:
        history = by_time(_history(source, settings, seed))
        failed = f", {history.failed:,} more are too late or no clicks" if history.failed else ""
        say(f"{len(history.log):,} clicks{failed}")
        cut = int(len(history.log) * (1.0 - _HELD_OUT_SHARE))
        ids = history.item_ids
        model = train(
            history.log[:cut],
            ids=Bytes(ids.data, ids.starts[:cut], ids.lengths[:cut]),
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
    if model.ranker is None:
        say("too few clicks for a ranker: the artifact holds the blend alone")
    typer.echo(held_out_table(model, history, cut, seed))
    learn_the_rest(model, history, cut)
    model.save(out)
    say(f"trained in {time.monotonic() - began:.0f} s: STREAMREC_MODEL_PATH={out}")


def learn_the_rest(model: SessionRecommender, history: History, cut: int) -> None:
    """Learn the clicks that were held out, and note what has been learned: a flow starts with it
    and learns none of it again."""
    log = history.log
    numbers = model.items.numbers(log.items, history.item_ids, add=True)
    rows = SessionRows(log, numbers, key_base=len(log), user_features=history.user_features)
    learn_rows(model, rows, cut, len(log))
    model.learned = LearnedLog.of_times(log.times_ms, history.offsets)


def held_out_table(model: SessionRecommender, history: History, cut: int, seed: int) -> str:
    """Ranker, candidate order and popularity on the clicks from `cut` on, never seen before."""
    log = history.log
    numbers = model.items.numbers(log.items, None, add=False)
    rows = SessionRows(log, numbers, key_base=len(log), user_features=history.user_features)
    asked = questions_between(rows, cut, len(log), np.random.default_rng(seed), _QUESTIONS_MAX)
    judged = rows.judged(asked)
    order = model.alone(*model.methods)
    named = {"popularity": model.alone("popular"), "candidate order": order}
    if model.ranker is not None:
        named["ranker"] = model
    lines = [
        f"on the newest {_HELD_OUT_SHARE:.0%}, which training never saw, {len(asked):,} questions:",
        f"{'':16} {'HR@20':>15} {'MRR@20':>15}",
    ]
    for name, each in named.items():
        ranks = target_ranks(each.recommend(judged.sessions, 2 * CUT_OFF), judged.targets)
        hit_rate, mrr = mean_of(hits(ranks, CUT_OFF)), mean_of(reciprocal_ranks(ranks, CUT_OFF))
        lines.append(f"{name:16} {hit_rate!s:>15} {mrr!s:>15}")
    return "\n".join(lines)


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
