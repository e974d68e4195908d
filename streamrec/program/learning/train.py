"""`train`: the ranker's artifact anew."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from streamrec.program.file_options import FileOptions, with_file_options


@with_file_options
def train(
    options: FileOptions,
    files: Annotated[
        list[Path] | None, typer.Argument(help="Click logs, read as `import` reads them.")
    ] = None,
    shop: Annotated[
        int | None, typer.Option(min=10_000, help="Train on so many clicks of the simulated shop.")
    ] = None,
    topic: Annotated[
        bool, typer.Option("--topic", help="Train on what the topic of clicks holds.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder of the artifact.", file_okay=False)] = Path(
        "data/model"
    ),
    ranker: Annotated[
        Literal["lightgbm", "sklearn", "river"], typer.Option(help="What is trained.")
    ] = "lightgbm",
    budget: Annotated[float, typer.Option(help="Minutes that training may take, about.")] = 5.0,
    seed: Annotated[int, typer.Option(help="Of the shop and of the training.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="For growing trees.")] = 2,
) -> None:
    """Train the ranker on a click log, the simulated shop, or the topic of clicks.

    Clicks pass through the main job's own steps, so that the ranker is trained on the numbers that
    it will be given. What is tuned is tuned on the newest part of the log. The artifact is used
    when STREAMREC_MODEL_PATH names its folder.
    """
    # Here and not above: the other commands need not wait for the kernels.
    from streamrec.program.learning.train_run import Source, train_model

    train_model(Source(files or [], options, shop, topic), out, ranker, budget, seed, threads)
