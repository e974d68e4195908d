"""Reads the list of models: a TOML or YAML file, or names, in a profile. All mistakes at once."""

import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from streamrec.dataflows.serving.complaints import complaints_in, place_text
from streamrec.dataflows.serving.entries import (
    ExperimentKeys,
    FileKeys,
    RunKeys,
    TopicKeys,
    VariantKeys,
)
from streamrec.dataflows.serving.pipelines import (
    PROFILES,
    PUBLISHED,
    BadModelList,
    Choose,
    Gather,
    Input,
    ModelList,
    Pipeline,
    Variant,
)
from streamrec.dataflows.serving.profiles import (
    Merged,
    Place,
    check_profile,
    in_profile,
    profiles_of,
)
from streamrec.dataflows.serving.topic_names import complaints_of
from streamrec.models.serving.contract import NAME

ENDINGS = (".toml", ".yaml", ".yml")
_VARIABLE = "STREAMREC_MODELS"


def read_models(models: str | None, profile: str = PROFILES[0]) -> ModelList:
    """The list that `STREAMREC_MODELS` stands for: a file's path, or names separated by commas.
    Raises BadModelList.

    >>> [each.variants[0].model for each in read_models("iris_model:Iris, fraud.skops").pipelines]
    ['iris_model:Iris', 'fraud.skops']
    """
    text = (models or "").strip()
    if not text.strip(", "):
        raise BadModelList(
            f"{_VARIABLE} expected a file of {', '.join(ENDINGS)}, or names of models with commas "
            f"between them, got {'none' if models is None else repr(models)}"
        )
    if text.endswith(ENDINGS) and "," not in text:
        path = Path(text)
        return checked_list(_content(path), path.name, profile, path.absolute().parent)
    names = [name.strip() for name in text.split(",") if name.strip()]
    content = {"models": [{"model": name} for name in names]}
    return checked_list(content, _VARIABLE, profile, Path.cwd())


def checked_list(content: Any, source: str, profile: str, folder: Path) -> ModelList:
    """The list that such keys say. `source` is what messages call it. Raises BadModelList."""
    if not isinstance(content, dict):
        raise BadModelList(f"{source} expected a table of keys, got {type(content).__name__}")
    check_profile(profile, profiles_of(content), source)
    try:
        wrong, keys = _checked(content, profile)
    except RecursionError:
        raise BadModelList(f"{source} expected keys that end, got a ring of them") from None
    if keys is not None and not wrong:
        pipelines = tuple(_pipelines(keys))
        wrong = list(_complaints(keys, pipelines))
        if not wrong:
            return ModelList(pipelines, keys.prefix, profile, folder, source)
    raise BadModelList("\n".join(f"{source}: {each}" for each in dict.fromkeys(wrong)))


def _checked(content: dict[str, Any], profile: str) -> tuple[list[str], FileKeys | None]:
    """What is wrong with single keys, in this profile and in what the others say."""
    wrong: list[tuple[Place, str]] = []
    keys: FileKeys | None = None
    for name in sorted(profiles_of(content), key=lambda each: each != profile):
        merged = in_profile(content, name)
        wrong += merged.wrong
        try:
            made = FileKeys.model_validate(
                merged.content
                | ({"profiles": content["profiles"]} if "profiles" in content else {})
            )
        except ValidationError as error:
            wrong += _said_in(merged, error, everything=name == profile)
            continue
        keys = made if name == profile else keys
    return [f"{place_text(place)} {told}".strip() for place, told in wrong], keys


def _said_in(
    merged: Merged, error: ValidationError, everything: bool
) -> Iterator[tuple[Place, str]]:
    """Mistakes with their places in the file; of another profile, those that it made."""
    for place, told, of_key in complaints_in(error):
        origin = merged.origin(place)
        if everything or origin[:1] == ("profiles",):
            yield origin[:-1] if of_key else origin, told


def _pipelines(keys: FileKeys) -> Iterator[Pipeline]:
    for at, model in enumerate(keys.models):
        variant = replace(_variant(model), slow_ms=model.slow_ms, failing_share=model.failing_share)
        yield Pipeline(
            variants=(variant,),
            name=model.name or variant.published,
            place=f"models[{at}]",
            **_topics(model),
        )
    for at, experiment in enumerate(keys.experiments):
        major, _, minor = experiment.version.partition(".")
        yield Pipeline(
            variants=tuple(_variants(experiment)),
            name=experiment.name,
            is_experiment=True,
            salt=experiment.salt or experiment.name,
            choose=None if experiment.choose is None else Choose.of(experiment.choose),
            version=(int(major), int(minor)),
            place=f"experiments[{at}]",
            **_topics(experiment),
        )


def _topics(keys: TopicKeys) -> dict[str, Any]:
    gather = keys.gather
    return {
        "inputs": tuple(map(Input.of, keys.inputs)),
        "gather": None if gather is None else Gather(gather.within_s, gather.missing),
        "format": keys.format,
        "partitions": keys.partitions,
        "replication": keys.replication,
        "configs": keys.configs,
        "content_type": keys.content_type,
    }


def _variants(experiment: ExperimentKeys) -> Iterator[Variant]:
    served = [each for each in experiment.variants if not each.shadow]
    total = sum(_weight(each) for each in served)
    for each in served:
        yield _variant(each, each.name, _weight(each) / total)
    for each in experiment.variants:
        if each.shadow:
            yield _variant(each, each.name, 0.0, shadow=True)


def _weight(keys: VariantKeys) -> float:
    return 1.0 if keys.weight is None else keys.weight


def _variant(keys: RunKeys, name: str = "", weight: float = 1.0, shadow: bool = False) -> Variant:
    return Variant(keys.model, name, weight, shadow, keys.timeout_s, keys.memory_mb, keys.cut_ms)


def _complaints(keys: FileKeys, pipelines: tuple[Pipeline, ...]) -> Iterator[str]:
    """What is wrong between keys that are right by themselves."""
    if not pipelines:
        yield "expected a model or an experiment at least, got none"
    for at, experiment in enumerate(keys.experiments):
        place = f"experiments[{at}].variants"
        if all(each.shadow for each in experiment.variants):
            yield f"{place} expected one at least that is no shadow, got none"
        for index, each in enumerate(experiment.variants):
            if each.shadow and each.weight is not None:
                yield (
                    f"{place}[{index}].weight expected none of a shadow, which answers all, "
                    f"got {each.weight!r}"
                )
        counts = Counter(each.name for each in experiment.variants)
        for name, count in counts.items():
            if count > 1:
                yield f"{place} expected names that differ, got {name!r} {count} times"
    yield from _published_complaints(pipelines)
    for pipeline in pipelines:
        for source, count in Counter(pipeline.inputs).items():
            if count > 1:
                got = f"{(source.name or source.kind)!r} {count} times"
                yield f"{pipeline.place}.inputs expected each once, got {got}"
        if pipeline.gather is not None and len(pipeline.inputs) < 2:
            yield (
                f"{pipeline.place}.gather expected two inputs at least, got {len(pipeline.inputs)}"
            )
    yield from complaints_of(pipelines, everyone=False)


def _published_complaints(pipelines: tuple[Pipeline, ...]) -> Iterator[str]:
    for pipeline in pipelines:
        for at, variant in enumerate(pipeline.variants):
            name = variant.published
            if name is not None and pipeline.is_experiment:
                yield (
                    f"{pipeline.place}.variants[{at}].model expected a model that stays, got "
                    f"{variant.model!r}; a published one stands in [[models]]"
                )
            if name is not None and not NAME.fullmatch(name):
                yield (
                    f"{pipeline.place}.model expected {PUBLISHED}NAME, letters, digits, '-' and "
                    f"'_', got {variant.model!r}"
                )


def _content(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
        return tomllib.loads(text) if path.suffix == ".toml" else _of_yaml(text)
    except OSError as error:
        raise BadModelList(
            f"{_VARIABLE} expected a file that can be read, got {str(path)!r}: "
            f"{error.strerror or error}"
        ) from error
    except (ValueError, RecursionError) as error:  # of TOML, YAML, UTF-8, a date
        kind = "TOML" if path.suffix == ".toml" else "YAML"
        raise BadModelList(f"{path.name} expected {kind} in UTF-8, got {error}") from error


def _of_yaml(text: str) -> Any:
    import yaml  # costs a start that reads none 15 ms

    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = "" if mark is None else f" (at line {mark.line + 1}, column {mark.column + 1})"
        raise ValueError(f"{error.problem or error.context}{where}") from error
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


__all__ = ["ENDINGS", "checked_list", "read_models"]
