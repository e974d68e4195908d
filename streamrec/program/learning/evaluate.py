"""`evaluate`: models against each other on held-out clicks."""

from pathlib import Path
from typing import Annotated

import typer

from streamrec.program.file_options import FileOptions, file_errors, with_file_options


@with_file_options
def evaluate(
    train_files: Annotated[list[Path], typer.Option("--train", help="What to train on.")],
    test_files: Annotated[list[Path], typer.Option("--test", help="What to be judged by.")],
    options: FileOptions,
    budget: Annotated[float, typer.Option(help="Minutes that training may take.")] = 10.0,
    models: Annotated[
        str | None,
        typer.Option(
            help="Names with commas between: lightgbm, sklearn, river, blend, and candidate "
            "methods such as knn.  [default: lightgbm, blend and all methods]",
            show_default=False,
        ),
    ] = None,
    prequential: Annotated[
        bool, typer.Option(help="Judge again, learning from each test click after it was judged.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Judge the first N only.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the table as JSON, too.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same table.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="For growing trees.")] = 2,
) -> None:
    """Train on some files, judge on others; print the table of accuracy and cost.

    Click logs are read as `import` reads them: each click after a session's first is judged from
    those before it. A line may also be a session, an array of item ids; and, to be judged by, a
    question, {"prefix": [ids], "target": id}. Nothing is ever fitted to a test file.
    """
    # Here and not above: the other commands need not wait for the kernels.
    from streamrec.program.learning.evaluate_run import Evaluation, evaluate_models

    with file_errors("evaluate"):
        read_as = options.read_as()
    evaluate_models(
        Evaluation(
            train_files,
            test_files,
            models,
            read_as,
            budget,
            seed,
            threads,
            prequential,
            limit,
        ),
        out,
    )
