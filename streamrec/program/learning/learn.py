"""`learn`: from a file of examples to a model that is served and goes on learning."""

from pathlib import Path
from typing import Annotated

import typer

learn = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Models of one's own that learn (docs/learning.md).",
)


@learn.callback()
def _learn() -> None:
    """Keeps `init` a command of its own."""


@learn.command()
def init(
    file: Annotated[Path, typer.Argument(help="CSV, a line for each example, oldest first.")],
    config: Annotated[
        Path, typer.Option("--config", help="The mapping (TOML): which columns, types, label.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for what is made.  [default: that of the mapping]"),
    ] = None,
    trials: Annotated[
        int, typer.Option(min=0, help="Parameters tried by Optuna; 0: those of the mapping.")
    ] = 0,
    budget_s: Annotated[float, typer.Option(help="Most seconds for the search.")] = 60.0,
    publish: Annotated[
        bool, typer.Option("--publish", help="Publish the model on the topic models, too.")
    ] = False,
) -> None:
    """Make a recipe, a first model, and entries of the list of models and the learning file.

    The model is judged by the last part of the file. Four things are written: NAME.learn.toml, the
    folder NAME with the model, and, where there are none yet, NAME.models.toml and
    NAME.learning.toml, for STREAMREC_MODELS and STREAMREC_LEARNING.
    """
    # Here and not above: the other commands need not wait for scikit-learn.
    from streamrec.program.learning.learn_run import begin

    begin(file, config, out or config.parent, trials, budget_s, publish)


__all__ = ["learn"]
