"""The pipelines of a job, wired from its list of models: what each box of `dataflows.scorer` is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from streamrec.connectors.allowance import Allowance
from streamrec.connectors.log import LogError
from streamrec.dataflows.engine.flags import all_workers
from streamrec.dataflows.job.job import Job
from streamrec.dataflows.job.paper import PaperJob
from streamrec.dataflows.job.report import ServedModel
from streamrec.dataflows.job.start_error import StartError
from streamrec.dataflows.job.topics import RECOMMENDATIONS, Topic
from streamrec.dataflows.serving.answering import AnswerInputs, Judge
from streamrec.dataflows.serving.avro_values import AvroAnswers
from streamrec.dataflows.serving.choosing import ChooseVariant
from streamrec.dataflows.serving.decode import DecodeInputs, Reading
from streamrec.dataflows.serving.features import named_features
from streamrec.dataflows.serving.kept_list import check_models, kept_list, names_of_kept
from streamrec.dataflows.serving.kept_topics import ChangedModel
from streamrec.dataflows.serving.loaded import LoadedModels
from streamrec.dataflows.serving.outputs import SERVED, SHADOW, AvroOutputs, JsonOutputs
from streamrec.dataflows.serving.pipelines import BadModelList, Variant
from streamrec.dataflows.serving.reading import read_models
from streamrec.dataflows.serving.replayed import written_into
from streamrec.dataflows.serving.rows import PipelineRows, rows_of
from streamrec.dataflows.serving.running import Running
from streamrec.dataflows.serving.same_schemas import check_schemas
from streamrec.dataflows.serving.shadows import ShadowShard
from streamrec.dataflows.serving.swap.asking import AnswerPublished
from streamrec.dataflows.serving.swap.first import FirstVersions
from streamrec.dataflows.serving.swap.following import follow, watch_of
from streamrec.dataflows.serving.swap.swapping import Swapping, SwapPlan
from streamrec.dataflows.serving.swap.timeline import ModelVersion
from streamrec.dataflows.serving.swap.trials import TrialRules
from streamrec.dataflows.serving.topic_names import NamedPipeline, name_pipelines
from streamrec.dataflows.steps.shards import lane_shard
from streamrec.models.loading import BadModel
from streamrec.models.serving.avro import value_from_avro
from streamrec.models.users.features import declared
from streamrec.schemas.row_values import AvroRows
from streamrec.schemas.served import ServedBy

_LATER_RECORDS = 256  # of a topic, that wait for a model in a process of its own

Outputs = JsonOutputs | AvroOutputs


@dataclass(frozen=True, slots=True)
class Served:
    """One pipeline of a job."""

    step: str  # what its boxes are called
    rows: PipelineRows
    decode: DecodeInputs
    answer: AnswerInputs | AnswerPublished
    outputs: Outputs
    allowances: Mapping[str, Allowance]  # by input's row: how much may be read at once
    shadows: Sequence[Callable[[], ShadowShard]] = ()  # each makes that of one shard
    shadow_outputs: Outputs | None = None

    def reader(self, topic: Topic) -> str:
        """Under which name it reads one of its inputs: what others may take too, each has a place
        in for itself, whoever comes and goes."""
        return "" if topic is self.rows.own_inputs else self.step


def serve(job: Job) -> list[Served]:
    """The pipelines that the settings list; loads their models. Raises StartError."""
    published = FirstVersions(partial(watch_of, job))
    loaded, named = _loaded(job, published)
    # Versions of a published model are held against the first, one by one.
    check_schemas(job.settings, [each for each, _ in named if not each.is_published])
    lanes = job.settings.lanes
    shards = [lane_shard(lane, all_workers()) for lane in range(lanes)]

    def shard_of(partition: int) -> str:
        return shards[partition % lanes]

    serving = [_Serving(job, loaded, published, each, rows, shard_of) for each, rows in named]
    served = [each.served() for each in serving]
    if published.is_open and not isinstance(job, PaperJob):
        answers = [each.answer for each in served if isinstance(each.answer, AnswerPublished)]
        follow(job, published.watch, [each.swapping for each in answers])
    return served


def listed(job: Job) -> list[tuple[NamedPipeline, PipelineRows]]:
    """The pipelines that the settings list, and their topics. Raises StartError."""
    loaded, named = _loaded(job, FirstVersions(partial(watch_of, job)))
    loaded.close()
    return named


def _loaded(
    job: Job, published: FirstVersions
) -> tuple[LoadedModels, list[tuple[NamedPipeline, PipelineRows]]]:
    features_topic = job.settings.topic(RECOMMENDATIONS)
    try:
        if names := names_of_kept(job.settings.models):
            loaded, named = _kept(job, names)
        else:
            models = read_models(job.settings.models, job.settings.profile)
            loaded = LoadedModels(models, published)
            if wrong := loaded.complaints(models):
                raise BadModelList("\n".join(wrong))
            named = name_pipelines(models, loaded.metadata_of, features_topic)
    except (BadModelList, BadModel, ChangedModel, LogError) as error:
        raise StartError(str(error)) from error
    if job.settings.into is not None:
        named = written_into(named, job.settings.into)
    rows = _rows(named, features_topic)
    return loaded, [(each, rows[each.name]) for each in named]


def _kept(job: Job, names: Sequence[str]) -> tuple[LoadedModels, tuple[NamedPipeline, ...]]:
    """Pipelines that the log keeps: their models must still be what they were created with."""
    if isinstance(job, PaperJob):
        raise StartError(
            "STREAMREC_MODELS expected a list of models, got pipelines of the log, which is not "
            "read here; `streamrec pipeline status` tells of them"
        )
    models, named = kept_list(job.log, job.settings, names)
    loaded = LoadedModels(models)
    check_models(named, loaded.metadata_of)
    return loaded, named


def _rows(named: Sequence[NamedPipeline], features_topic: str) -> dict[str, PipelineRows]:
    """By pipeline, those whose outputs others take before them."""
    found: dict[str, PipelineRows] = {}
    known: dict[str, Topic] = {features_topic: RECOMMENDATIONS}
    left = list(named)
    while left:
        for each in left:
            others = {one.topics.outputs for one in left if one is not each}
            if others.isdisjoint(each.topics.inputs):
                break
        left.remove(each)
        found[each.name] = rows = rows_of(each, known.get)
        known |= {row.name: row for row in (rows.outputs, *rows.inputs)}
    return found


@dataclass(frozen=True, slots=True)
class _Serving:
    """Makes one pipeline of a job."""

    job: Job
    loaded: LoadedModels
    published: FirstVersions
    named: NamedPipeline
    rows: PipelineRows
    shard_of: Callable[[int], str]  # of a partition's lane

    def served(self) -> Served:
        pipeline = self.named.pipeline
        cut_s = min(variant.cut_ms for variant in pipeline.variants) / 1000
        allowances = {
            row.name: Allowance(records_max=None, cut_s=cut_s) for row in self.rows.inputs
        }

        def tell(count: int, took_s: float) -> None:
            for allowance in allowances.values():
                allowance.took(count, took_s)

        def on_move() -> None:
            for allowance in allowances.values():
                allowance.records_max = _LATER_RECORDS

        decode = self._decode()
        if pipeline.variants[0].published is not None:
            return self._served_published(decode, allowances, tell, on_move)
        running = [self.loaded.running(variant, on_move) for variant in pipeline.served]
        self.job.report.models += [
            ServedModel(
                metadata.qualified_name
                if not variant.name
                else f"{self.named.name}:{variant.name}",
                metadata.version,
                _made_s(variant.model),
            )
            for variant, metadata in zip(pipeline.variants, self.named.metadata, strict=True)
        ]
        answer = AnswerInputs(
            running,
            ChooseVariant.of(pipeline) if pipeline.is_experiment else None,
            cut_s,
            tell=tell,
            encode=None
            if self.rows.output_schema is None
            else AvroAnswers(self.rows.output_schema),
        )
        return Served(
            step=self.named.step,
            rows=self.rows,
            decode=decode,
            answer=answer,
            outputs=self._outputs(self.rows.outputs, pipeline.served, SERVED),
            allowances=allowances,
            shadows=[
                partial(self._shadow, n, each, decode) for n, each in enumerate(pipeline.shadows)
            ],
            shadow_outputs=None
            if self.rows.shadows is None
            else self._outputs(self.rows.shadows, pipeline.shadows, SHADOW),
        )

    def _served_published(
        self,
        decode: DecodeInputs,
        allowances: Mapping[str, Allowance],
        tell: Callable[[int, float], object],
        on_move: Callable[[], object],
    ) -> Served:
        job, named, rows = self.job, self.named, self.rows
        variant = named.pipeline.variants[0]
        first = self.loaded.first(variant)
        models, at = job.report.models, len(job.report.models)
        models.append(ServedModel(named.name, first.version.version))

        def answering(running: Running, served: int, judge: Judge) -> AnswerInputs:
            encode = None if rows.output_schema is None else AvroAnswers(rows.output_schema)
            cut_s = variant.cut_ms / 1000
            return AnswerInputs(
                [running], None, cut_s, tell=tell, encode=encode, judge=judge, served=served
            )

        def on_target(version: ModelVersion, made_s: float | None) -> None:
            models[at] = ServedModel(named.name, version.version, made_s)

        rules = TrialRules(
            named.name,
            rows.output_schema is not None,
            decode.by_column,
            variant.failing_share,
            variant.slow_ms,
        )
        plan = SwapPlan(
            pipeline=named.name,
            model=first.version.model,
            variant=variant,
            metadata=named.metadata[0],
            rules=rules,
            flow_id=job.flow_id,
            read_only=job.settings.into is not None,
            answering=answering,
            on_move=on_move,
            on_target=on_target,
        )
        watch = self.published.watch
        ends = watch.ends([job.settings.topic(row) for row in rows.inputs])
        swapping = Swapping(plan, watch, first, ends)
        outputs: Outputs = (
            JsonOutputs(swapping.by)
            if rows.output_schema is None
            else AvroOutputs(swapping.by, job.schema_id(rows.outputs))
        )
        return Served(
            step=named.step,
            rows=rows,
            decode=decode,
            answer=AnswerPublished(swapping),
            outputs=outputs,
            allowances=allowances,
        )

    def _decode(self) -> DecodeInputs:
        job, metadata, pipeline = self.job, self.named.metadata[0], self.named.pipeline
        schema = metadata.input_schema
        by_column = False
        # Columns are written as Avro; and whether a variant is chosen by hand, values say.
        if self.rows.output_schema is not None and not pipeline.is_experiment:
            predictor = self.loaded.predictor(pipeline.variants[0])
            by_column = hasattr(predictor, "predict_columns")
        readings: dict[str, Reading] = {}
        for row in self.rows.inputs:
            if row is RECOMMENDATIONS:
                reading = Reading(
                    any_avro=job.value_decoder(),
                    adapt=named_features(declared(job.settings.windows)),
                )
            else:
                made = self.rows.input_schema
                reading = Reading(
                    any_avro=job.value_decoder(),
                    decoder=None if made is None else job.decoder_as(made),
                    reader=None if made is None else AvroRows(made),
                    from_avro=None if schema is None else value_from_avro(schema),
                    by_column=by_column,
                    takes_bytes=bool(metadata.content_types),
                    content_type=pipeline.content_type or "",
                )
            readings[job.settings.topic(row)] = reading
        return DecodeInputs(readings, self.shard_of)

    def _outputs(self, topic: Topic, variants: Sequence[Variant], mode: str) -> Outputs:
        by = [self._by(variant, mode) for variant in variants]
        kind = "" if mode == SERVED else mode
        if self.rows.output_schema is None:
            return JsonOutputs(by, kind)
        return AvroOutputs(by, self.job.schema_id(topic), kind)

    def _by(self, variant: Variant, mode: str) -> ServedBy:
        pipeline = self.named.pipeline
        metadata = self.named.metadata[pipeline.variants.index(variant)]
        if not pipeline.is_experiment:
            return ServedBy(self.named.name, metadata.version)
        experiment = self.named.name
        return ServedBy(metadata.qualified_name, metadata.version, experiment, variant.name, mode)

    def _shadow(self, index: int, variant: Variant, decode: DecodeInputs) -> ShadowShard:
        encode = None
        if self.rows.output_schema is not None:
            encode = AvroAnswers(self.rows.output_schema)
        return ShadowShard(
            self.loaded.shadow(variant),
            index,
            self.named.name,
            variant.name,
            encode,
            decode,
        )


def _made_s(model: str) -> float | None:
    """When the file was written that a model is, Unix seconds; None: it is none."""
    path = Path(model)
    return path.stat().st_mtime if ":" not in model and path.is_file() else None


__all__ = ["Served", "listed", "serve"]
