"""The list of models: what each file says, and every mistake with its place."""

import json
from pathlib import Path

import pytest

from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.serving.entries import FileKeys
from streamrec.dataflows.serving.pipelines import (
    PROFILES,
    BadModelList,
    Choose,
    Gather,
    Input,
    ModelList,
    Pipeline,
    Variant,
)
from streamrec.dataflows.serving.reading import read_models

SCHEMA = Path(__file__).parents[3] / "schemas" / "models.schema.json"

WHOLE = """
prefix = "shop"
[[models]]
model = "iris_model:Iris"
name = "iris"
timeout_s = 2
memory_mb = 512
cut_ms = 50
format = "avro"
partitions = 4
replication = 3
configs = {"retention.ms" = 86400000, "cleanup.policy" = "delete"}
content_type = "image/png"
[[models]]
model = "fraud.skops"
inputs = ["features", "model:iris", "clicks", "topic:features"]
[models.gather]
within_s = 60
missing = "error"
[[experiments]]
name = "iris-test"
salt = "2026-11"
choose = "header:variant"
version = "2.1"
[[experiments.variants]]
name = "c"
model = "iris_model:Third"
shadow = true
[[experiments.variants]]
name = "a"
model = "iris_model:Iris"
weight = 9
[[experiments.variants]]
name = "b"
model = "iris_model:Other"
timeout_s = 0.5
[profiles.production]
prefix = "live"
[profiles.production.models.iris]
memory_mb = 1024
configs = {"retention.ms" = 1}
[profiles.production.experiments.iris-test.variants.b]
weight = 3
[profiles.mine]
"""


def written(folder: Path, text: str, name: str = "models.toml") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def mistakes(folder: Path, text: str, profile: str = "development") -> list[str]:
    """What is said of a file, line by line."""
    with pytest.raises(BadModelList) as raised:
        read_models(written(folder, text), profile)
    return str(raised.value).splitlines()


def test_a_file_says_pipelines_and_weights_that_make_one(tmp_path: Path) -> None:
    models = read_models(written(tmp_path, WHOLE))

    iris, fraud, test = models.pipelines
    assert (models.prefix, models.folder, models.source) == ("shop", tmp_path, "models.toml")
    assert iris == Pipeline(
        variants=(Variant("iris_model:Iris", timeout_s=2, memory_mb=512, cut_ms=50),),
        name="iris",
        format="avro",
        partitions=4,
        replication=3,
        configs={"retention.ms": "86400000", "cleanup.policy": "delete"},
        content_type="image/png",
        place="models[0]",
    )
    assert fraud.name is None
    assert fraud.gather == Gather(60, "error")
    assert fraud.inputs == (
        Input("features"),
        Input("model", "iris"),
        Input("topic", "clicks"),
        Input("topic", "features"),
    )
    assert (test.name, test.salt, test.version) == ("iris-test", "2026-11", (2, 1))
    assert test.choose == Choose("header", "variant")
    assert [(v.name, v.weight, v.shadow, v.apart) for v in test.variants] == [
        ("a", 0.9, False, False),
        ("b", 0.1, False, True),
        ("c", 0.0, True, True),
    ]
    assert (test.served, test.shadows) == (test.variants[:2], test.variants[2:])


def test_a_profile_overrides_by_name_and_the_rest_stays(tmp_path: Path) -> None:
    models = read_models(written(tmp_path, WHOLE), "production")

    iris, _, test = models.pipelines
    assert (models.prefix, models.profile) == ("live", "production")
    assert (iris.variants[0].memory_mb, iris.variants[0].timeout_s) == (1024, 2)
    assert iris.configs == {"retention.ms": "1", "cleanup.policy": "delete"}
    assert [v.weight for v in test.served] == [0.75, 0.25]


@pytest.mark.parametrize("profile", ["development", "test", "beta", "production", "mine"])
def test_profiles_that_a_file_has_or_that_are_always_there_are_taken(
    tmp_path: Path, profile: str
) -> None:
    assert read_models(written(tmp_path, WHOLE), profile).profile == profile


def test_unknown_profile_is_refused_and_names_those_that_are_there(tmp_path: Path) -> None:
    assert mistakes(tmp_path, WHOLE, "prodution") == [
        "STREAMREC_PROFILE expected a profile of models.toml: development, test, beta, production, "
        "mine; got 'prodution'; did you mean 'production'?"
    ]


def test_yaml_says_the_same_as_toml(tmp_path: Path) -> None:
    text = """
    models:
      - model: iris_model:Iris
        configs: {retention.ms: 86400000, preallocate: true}
    experiments:
      - name: e
        variants:
          - {name: a, model: 'm:A', weight: 1}
          - {name: b, model: 'm:B', weight: 3}
    """
    plain, experiment = read_models(written(tmp_path, text, "models.yaml")).pipelines
    assert plain.variants == (Variant("iris_model:Iris"),)
    assert plain.configs == {"retention.ms": "86400000", "preallocate": "true"}
    assert [v.weight for v in experiment.served] == [0.25, 0.75]
    assert (experiment.salt, experiment.version) == ("e", (1, 0))


def test_names_with_commas_are_models_with_all_by_default() -> None:
    models = read_models(" iris_model:Iris , models/fraud.skops,")
    assert models == ModelList(
        (
            Pipeline((Variant("iris_model:Iris"),), place="models[0]"),
            Pipeline((Variant("models/fraud.skops"),), place="models[1]"),
        ),
        folder=Path.cwd(),
    )


def test_all_mistakes_are_told_at_once_each_with_its_place(tmp_path: Path) -> None:
    text = """
    prefix = "a b"
    modles = []
    [[models]]
    name = "x y"
    timeout_s = 0
    memory_mb = "much"
    [[models]]
    model = "m:M"
    timeot_s = 1
    colour = "red"
    format = "xml"
    configs = {"retention.ms" = [1]}
    inputs = ["a b"]
    gather = {within_s = -1}
    [[experiments]]
    name = "e"
    choose = "cookie:x"
    version = "1"
    variants = [{name = "a", model = "m:A", weight = 0}, {model = "", shadow = 1}]
    """
    assert mistakes(tmp_path, text) == [
        "models.toml: prefix expected letters, digits, '.', '-' and '_', got 'a b'",
        "models.toml: models[0] expected a key 'model', got none",
        "models.toml: models[0].timeout_s expected a number greater than 0, got 0",
        "models.toml: models[0].memory_mb expected an integer, got 'much'",
        "models.toml: models[0].name expected letters, digits, '-' and '_', a letter or digit "
        "first, got 'x y'",
        "models.toml: models[1].inputs[0] expected a topic, model:NAME, features or topic:NAME, "
        "got 'a b'",
        "models.toml: models[1].gather.within_s expected a number greater than 0, got -1",
        "models.toml: models[1].format expected 'json' or 'avro', got 'xml'",
        "models.toml: models[1].configs.'retention.ms' expected a string, got [1]",
        "models.toml: models[1] expected a key that there is, got 'timeot_s'; "
        "did you mean 'timeout_s'?",
        "models.toml: models[1] expected one of the keys inputs, gather, format, partitions, "
        "replication, configs, content_type, model, timeout_s, memory_mb, cut_ms, name, slow_ms, "
        "failing_share, got 'colour'",
        "models.toml: experiments[0].choose expected header:NAME or field:PATH, got 'cookie:x'",
        "models.toml: experiments[0].version expected MAJOR.MINOR, got '1'",
        "models.toml: experiments[0].variants[0].weight expected a number greater than 0, got 0",
        "models.toml: experiments[0].variants[1].model expected a text that is not empty, got ''",
        "models.toml: experiments[0].variants[1] expected a key 'name', got none",
        "models.toml: experiments[0].variants[1].shadow expected true or false, got 1",
        "models.toml: expected a key that there is, got 'modles'; did you mean 'models'?",
    ]


def test_mistakes_of_every_profile_are_told_where_they_stand(tmp_path: Path) -> None:
    text = """
    [[models]]
    name = "iris"
    model = "m:M"
    [profiles.beta]
    prefx = "b"
    [profiles.beta.models.irs]
    cut_ms = 1
    [profiles.beta.models.iris]
    cut_ms = 0
    cat_ms = 1
    [profiles.test.models]
    iris = 5
    """
    assert sorted(mistakes(tmp_path, text)) == [
        "models.toml: profiles.beta expected prefix, models, experiments, got 'prefx'; "
        "did you mean 'prefix'?",
        "models.toml: profiles.beta.models expected one of iris, got 'irs'; did you mean 'iris'?",
        "models.toml: profiles.beta.models.iris expected a key that there is, got 'cat_ms'; "
        "did you mean 'cut_ms'?",
        "models.toml: profiles.beta.models.iris.cut_ms expected a number greater than or equal "
        "to 1, got 0",
        "models.toml: profiles.test.models.iris expected a table of keys, got 5",
    ]


def test_what_keys_say_together_is_checked(tmp_path: Path) -> None:
    text = """
    [[models]]
    name = "a"
    model = "m:A"
    inputs = ["model:c"]
    [[models]]
    name = "b"
    model = "m:B"
    inputs = ["model:a", "model:a", "model:none"]
    [[models]]
    name = "c"
    model = "m:C"
    inputs = ["model:b"]
    gather = {within_s = 1}
    [[models]]
    name = "a"
    model = "m:D"
    [[experiments]]
    name = "e"
    variants = [{name = "x", model = "m:X", shadow = true, weight = 1}]
    [[experiments]]
    name = "f"
    variants = [{name = "x", model = "m:X"}, {name = "x", model = "m:Y"}]
    """
    assert mistakes(tmp_path, text) == [
        "models.toml: experiments[0].variants expected one at least that is no shadow, got none",
        "models.toml: experiments[0].variants[0].weight expected none of a shadow, which answers "
        "all, got 1.0",
        "models.toml: experiments[1].variants expected names that differ, got 'x' 2 times",
        "models.toml: models[1].inputs expected each once, got 'a' 2 times",
        "models.toml: models[2].gather expected two inputs at least, got 1",
        "models.toml: models[3].name expected another than that of models[0], got 'a'",
        "models.toml: models[1].inputs[2] expected a model of a, b, c, e, f, got 'model:none'",
        "models.toml: models[0].inputs expected no ring, got a <- c <- b <- a",
    ]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("m.toml", "a = ", "m.toml expected TOML in UTF-8, got Invalid value (at "),
        ("m.toml", "", "m.toml: expected a model or an experiment at least, got none"),
        ("m.yaml", "a: [", "m.yaml expected YAML in UTF-8, got expected the node content, but "),
        ("m.yaml", "- 1", "m.yaml expected a table of keys, got list"),
        ("m.yaml", "models: {a: 1}", "m.yaml: models expected a list, got {'a': 1}"),
        ("m.yaml", "models: [1]", "m.yaml: models[0] expected a table of keys, got 1"),
        ("m.yaml", "profiles: 1", "m.yaml: profiles expected a table, got 1"),
        (
            "m.yaml",
            "profiles: {1: {}}\nmodels: []",
            "m.yaml: profiles expected names as keys, got 1",
        ),
        ("m.yaml", "models: [{1: 2, model: m}]", "m.yaml: models[0] expected names as keys, got 1"),
        ("m.yaml", "1: 2", "m.yaml: expected names as keys, got 1"),
        ("m.yaml", "models: &a [*a]", "m.yaml"),
        ("m.yaml", "a: 2026-99-99", "m.yaml expected YAML in UTF-8, got "),
        ("m.yaml", "!!python/object:os.system {}", "m.yaml expected YAML in UTF-8, got "),
        ("m.yaml", "[" * 5_000, "m.yaml expected YAML in UTF-8, got "),
        ("m.yml", "\x00", "m.yml expected YAML in UTF-8, got "),
    ],
)
def test_what_is_no_list_is_refused_in_words(
    tmp_path: Path, name: str, text: str, told: str
) -> None:
    with pytest.raises(BadModelList) as raised:
        read_models(written(tmp_path, text, name))
    assert str(raised.value).startswith(told)


@pytest.mark.parametrize(
    ("models", "told"),
    [
        (None, "STREAMREC_MODELS expected a file of .toml, .yaml, .yml, or names of models with "),
        (" , ", "STREAMREC_MODELS expected a file of .toml, .yaml, .yml, or names of models with "),
        ("no/such.toml", "STREAMREC_MODELS expected a file that can be read, got 'no/such.toml': "),
    ],
)
def test_no_list_at_all_is_refused_in_words(models: str | None, told: str) -> None:
    with pytest.raises(BadModelList) as raised:
        read_models(models)
    assert str(raised.value).startswith(told)


def test_settings_begin_with_the_first_profile() -> None:
    assert Settings.model_fields["profile"].default == PROFILES[0]


def test_the_schema_for_editors_is_that_of_the_keys() -> None:
    expected = json.dumps(FileKeys.model_json_schema(), indent=2) + "\n"
    assert SCHEMA.read_text(encoding="utf-8") == expected, (
        "schemas/models.schema.json expected FileKeys.model_json_schema()"
    )


def test_the_list_of_the_page_is_read_as_the_page_says(tmp_path: Path) -> None:
    page = (SCHEMA.parents[1] / "docs" / "list-of-models.md").read_text(encoding="utf-8")
    text = page.split("```toml\n")[1].split("```")[0]
    models = read_models(written(tmp_path, text), "production")
    assert models.prefix == "live"
    assert [each.name for each in models.pipelines] == ["iris", "fraud", "iris-test"]
    assert models.pipelines[0].variants[0].memory_mb == 1024
    assert [each.weight for each in models.pipelines[2].served] == [0.75, 0.25]
