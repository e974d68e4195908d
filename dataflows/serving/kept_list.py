"""STREAMREC_MODELS=pipeline:NAME,...: pipelines that are kept on the log, as a list of models."""

from collections.abc import Callable, Sequence
from pathlib import Path

from streamrec.connectors.log import Log
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.serving.kept_topics import check_unchanged, served_pipelines
from streamrec.dataflows.serving.pipelines import BadModelList, ModelList, Variant
from streamrec.dataflows.serving.topic_names import NamedPipeline
from streamrec.models.serving.contract import Metadata

_KEPT = "pipeline:"


def names_of_kept(models: str | None) -> tuple[str, ...]:
    """The pipelines that STREAMREC_MODELS names; none: it is a list of models. Raises BadModelList
    where it is both.

    >>> names_of_kept("pipeline:iris, pipeline:cars"), names_of_kept("iris_model:Iris")
    (('iris', 'cars'), ())
    """
    parts = [part.strip() for part in (models or "").split(",") if part.strip()]
    names = tuple(part.removeprefix(_KEPT) for part in parts if part.startswith(_KEPT))
    if names and len(names) < len(parts):
        raise BadModelList(
            f"STREAMREC_MODELS expected either {_KEPT}NAME, or models and files, got both: "
            f"{models!r}"
        )
    return tuple(dict.fromkeys(names))


def kept_list(
    log: Log, settings: Settings, names: Sequence[str]
) -> tuple[ModelList, tuple[NamedPipeline, ...]]:
    """The pipelines of these names in the version that is served; their models are found from the
    folder in which the process runs. Raises UnknownPipeline, BadKeptPipeline, and what the log
    raises."""
    named = served_pipelines(log, settings, names)
    return ModelList(tuple(each.pipeline for each in named), folder=Path.cwd()), named


def check_models(
    named: Sequence[NamedPipeline], metadata_of: Callable[[Variant], Sequence[Metadata]]
) -> None:
    """That the models are still those that the pipelines were created with. Raises ChangedModel,
    and what `metadata_of` raises."""
    for each in named:
        check_unchanged(each.name, each.metadata[0], metadata_of(each.pipeline.variants[0])[0])


__all__ = ["check_models", "kept_list", "names_of_kept"]
