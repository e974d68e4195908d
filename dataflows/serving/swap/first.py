"""The version of a published model that answers first: the topics are made for what it takes."""

from collections.abc import Callable
from dataclasses import dataclass

from streamrec.dataflows.serving.pipelines import Variant
from streamrec.dataflows.serving.swap.made import Refused, made_of
from streamrec.dataflows.serving.swap.timeline import ModelVersion
from streamrec.dataflows.serving.swap.watch import ModelWatch
from streamrec.models.loading import BadModel
from streamrec.models.serving.apart.predictor import ApartPredictor
from streamrec.models.serving.contract import Predictor


@dataclass(frozen=True, slots=True)
class First:
    """A version that is loaded, and those that were to answer before it and could not."""

    version: ModelVersion
    predictor: Predictor
    refused: dict[ModelVersion, Refused]


class FirstVersions:
    """Each is chosen once. The topics are read with the first that is asked for."""

    def __init__(self, open_watch: Callable[[], ModelWatch]) -> None:
        self._open_watch = open_watch
        self._watch: ModelWatch | None = None
        self._found: dict[Variant, First] = {}

    @property
    def watch(self) -> ModelWatch:
        """What reads the topics. Raises LogError."""
        if self._watch is None:
            self._watch = self._open_watch()
        return self._watch

    @property
    def is_open(self) -> bool:
        """Whether anybody has asked."""
        return self._watch is not None

    def of(self, variant: Variant) -> First:
        """What is wanted, or else the newest that can be had. Raises BadModel, LogError."""
        if variant not in self._found:
            self._found[variant] = self._choose(variant)
        return self._found[variant]

    def close(self) -> None:
        """Nobody follows, and nobody answers."""
        for found in self._found.values():
            if isinstance(found.predictor, ApartPredictor):
                found.predictor.close()
        if self._watch is not None:
            self._watch.close()

    def _choose(self, variant: Variant) -> First:
        name = variant.published or ""
        records = self.watch.models.models.get(name)
        if records is None or records.wanted is None:
            what = "version" if records is None or not records.versions else "champion"
            known = ", ".join(sorted(self.watch.models.models)) or "none"
            raise BadModel(
                f"expected a {what} of {name!r} on topic {self.watch.models.topic!r}, which has "
                f"models {known}; `streamrec models publish {name} PATH` publishes one"
            )
        newest = sorted(records.versions.values(), key=lambda each: -each.number)
        order = dict.fromkeys([records.wanted, *(each.version for each in newest)])
        taken_back = {
            version for told in self.watch.told.pipelines.values() for version in told.taken_back
        }
        versions = [ModelVersion(name, each) for each in order]
        versions.sort(key=lambda each: each in taken_back)  # these last
        refused: dict[ModelVersion, Refused] = {}
        for version in versions:
            try:
                folder = self.watch.folder_of(version)
                predictor, _ = made_of(folder, variant, f"{name}/{version.version}")
            except Refused as why:
                refused[version] = why
                continue
            return First(version, predictor, refused)
        told = "; ".join(f"{each.version}: {why}" for each, why in refused.items())
        raise BadModel(f"expected a version of {name!r} that can be loaded, got {told}")


__all__ = ["First", "FirstVersions"]
