"""Which topics a pipeline has: `<prefix>.<name>.<major>.<minor>.<kind>`."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from streamrec.dataflows.serving.pipelines import BadModelList, Input, ModelList, Pipeline, Variant
from streamrec.models.serving.contract import NAME, Metadata

TOPIC = re.compile(r"[A-Za-z0-9._-]+")
TOPIC_MAX = 249  # characters of a topic's name, as Kafka has it

_FIRST_VERSION = (1, 0)  # of an experiment that says none


@dataclass(frozen=True, slots=True)
class PipelineTopics:
    """The names of a pipeline's topics."""

    inputs: tuple[str, ...]  # all that are read
    own_inputs: str | None  # the one that is made for it; None: all are others'
    outputs: str
    errors: str
    shadows: str | None  # None: it has no shadow
    gathered: tuple[str, ...] = ()  # of which the records of its own inputs topic are made

    @property
    def made(self) -> tuple[str, ...]:
        """Those that exist for this pipeline: to create, and to delete."""
        made = (self.own_inputs, self.outputs, self.errors, self.shadows)
        return tuple(name for name in made if name is not None)


@dataclass(frozen=True, slots=True)
class NamedPipeline:
    """A pipeline whose models are known."""

    name: str
    version: tuple[int, int]
    pipeline: Pipeline  # with this name
    metadata: tuple[Metadata, ...]  # of each variant
    topics: PipelineTopics

    @property
    def is_published(self) -> bool:
        """Whether its model follows the topic `models`."""
        return self.pipeline.variants[0].published is not None

    @property
    def step(self) -> str:
        """What its steps are called, and its place in a topic that others take too."""
        major, minor = self.version
        return f"{self.name}:{major}:{minor}"


def name_of(metadata: Metadata) -> str:
    """What a model is called where its entry does not say: its qualified name, and its method
    where that is another than `predict`."""
    name, method = metadata.qualified_name, metadata.method
    return name if method == "predict" or name.endswith(f"-{method}") else f"{name}-{method}"


def version_of(pipeline: Pipeline, metadata: Metadata) -> tuple[int, int]:
    """Major and minor of a pipeline's topics. An experiment's stay where its models' change, or
    those who write to it would have to follow."""
    if pipeline.version is not None:
        return pipeline.version
    if pipeline.is_experiment:
        return _FIRST_VERSION
    return metadata.major_version, metadata.minor_version


def topics_of(
    pipeline: Pipeline, metadata: Metadata, prefix: str, inputs: Sequence[str] = ()
) -> PipelineTopics:
    """The topics of a pipeline by its first variant's metadata. `inputs` are the topics that its
    own `inputs` stand for; none: it has one of its own."""
    major, minor = version_of(pipeline, metadata)
    stem = f"{prefix}.{pipeline.name or name_of(metadata)}.{major}.{minor}"
    own = None if inputs else f"{stem}.inputs"
    return PipelineTopics(
        inputs=tuple(inputs) or (f"{stem}.inputs",),
        own_inputs=own,
        outputs=f"{stem}.outputs",
        errors=f"{stem}.errors",
        shadows=f"{stem}.shadows" if pipeline.shadows else None,
    )


def name_pipelines(
    models: ModelList,
    metadata_of: Callable[[Variant], Sequence[Metadata]],
    features_topic: str,
) -> tuple[NamedPipeline, ...]:
    """The pipelines of a list with their names and topics, in its order.

    `metadata_of` says what a variant's model is; of a class with several methods each, and such a
    model becomes a pipeline for each. What it raises is let through. Raises BadModelList for names
    that are there twice or cannot be of topics, and for inputs that name no pipeline, or in a ring.
    """
    found: list[tuple[Pipeline, tuple[Metadata, ...]]] = []
    wrong: list[str] = []
    for pipeline in models.pipelines:
        known = [tuple(metadata_of(variant)) for variant in pipeline.variants]
        if pipeline.is_experiment or len(known[0]) == 1:
            metadata = tuple(
                _only(each, pipeline, variant, wrong)
                for each, variant in zip(known, pipeline.variants, strict=True)
            )
            found.append((_named(pipeline, metadata[0]), metadata))
        else:
            found.extend((_of_method(pipeline, each), (each,)) for each in known[0])
    for pipeline, (first, *_) in found:
        wrong += _name_complaints(pipeline, topics_of(pipeline, first, models.prefix))
    for pipeline, metadata in found:
        wrong += _variant_complaints(pipeline, metadata)
    pipelines = [pipeline for pipeline, _ in found]
    wrong += complaints_of(pipelines, everyone=True)
    if wrong:
        raise BadModelList("\n".join(f"{models.source}: {each}" for each in wrong))
    outputs = {
        str(pipeline.name): topics_of(pipeline, metadata[0], models.prefix).outputs
        for pipeline, metadata in found
    }
    return tuple(
        NamedPipeline(
            str(pipeline.name),
            version_of(pipeline, metadata[0]),
            pipeline,
            metadata,
            _with_inputs(
                pipeline,
                metadata[0],
                models.prefix,
                [_topic(each, outputs, features_topic) for each in pipeline.inputs],
            ),
        )
        for pipeline, metadata in found
    )


def _with_inputs(
    pipeline: Pipeline, metadata: Metadata, prefix: str, inputs: list[str]
) -> PipelineTopics:
    if pipeline.gather is None:
        return topics_of(pipeline, metadata, prefix, inputs)
    return replace(topics_of(pipeline, metadata, prefix), gathered=tuple(inputs))


def complaints_of(pipelines: Sequence[Pipeline], everyone: bool) -> list[str]:
    """What is wrong between pipelines: a name that is there twice, inputs that name none of them,
    and rings of inputs. `everyone`: all have their names; else those without may have any."""
    wrong: list[str] = []
    by_name: dict[str, Pipeline] = {}
    for pipeline in pipelines:
        if pipeline.name is None:
            continue
        if pipeline.name in by_name:
            first = by_name[pipeline.name].place
            wrong.append(
                f"{pipeline.place}.name expected another than that of {first}, "
                f"got {pipeline.name!r}"
            )
        by_name.setdefault(pipeline.name, pipeline)
    for pipeline in pipelines:
        for at, each in enumerate(pipeline.inputs):
            is_known = each.name in by_name or not (everyone or all(p.name for p in pipelines))
            if each.kind == "model" and not is_known:
                wrong.append(
                    f"{pipeline.place}.inputs[{at}] expected a model of {_told(by_name)}, "
                    f"got {'model:' + each.name!r}"
                )
    ring = _ring(by_name)
    if ring:
        place = by_name[ring[0]].place
        wrong.append(f"{place}.inputs expected no ring, got {' <- '.join(ring)}")
    return wrong


def _ring(by_name: Mapping[str, Pipeline]) -> list[str]:
    """Names each of which takes the outputs of the next, the first again at the end."""
    done: set[str] = set()
    for start in by_name:
        path: list[str] = []
        ring = _ring_from(start, by_name, path, done)
        if ring:
            return ring
    return []


def _ring_from(
    name: str, by_name: Mapping[str, Pipeline], path: list[str], done: set[str]
) -> list[str]:
    if name in path:
        return [*path[path.index(name) :], name]
    if name in done or name not in by_name:
        return []
    path.append(name)
    for each in by_name[name].inputs:
        if each.kind == "model" and (ring := _ring_from(each.name, by_name, path, done)):
            return ring
    path.pop()
    done.add(name)
    return []


def _only(
    known: tuple[Metadata, ...], pipeline: Pipeline, variant: Variant, wrong: list[str]
) -> Metadata:
    """The one model that a variant is; of several methods `predict`."""
    if len(known) == 1:
        return known[0]
    for each in known:
        if each.method == "predict":
            return each
    methods = ", ".join(f"{variant.model}.{each.method}" for each in known)
    wrong.append(
        f"{pipeline.place}: variant {variant.name!r} expected one of {methods}, "
        f"got {variant.model!r}"
    )
    return known[0]


def _named(pipeline: Pipeline, metadata: Metadata) -> Pipeline:
    return replace(pipeline, name=pipeline.name or name_of(metadata))


def _of_method(pipeline: Pipeline, metadata: Metadata) -> Pipeline:
    """The pipeline of one of several methods of a class."""
    variant, method = pipeline.variants[0], metadata.method
    name = name_of(metadata)
    if pipeline.name is not None:
        name = pipeline.name if method == "predict" else f"{pipeline.name}-{method}"
    model = f"{variant.model}.{method}"
    return replace(pipeline, name=name, variants=(replace(variant, model=model),))


def _name_complaints(pipeline: Pipeline, topics: PipelineTopics) -> Iterable[str]:
    name = str(pipeline.name)
    if not NAME.fullmatch(name):
        yield (
            f"{pipeline.place}.name expected letters, digits, '-' and '_' with a letter or digit "
            f"first, got {name!r}"
        )
    longest = max(topics.made, key=len)
    if len(longest) > TOPIC_MAX:
        yield (
            f"{pipeline.place}: topic expected at most {TOPIC_MAX} characters, "
            f"got {len(longest)}: {longest!r}"
        )


def _variant_complaints(pipeline: Pipeline, metadata: Sequence[Metadata]) -> Iterable[str]:
    """One record may go to any of them."""
    for variant, each in zip(pipeline.variants, metadata, strict=True):
        if bool(each.content_types) != bool(metadata[0].content_types):
            kinds = ["bytes" if m.content_types else "JSON" for m in (metadata[0], each)]
            yield (
                f"{pipeline.place}: variant {variant.name!r} expected a model of {kinds[0]}, "
                f"as {pipeline.variants[0].name!r} is, got one of {kinds[1]}"
            )


def _topic(each: Input, outputs: Mapping[str, str], features_topic: str) -> str:
    if each.kind == "model":
        return outputs[each.name]
    return features_topic if each.kind == "features" else each.name


def _told(names: Iterable[str]) -> str:
    return ", ".join(names) or "this list, which has none"


__all__ = [
    "NamedPipeline",
    "PipelineTopics",
    "complaints_of",
    "name_of",
    "name_pipelines",
    "topics_of",
    "version_of",
]
