"""What `train` does and says."""

import time
from dataclasses import dataclass
from pathlib import Path

from dataflows.cli.program import CommandError, UsageError, opened, say
from dataflows.click_log import ClickLogError, FileForm, Meaning, Names, load
from dataflows.settings import Settings, SettingsError, load_settings
from dataflows.shop import Shop
from dataflows.training import (
    SHOP_IDS,
    History,
    by_time,
    file_history,
    shop_history,
    topic_history,
)
from models.recommender import SessionRecommender
from models.training import TrainingSettings, train


@dataclass(frozen=True, slots=True)
class Source:
    """Where clicks are taken from: one of the three."""

    file: Path | None
    names: Names
    shop: int | None
    topic: bool


def train_model(
    source: Source, out: Path, ranker: str, budget: float, seed: int, threads: int
) -> None:
    """The command, its options parsed."""
    if sum((source.file is not None, source.shop is not None, source.topic)) != 1:
        raise UsageError("train expected one of FILE, --shop CLICKS and --topic")
    try:
        settings = load_settings()
        training = TrainingSettings(budget_minutes=budget, seed=seed, threads=threads)
    except (SettingsError, ValueError) as error:
        raise UsageError(f"settings: {error}") from None
    began = time.monotonic()
    try:
        history = by_time(_history(source, settings, seed))
        say(f"{len(history.log):,} clicks, {history.failed:,} records left out")
        model = train(
            history.log,
            ids=history.item_ids,
            settings=training,
            ranker=ranker,
            user_features=history.feature_names,
            user_values=history.user_features,
            progress=lambda message: say(f"{time.monotonic() - began:5.0f} s  {message}"),
        )
    except ValueError as error:
        raise CommandError(f"train: {error}") from error
    if model.ranker is None:
        say("too few clicks for a ranker: the artifact holds the blend alone")
    # The main job fills its index from the topics: what it needs of the training is the ranker and
    # the weights, not the clicks.
    SessionRecommender(
        model.bounds,
        model.weights,
        model.ranker,
        model.methods,
        model.slots,
        model.info.user_features,
    ).save(out)
    say(f"trained in {time.monotonic() - began:.0f} s: STREAMREC_MODEL_PATH={out}")


def _history(source: Source, settings: Settings, seed: int) -> History:
    if source.shop is not None:
        # Only good records: what is broken is nothing to learn from.
        shop = Shop(seed=seed, clicks=source.shop, schema_ids=SHOP_IDS, broken_share=0.0)
        return shop_history(shop, settings)
    if source.file is not None:
        try:
            names, clicks = load(source.file, FileForm(), source.names, Meaning(), by_time=True)
        except ClickLogError as error:
            raise UsageError(f"train {source.file.name}: {error}") from None
        say(f"columns: {names}")
        for rejected in clicks.rejected[:20]:
            say(f"line {rejected.row}: {rejected.message}")
        if len(clicks.rejected) > 20:
            say(f"and {len(clicks.rejected) - 20:,} more rows rejected")
        return file_history(clicks, settings)
    with opened() as (log, _):
        return topic_history(log, settings)
