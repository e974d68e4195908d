"""What `learn init` does."""

from pathlib import Path
from typing import Any

import typer

from streamrec.dataflows.job.start_error import StartError
from streamrec.dataflows.learning.plan import BadPlan, read_plan
from streamrec.dataflows.learning.published import BadPublished, ModelTopics
from streamrec.dataflows.learning.publishing import By, Publisher
from streamrec.models.learning.archives import pack
from streamrec.models.learning.examples import TooFewExamples
from streamrec.models.learning.fit import Trained, fit
from streamrec.models.learning.mapping import Mapped, examples_in, read_mapping, recipe_of
from streamrec.models.learning.recipe import Recipe, parsed_recipe
from streamrec.models.learning.search import optuna_search
from streamrec.models.learning.toml_text import Inline, toml_of
from streamrec.models.loading import BadModel
from streamrec.program.shared import CommandError, UsageError, opened, say


def begin(file: Path, config: Path, out: Path, trials: int, budget_s: float, publish: bool) -> None:
    """Raises UsageError, CommandError."""
    try:
        mapped = read_mapping(config)
        recipe = recipe_of(mapped, file)
        examples = examples_in(mapped, recipe, file)
        search = optuna_search(recipe, trials, budget_s) if trials else None
        made = fit(recipe, examples, search=search, facts={"trainer": "init", "file": file.name})
    except (BadModel, TooFewExamples) as error:
        raise UsageError(str(error)) from None
    _tell(recipe, made, len(examples))
    folder = out / recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in made.files.items():
        (folder / name).write_bytes(content)
    text = recipe_text(recipe, made.about["parameters"])
    recipe_file = out / f"{recipe.name}.learn.toml"
    parsed_recipe(text, recipe_file)  # it is read as it was meant
    recipe_file.write_text(text, encoding="utf-8")
    say(f"recipe: {recipe_file}")
    say(f"model: {folder}")
    if publish:
        _publish(recipe, made)
    _entries(mapped, recipe, out, publish)


def _tell(recipe: Recipe, made: Trained, count: int) -> None:
    measures = ", ".join(f"{name} {value:.4f}" for name, value in made.metrics.items())
    judged = made.about["validated"]["examples"]
    threshold = made.about["threshold"]
    chosen = "" if threshold is None else f"; threshold {threshold:.3f}"
    typer.echo(
        f"{recipe.name}: {recipe.model.kind} of {count:,} examples; by the last {judged:,}: "
        f"{measures}{chosen}"
    )


def recipe_text(recipe: Recipe, parameters: dict[str, Any]) -> str:
    """TOML, with the parameters that were found best."""
    said = recipe.model_dump(exclude_defaults=True, mode="json")
    said["model"] = {"kind": recipe.model.kind, "parameters": parameters or None}
    if recipe.search:
        spans = recipe.model_dump(mode="json", exclude_defaults=True)["search"]
        said["search"] = {name: Inline(span) for name, span in spans.items()}
    return toml_of(said)


def _publish(recipe: Recipe, made: Trained) -> None:
    with opened() as (log, settings):
        try:
            with Publisher(log, ModelTopics.of(settings)) as publisher:
                archive = pack(made.files)
                by = By(why="learn init")
                version = publisher.publish(recipe.name, archive, by=by)
        except (BadPublished, StartError) as error:
            raise CommandError(str(error)) from None
    say(f"published: {recipe.name}/{version}")


def _entries(mapped: Mapped, recipe: Recipe, out: Path, published: bool) -> None:
    name = recipe.name
    model = f"published:{name}" if published else f"{name}/{name}.toml"
    listed = {"models": [{"model": model, "name": name}]}
    _write(out / f"{name}.models.toml", toml_of(listed), "STREAMREC_MODELS")
    labels: dict[str, Any] = {**mapped.labelling}
    if recipe.classes == 2 and "." not in recipe.output.labels[1]:
        labels.setdefault("score", f"chances.{recipe.output.labels[1]}")
    elif not recipe.classes:
        labels.setdefault("score", recipe.output.name)
    entry: dict[str, Any] = {
        "pipeline": name,
        "labels": labels or None,
        "trainer": {
            "kind": "retrain",
            "every": 500,
            "recipe": f"{name}.learn.toml",
            **mapped.trainer,
        },
        "evaluation": dict(mapped.evaluation) or None,
    }
    path = out / f"{name}.learning.toml"
    _write(path, toml_of({"models": [entry]}), "STREAMREC_LEARNING")
    try:
        read_plan(str(path))
    except BadPlan as error:
        raise CommandError(str(error)) from None


def _write(path: Path, text: str, setting: str) -> None:
    """A file, where there is none; else what would stand in it is shown."""
    if path.exists() and path.read_text(encoding="utf-8") != text:
        say(f"{path} is there already, and stays as it is; this entry would be:\n{text}")
        return
    path.write_text(text, encoding="utf-8")
    say(f"{setting}={path}")


__all__ = ["begin", "recipe_text"]
