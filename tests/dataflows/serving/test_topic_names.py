"""Names and topics of pipelines, once their models are known."""

from collections.abc import Sequence

import pytest

from streamrec.dataflows.serving.pipelines import BadModelList, Input, ModelList, Pipeline, Variant
from streamrec.dataflows.serving.topic_names import PipelineTopics, name_pipelines
from streamrec.models.serving.contract import Metadata

IRIS = Metadata("iris", "Iris", "", 1, 3, None, None)
FRAUD = Metadata("fraud", "Fraud", "", 0, 2, None, None)
BOTH = (IRIS, Metadata("iris", "Iris", "", 1, 3, None, None, method="predict_proba"))
FOUND: dict[str, Sequence[Metadata]] = {
    "m:Iris": [IRIS],
    "m:Fraud": [FRAUD],
    "m:Both": BOTH,
    "m:Long": [Metadata("x" * 240, "", "", 1, 0, None, None)],
    "m:Odd": [Metadata("a.b", "", "", 1, 0, None, None)],
}


def plain(model: str, place: str = "models[0]", **given: object) -> Pipeline:
    return Pipeline((Variant(model),), place=place, **given)  # type: ignore[arg-type]  # by each test


def known(variant: Variant) -> Sequence[Metadata]:
    return FOUND[variant.model]


def test_a_model_has_its_topics_by_its_own_name_and_version() -> None:
    (found,) = name_pipelines(ModelList((plain("m:Iris"),), prefix="shop"), known, "seen")
    assert (found.name, found.version, found.pipeline.name) == ("iris", (1, 3), "iris")
    assert found.metadata == (IRIS,)
    assert found.topics == PipelineTopics(
        inputs=("shop.iris.1.3.inputs",),
        own_inputs="shop.iris.1.3.inputs",
        outputs="shop.iris.1.3.outputs",
        errors="shop.iris.1.3.errors",
        shadows=None,
    )


def test_inputs_of_others_are_read_and_not_made() -> None:
    inputs = (Input("model", "iris"), Input("features"), Input("topic", "prices"))
    models = ModelList((plain("m:Fraud", inputs=inputs), plain("m:Iris", "models[1]")))
    fraud, _ = name_pipelines(models, known, features_topic="seen")
    assert fraud.topics.inputs == ("models.iris.1.3.outputs", "seen", "prices")
    assert fraud.topics.made == ("models.fraud.0.2.outputs", "models.fraud.0.2.errors")


def test_an_experiments_topics_stay_where_its_models_change() -> None:
    variants = (Variant("m:Iris", "a"), Variant("m:Fraud", "s", 0.0, shadow=True))
    experiment = Pipeline(variants, "e", is_experiment=True, salt="e", place="experiments[0]")
    (found,) = name_pipelines(ModelList((experiment,)), known, "seen")
    assert found.topics.outputs == "models.e.1.0.outputs"
    assert found.topics.shadows == "models.e.1.0.shadows"
    assert found.metadata == (IRIS, FRAUD)


def test_each_method_of_a_class_is_a_pipeline_of_its_own() -> None:
    found = name_pipelines(ModelList((plain("m:Both"), plain("m:Both", name="my"))), known, "seen")
    assert [(each.name, each.pipeline.variants[0].model) for each in found] == [
        ("iris", "m:Both.predict"),
        ("iris-predict_proba", "m:Both.predict_proba"),
        ("my", "m:Both.predict"),
        ("my-predict_proba", "m:Both.predict_proba"),
    ]


@pytest.mark.parametrize(
    ("pipelines", "told"),
    [
        (
            (plain("m:Iris"), plain("m:Iris", "models[1]")),
            "STREAMREC_MODELS: models[1].name expected another than that of models[0], got 'iris'",
        ),
        (
            (plain("m:Iris", inputs=(Input("model", "fraud"),)),),
            "STREAMREC_MODELS: models[0].inputs[0] expected a model of iris, got 'model:fraud'",
        ),
        (
            (plain("m:Iris", inputs=(Input("model", "iris"),)),),
            "STREAMREC_MODELS: models[0].inputs expected no ring, got iris <- iris",
        ),
        (
            (plain("m:Odd"),),
            "STREAMREC_MODELS: models[0].name expected letters, digits, '-' and '_' with a letter "
            "or digit first, got 'a.b'",
        ),
        (
            (plain("m:Long"),),
            "STREAMREC_MODELS: models[0]: topic expected at most 249 characters, got 259: ",
        ),
    ],
)
def test_names_that_cannot_be_are_refused_once_models_are_known(
    pipelines: tuple[Pipeline, ...], told: str
) -> None:
    with pytest.raises(BadModelList) as raised:
        name_pipelines(ModelList(pipelines), known, "seen")
    assert str(raised.value).startswith(told)
