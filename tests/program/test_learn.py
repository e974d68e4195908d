"""`learn init`: from a file to a model that is served, published, and named in both lists."""

import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streamrec.connectors.backend import open_log
from streamrec.dataflows.job.settings import load_settings
from streamrec.dataflows.job.topics import MODEL_EVENTS, MODELS, make_all
from streamrec.dataflows.learning.plan import read_plan
from streamrec.dataflows.learning.publishing import Publisher
from streamrec.models.learning.recipe import read_recipe
from streamrec.models.serving.files import file_predictor
from streamrec.program import app
from tests.models.learning.people import people

MAPPING = """
label = "rich"
missing = ["?"]
[model]
kind = "lightgbm"
parameters = {rounds = 10}
[search]
num_leaves = {low = 4, high = 8, whole = true}
[trainer]
kind = "retrain"
every = 50
"""


def write(folder: Path, mapping: str = MAPPING, break_row: int | None = None) -> list[str]:
    """The files; what the command is given."""
    rows, labels = people(200)
    with (folder / "people.csv").open("w", newline="") as out:
        table = csv.writer(out)
        table.writerow([*rows[0], "rich"])
        for number, (row, label) in enumerate(zip(rows, labels, strict=True)):
            values = ["?" if each is None else each for each in row.values()]
            table.writerow([*values, "yes" if label else "no"][: 3 if number == break_row else 5])
    (folder / "people.map.toml").write_text(mapping)
    return [
        "learn",
        "init",
        str(folder / "people.csv"),
        "--config",
        str(folder / "people.map.toml"),
    ]


def test_a_file_becomes_a_recipe_a_model_and_entries_of_both_lists(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, [*write(tmp_path), "--trials", "2"])
    assert found.exit_code == 0, found.output
    assert "people: lightgbm of 200 examples; by the last 40: accuracy" in found.output
    recipe = read_recipe(tmp_path / "people.learn.toml")
    kinds = [(each.name, each.type) for each in recipe.inputs]
    assert kinds == [
        ("age", "number"),
        ("hours", "number"),
        ("work", "category"),
        ("town", "category"),
    ]
    assert recipe.output.labels == ("no", "yes")
    answer = file_predictor(tmp_path / "people" / "people.toml").predict([{"town": "b"}])[0]
    assert isinstance(answer, dict)
    assert set(answer["chances"]) == {"no", "yes"}
    plan = read_plan(str(tmp_path / "people.learning.toml"))
    entry = plan.models[0]
    assert entry.labels.score == "chances.yes"
    assert entry.trainer is not None
    assert (entry.trainer.every, entry.trainer.recipe) == (50, "people.learn.toml")
    assert 'model = "people/people.toml"' in (tmp_path / "people.models.toml").read_text()


def test_what_was_written_by_hand_since_stays(tmp_path: Path) -> None:
    arguments = write(tmp_path)
    (tmp_path / "people.learning.toml").write_text("# mine\n")
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 1  # what is there is no learning file
    assert (tmp_path / "people.learning.toml").read_text() == "# mine\n"
    assert "is there already, and stays as it is" in found.output


def test_the_model_is_published_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDDED_LOG_PATH", str(tmp_path / "log.sqlite"))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "")
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", "")
    log = open_log(load_settings())
    make_all(log, {topic.name: topic for topic in (MODELS, MODEL_EVENTS)})
    for _ in range(2):  # once more changes nothing
        found = CliRunner().invoke(app, [*write(tmp_path), "--publish"])
        assert found.exit_code == 0, found.output
    with Publisher(log) as publisher:
        known = publisher.known().of("people")
        (version,) = known.versions
        assert known.wanted == version
    assert f"published: people/{version}" in found.output
    assert 'model = "published:people"' in (tmp_path / "people.models.toml").read_text()


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        ("label = 3", "label: Input should be a valid string"),
        ('label = "poor"', "expected a column 'poor', got age, hours, work, town, rich"),
        ('label = "rich"\n[inputs]\nwork = "number"', "line 2: column 'work' expected a number"),
        (
            'label = "rich"\n[preprocess]\ncrossed = [["work", "town"]]',
            "preprocess.crossed expected model.kind 'linear'",
        ),
        ('label = "rich"\n[model]\nkind = "linear"\nparameters = {depth = 3}', "got 'depth'"),
    ],
)
def test_a_wrong_mapping_is_told_in_a_line(mapping: str, told: str, tmp_path: Path) -> None:
    found = CliRunner().invoke(app, write(tmp_path, mapping))
    assert found.exit_code == 2
    assert told in found.output
    assert not (tmp_path / "people").exists()


def test_a_line_with_too_few_values_is_named(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, write(tmp_path, break_row=7))
    assert found.exit_code == 2
    assert "people.csv, line 9: expected 5 values, got 3" in found.output
