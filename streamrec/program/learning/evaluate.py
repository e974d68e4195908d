"""`evaluate`: models against each other on held-out clicks."""

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    train_files: Annotated[list[Path], typer.Option("--train", exists=True, dir_okay=False)],
    test_files: Annotated[list[Path], typer.Option("--test", exists=True, dir_okay=False)],
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
    session: Annotated[
        str | None, typer.Option("--session", "--session-column", help="Column of the session.")
    ] = None,
    user: Annotated[
        str | None, typer.Option(help="Column of the user, for logs without sessions.")
    ] = None,
    item: Annotated[
        str | None, typer.Option("--item", "--item-column", help="Column of the item.")
    ] = None,
    at: Annotated[
        str | None, typer.Option("--time", "--time-column", help="Column of the event time.")
    ] = None,
) -> None:
    """Train on some files, judge on others; print the table of accuracy and cost.

    Two formats, found by content. A session log, read as `import` reads it: each click after a
    session's first is judged from those before it. JSON lines: an array of item ids a session to
    train on, and {"prefix": [ids], "target": id} to be judged by. Nothing is ever fitted to a test
    file.
    """
    # Here and not above: the other commands need not wait for the kernels.
    from streamrec.connectors.click_files.names import Names
    from streamrec.program.learning.evaluate_run import Evaluation, evaluate_models

    names = Names(user=user, item=item, time=at, session=session)
    evaluate_models(
        Evaluation(
            train_files,
            test_files,
            models,
            names,
            budget,
            seed,
            threads,
            prequential,
            limit,
        ),
        out,
    )
