"""The description that goes beside what was trained: the recipe's inputs and output."""

from collections.abc import Mapping, Sequence

from streamrec.models.learning.recipe import Recipe
from streamrec.models.learning.toml_text import toml_of
from streamrec.models.serving.trained.description import Description, parsed


def description_of(
    recipe: Recipe,
    file: str,
    *,
    known: Mapping[str, Sequence[str]] | None = None,
    threshold: float | None = None,
    trust: Sequence[str] = (),
) -> str:
    """TOML. `known` are categories by input, of models that take codes."""
    inputs = []
    for field in recipe.inputs:
        said = field.model_dump(exclude_defaults=True)
        if known is not None and field.is_text:
            # What was found in examples may be refused no record: the next version knows others.
            unseen = field.unseen if field.categories else "pass"
            said |= {"type": "category", "categories": list(known[field.name]), "unseen": unseen}
        inputs.append(said)
    output = recipe.output.model_dump(exclude_defaults=True)
    if threshold is not None:
        output["threshold"] = threshold
    return toml_of(
        {
            "name": recipe.name,
            "display_name": recipe.display_name or None,
            "description": recipe.description or None,
            "version": recipe.version,
            "file": file,
            "trust": list(trust) or None,
            "inputs": inputs,
            "output": output,
        }
    )


def described(text: str, file: str) -> Description:
    """The same, checked as it will be when it is served. Raises BadModel."""
    from pathlib import Path

    return parsed(text, Path(file).with_suffix(".toml"))


__all__ = ["described", "description_of"]
