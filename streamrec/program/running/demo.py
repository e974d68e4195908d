"""`demo`: the whole system on simulated clicks, in under a minute."""

from pathlib import Path
from typing import Annotated

import typer

from streamrec.program.shared import UsageError


def demo(
    clicks: Annotated[int, typer.Option(min=1_000, help="Records to simulate.")] = 200_000,
    seed: Annotated[int, typer.Option(help="Same seed, same clicks.")] = 1,
    models: Annotated[
        str | None,
        typer.Option(
            help="Models to run one after the other over the same clicks, with commas between: "
            "artifact (the trained ranker), river (learns online), none (the untrained blend).  "
            "[default: STREAMREC_MODEL]",
        ),
    ] = None,
    path: Annotated[
        Path, typer.Option(help="File of the embedded log; made anew.", dir_okay=False)
    ] = Path("data/demo.sqlite"),
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on for ever at --rate, until Ctrl-C.")
    ] = False,
    rate: Annotated[int, typer.Option(min=1, help="With --follow: clicks a second.")] = 1_000,
    learning: Annotated[
        bool,
        typer.Option(
            "--learning",
            help="Three models while the tastes of a simulated shop shift: one that is frozen, one "
            "that is retrained, one that learns online. Takes some two minutes.",
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="With --learning: a file for the figures, as JSON; beside it goes a picture, PNG.",
        ),
    ] = None,
) -> None:
    """Run a simulated shop's clicks through the main job and judge what it recommends.

    The clicks go to a log in one file (or to Kafka, when KAFKA_BOOTSTRAP_SERVERS is set, on topics
    of their own), the main job answers them in a process of its own, and every click judges the
    recommendation that its user got before it. A few per cent of the records are broken on purpose:
    each must come out as an error, with its reason. The exit status is 1 if any does not.
    """
    if learning:
        from streamrec.program.running.demo_learning import run_learning_demo

        run_learning_demo(seed, out)
        return
    if out is not None:
        raise UsageError("--out expected --learning beside it")
    # Here and not above: the other commands need not wait for the kernels.
    from streamrec.program.running.demo_run import follow_shop, run_demo

    if follow:
        follow_shop(seed, models, path, rate)
    else:
        run_demo(clicks, seed, models, path)
