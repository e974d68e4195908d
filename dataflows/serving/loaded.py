"""The models of a list, loaded: in this process, or each in one of its own."""

import atexit
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock

from streamrec.dataflows.serving.apart_models import ApartModel, apart_predictor
from streamrec.dataflows.serving.pipelines import ModelList, Variant
from streamrec.dataflows.serving.running import Running
from streamrec.dataflows.serving.swap.first import First, FirstVersions
from streamrec.models.loading import BadModel
from streamrec.models.serving.apart.predictor import ApartPredictor
from streamrec.models.serving.contract import Metadata, Predictor
from streamrec.models.serving.loading import load_predictor, predictors_named


class LoadedModels:
    """Each is loaded once, whoever asks for it. Raises BadModel where one cannot be had."""

    def __init__(self, models: ModelList, published: FirstVersions | None = None) -> None:
        """Those that run apart begin to load at once, side by side."""
        self._published = published
        self._folder = models.folder
        self._here: dict[str, Predictor] = {}
        self._turns: defaultdict[str, Lock] = defaultdict(Lock)  # by the name of the predictor
        self._moving = Lock()
        self._apart: dict[Variant, ApartPredictor] = {}
        for pipeline in models.pipelines:
            for variant in pipeline.variants:
                is_apart = variant.apart and variant.published is None
                if is_apart and variant not in self._apart:
                    self._apart[variant] = self._start(variant, self._folder)
        if self._apart:
            atexit.register(self.close)

    def metadata_of(self, variant: Variant) -> Sequence[Metadata]:
        """Of its model; of a class with several predict methods each."""
        if variant.published is not None:
            return [self.first(variant).predictor.metadata]
        if variant in self._apart:
            return [self._apart[variant].metadata]
        names = predictors_named(variant.model, folder=self._folder)
        found = [self._predictor(name) for name in names]
        if found[1:]:  # by its method's name the first is the same, and is not loaded again
            self._here.setdefault(f"{names[0]}.{found[0].metadata.method}", found[0])
        return [predictor.metadata for predictor in found]

    def complaints(self, models: ModelList) -> list[str]:
        """What is wrong with models that cannot be had, of all of them, each with its place."""
        wrong = []
        for pipeline in models.pipelines:
            for at, variant in enumerate(pipeline.variants):
                try:
                    self.metadata_of(variant)
                except BadModel as error:
                    place = (
                        f"{pipeline.place}.variants[{at}]"
                        if pipeline.is_experiment
                        else (pipeline.place)
                    )
                    wrong.append(f"{models.source}: {place}.model {error}")
        return wrong

    def running(self, variant: Variant, on_move: Callable[[], object]) -> Running:
        """A variant as it answers; `on_move` is told when it goes to a process of its own."""

        def make_apart() -> ApartModel:
            on_move()
            return ApartModel(self._moved(variant))

        running = Running(
            variant.model,
            None if variant in self._apart else self._predictor(variant.model),
            make_apart,
            variant.cut_ms / 1000,
            turns=self._turns[variant.model],
        )
        if variant in self._apart:
            running.start_apart()
        return running

    def first(self, variant: Variant) -> First:
        """The version that answers first of one that is published. Raises BadModel, LogError."""
        if self._published is None:
            raise BadModel(f"expected a model that is not published, got {variant.model!r}")
        return self._published.of(variant)

    def shadow(self, variant: Variant) -> ApartPredictor:
        """The predictor of a shadow."""
        return self._apart[variant]

    def predictor(self, variant: Variant) -> Predictor | None:
        """Of a variant that answers in this process."""
        if variant.published is not None:
            return None if variant.apart else self.first(variant).predictor
        return None if variant in self._apart else self._predictor(variant.model)

    def close(self) -> None:
        for predictor in self._apart.values():
            predictor.close()
        if self._published is not None:
            self._published.close()

    def _predictor(self, name: str) -> Predictor:
        if name not in self._here:
            self._here[name] = load_predictor(name, folder=self._folder)
        return self._here[name]

    def _moved(self, variant: Variant) -> ApartPredictor:
        with self._moving:  # of several workers, and of pipelines of the same model
            if variant not in self._apart:
                if not self._apart:
                    atexit.register(self.close)
                self._apart[variant] = self._start(variant, self._folder)
            return self._apart[variant]

    @staticmethod
    def _start(variant: Variant, folder: Path) -> ApartPredictor:
        return apart_predictor(variant, folder, variant.model)


__all__ = ["LoadedModels"]
