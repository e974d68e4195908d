"""Runs the learning demo: past offers make the first models; then offers come in real time.

offers ─▶ dataflows.scorer (frozen, retrained, online) ─▶ outputs ─┐
outcomes ──────────────────────────────────────────────────────────┴▶ dataflows.labels
   ─▶ training-examples ─▶ dataflows.trainer ─▶ models ─▶ swap in the scorer
                       └▶ dataflows.evaluation ─▶ metrics ─▶ table, picture, figures
"""

import csv
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamrec.connectors.backend import open_log
from streamrec.connectors.local.free_ports import LOOPBACK, free_ports
from streamrec.connectors.log import Log, TopicSpec
from streamrec.connectors.making_topics import ensure_topics
from streamrec.connectors.reading import read_all
from streamrec.dataflows.job.modules import topics_of
from streamrec.dataflows.job.settings import Settings, load_settings
from streamrec.dataflows.job.topics import METRICS, OUTCOMES, make_all
from streamrec.dataflows.learning.published import ModelTopics
from streamrec.dataflows.learning.publishing import By, Publisher
from streamrec.models.learning.archives import pack
from streamrec.models.learning.examples import ExamplesBuilder
from streamrec.models.learning.fit import fit
from streamrec.models.learning.recipe import Recipe, read_recipe
from streamrec.schemas.json_codec import JsonDecoder
from streamrec.services.together.keeper import Keeper
from streamrec.services.together.parts import Part
from streamrec.shop.learning.figures import Figure, TimeSpan, figure_of
from streamrec.shop.learning.files import (
    FROZEN,
    HISTORY,
    LEARNING,
    MODELS,
    OFFERS,
    ONLINE,
    PIPELINES,
    RECIPE,
    RETRAINED,
    learning_text,
    models_text,
    recipe_text,
    write_history,
)
from streamrec.shop.learning.offers import Offers
from streamrec.shop.learning.sending import Pace, Told, send_offers

METRIC = "auc"
_FLOWS = ("scorer", "labels", "trainer", "evaluation")
_PAST = 3_000  # offers that the first models are learned from
_READY_S = 150.0  # the first start compiles kernels
_LABEL_S = 3.0  # how long an outcome is waited for
_JUDGED_S = 5.0  # a metric's window
_WARM_S = 8.0  # of the beginning, not judged
_LEARNED_S = 30.0  # after the shift, not judged: how long learning may take
_END_S = 30.0  # for the last windows to be judged, at the end


class LearningDemoError(Exception):
    """The demo could not be run to its end; the message says what happened."""


@dataclass(frozen=True, slots=True)
class LearningVerdict:
    """What came of it."""

    told: Told
    figures: Mapping[str, Mapping[str, Figure]]  # by pipeline, before and after
    versions: Mapping[str, int]  # by pipeline, how many versions answered
    metrics: list[dict[str, Any]]  # the topic's records

    def wrong(self) -> list[str]:
        """What is not as it should be: the frozen model falls, those that learn come back."""
        wrong = []
        for name in PIPELINES:
            before, after = self.figures[name]["before"], self.figures[name]["after"]
            if name == FROZEN and after.high > before.low:
                wrong.append(f"{name} expected to fall, got {before.value:.3f}, {after.value:.3f}")
            if name != FROZEN and after.low <= self.figures[FROZEN]["after"].high:
                wrong.append(
                    f"{name} expected to do better than {FROZEN} after the shift, got "
                    f"{after.value:.3f} and {self.figures[FROZEN]['after'].value:.3f}"
                )
            if name != FROZEN and after.value < before.value - 0.1:
                wrong.append(
                    f"{name} expected to recover, got {before.value:.3f}, then {after.value:.3f}"
                )
        return wrong

    def plain(self) -> dict[str, Any]:
        """As the file says it."""
        return {
            "metric": METRIC,
            "offers": self.told.offers,
            "outcomes": self.told.outcomes,
            "began_ms": self.told.began_ms,
            "shifted_ms": self.told.shifted_ms,
            "ended_ms": self.told.ended_ms,
            **{
                name: {when: each.plain() for when, each in self.figures[name].items()}
                | {"versions": self.versions[name]}
                for name in PIPELINES
            },
        }


@dataclass(slots=True)
class LearningRun:
    """One run, in a folder of its own."""

    folder: Path
    seed: int
    pace: Pace
    say: Callable[[str], None]

    def run(self) -> LearningVerdict:
        """Raises LearningDemoError, PartsError, and what the settings and topics may."""
        offers = Offers(self.seed)
        recipes = self._make_files(offers)
        environment = self._environment()
        os.environ.update(environment)  # which is what settings are read from
        settings = load_settings()
        log = open_log(settings)
        make_all(log, settings.topics())
        ensure_topics(log, [TopicSpec(OFFERS)], {})
        self._publish(log, settings, recipes)
        for flow in _FLOWS:
            read, written = topics_of(_module(flow))
            make_all(log, {settings.topic(topic): topic for topic in (*read, *written)})
        stop = threading.Event()
        keeper = Keeper(self._parts(), environment, self.folder / "logs", stop.is_set)
        keeper.start()
        keeping = threading.Thread(target=keeper.keep)
        try:
            self.say("starting scorer, labels, trainer and evaluation")
            keeper.await_ready(_READY_S)
            keeping.start()
            self.say("offers come, and what becomes of them")
            outcomes = settings.topic(OUTCOMES)
            told = send_offers(log, OFFERS, outcomes, offers, self.pace, self.seed)
            self.say("the last answers are judged")
            metrics = self._await_metrics(log, settings, told)
        finally:
            stop.set()
            if keeping.is_alive():
                keeping.join()
            keeper.stop()
        return self._learned(told, metrics)

    def _make_files(self, offers: Offers) -> dict[str, Recipe]:
        folder = self.folder
        write_history(folder, offers.made(_PAST))
        recipes = {}
        for name, kind in ((RETRAINED, "lightgbm"), (ONLINE, "linear")):
            path = folder / f"{name}.{RECIPE}"
            path.write_text(recipe_text(kind), encoding="utf-8")
            recipes[name] = read_recipe(path)
        every = {RETRAINED: 10 * self.pace.rate, ONLINE: 2 * self.pace.rate}
        paths = {name: f"{name}.{RECIPE}" for name in recipes}
        text = learning_text(paths, _LABEL_S, every, _JUDGED_S)
        (folder / LEARNING).write_text(text, encoding="utf-8")
        (folder / MODELS).write_text(models_text("", f"published:{FROZEN}"), encoding="utf-8")
        return recipes

    def _publish(self, log: Log, settings: Settings, recipes: Mapping[str, Recipe]) -> None:
        """The first version of each: of the same past offers."""
        with Publisher(log, ModelTopics.of(settings)) as publisher:
            for name in PIPELINES:
                recipe = recipes.get(name, recipes[RETRAINED])
                examples = ExamplesBuilder(recipe)
                with (self.folder / HISTORY).open(newline="", encoding="utf-8") as file:
                    for at, row in enumerate(csv.DictReader(file)):
                        inputs = dict(row, price=float(row["price"]), hour=int(row["hour"]))
                        examples.add(inputs, float(row["taken"]), 1.0, at)
                archive = pack(fit(recipe, examples.built()).files)
                publisher.publish(name, archive, by=By("demo", "learned from past offers"))

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": "",
            "SCHEMA_REGISTRY_URL": "",
            "EMBEDDED_LOG_PATH": str(self.folder / "log.sqlite"),
            "STREAMREC_MODELS": str(self.folder / MODELS),
            "STREAMREC_LEARNING": str(self.folder / LEARNING),
            "STREAMREC_TICK_S": "0.3",
        }

    def _parts(self) -> list[Part]:
        parts = []
        for name, port in zip(_FLOWS, free_ports(len(_FLOWS)), strict=True):
            state = str(self.folder / f"state-{name}")
            address = f"{LOOPBACK}:{port}"
            parts.append(
                Part(
                    name,
                    (sys.executable, "-m", "bytewax.run", _module(name), "-r", state, "-s5", "-b0"),
                    f"http://{address}/health/ready",
                    {"STREAMREC_METRICS_ADDRESS": address},
                )
            )
        return parts

    def _await_metrics(self, log: Log, settings: Settings, told: Told) -> list[dict[str, Any]]:
        """The topic of metrics, once the last whole window of each pipeline is there."""
        last_ms = told.ended_ms - round(1000 * (_LABEL_S + 2 * _JUDGED_S))
        until_s = time.monotonic() + _END_S
        while True:
            records = read_metrics(log, settings.topic(METRICS))
            there = {
                each["pipeline"]
                for each in records
                if each["metric"] == METRIC and each["window_end"] >= last_ms
            }
            if there >= set(PIPELINES) or time.monotonic() > until_s:
                return records
            time.sleep(0.5)

    def _learned(self, told: Told, metrics: list[dict[str, Any]]) -> LearningVerdict:
        spans = {
            "before": TimeSpan(told.began_ms + round(1000 * _WARM_S), told.shifted_ms),
            "after": TimeSpan(told.shifted_ms + round(1000 * _LEARNED_S), told.ended_ms),
        }
        figures: dict[str, dict[str, Figure]] = {}
        for name in PIPELINES:
            figures[name] = {}
            for when, span in spans.items():
                found = figure_of(metrics, name, METRIC, span)
                if found is None:
                    logs = self.folder / "logs"
                    raise LearningDemoError(
                        f"{METRIC} of {name!r} {when} the shift expected at least one window, got "
                        f"none; logs are in {logs}"
                    )
                figures[name][when] = found
        versions = {
            name: len({e["version"] for e in metrics if e["pipeline"] == name and e["version"]})
            for name in PIPELINES
        }
        return LearningVerdict(told, figures, versions, metrics)


def _module(flow: str) -> str:
    return f"streamrec.dataflows.{flow}"


def read_metrics(log: Log, topic: str) -> list[dict[str, Any]]:
    """The records of a topic of metrics, times in Unix milliseconds."""
    with closing(log.registry()) as registry:
        decode = JsonDecoder(registry.by_id).decode
        return [
            decode(record.value, record.headers or [])
            for record in read_all(log, topic)
            if record.value is not None
        ]


def write_figures(path: Path, learned: LearningVerdict) -> None:
    """The figures, as JSON."""
    with suppress(FileExistsError):
        path.parent.mkdir(parents=True)
    path.write_text(json.dumps(learned.plain(), indent=2) + "\n", encoding="utf-8")


__all__ = [
    "METRIC",
    "LearningDemoError",
    "LearningRun",
    "LearningVerdict",
    "read_metrics",
    "write_figures",
]
