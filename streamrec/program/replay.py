"""`replay`: a dataflow once more over the clicks that the log holds."""

import os
import sys
from enum import StrEnum
from typing import Annotated

import typer

from streamrec.connectors.backend import open_log
from streamrec.connectors.source import parse_start
from streamrec.connectors.topics import ensure_topics
from streamrec.dataflows.job.settings import Settings, SettingsError, load_settings
from streamrec.dataflows.job.topics import topics_as_named
from streamrec.program.shared import UsageError, say

_OUTPUTS = ("recommendations_topic", "sessions_topic", "errors_topic", "scores_topic")

# For `typer`: what follows the options goes to the engine as it stands.
REPLAY_CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True}


class SavedState(StrEnum):
    """What becomes of the state in a recovery directory."""

    REFUSE = "refuse"
    RESET = "reset"
    FORK = "fork"


def replay(
    context: typer.Context,
    start: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="START",
            help="earliest, latest, a time (Unix ms or ISO 8601) or PARTITION:OFFSET,...",
        ),
    ],
    into: Annotated[
        str | None,
        typer.Option(
            metavar="SUFFIX",
            help="Write to topics of their own, recommendations-SUFFIX and so on, which are made "
            "if need be, under a group of their own.  [default: the same topics]",
            show_default=False,
        ),
    ] = None,
    state: Annotated[
        SavedState,
        typer.Option(
            help="Saved state that began elsewhere: refuse; reset: put it aside; fork: begin in a "
            "directory beside it."
        ),
    ] = SavedState.REFUSE,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on with new clicks; else stop at the end.")
    ] = False,
    flow: Annotated[str, typer.Option(help="Module of the dataflow.")] = "dataflows.recommender",
) -> None:
    """Run the dataflow again from some place in the topic of clicks.

    The same range gives the same features. What comes after the options goes to the engine:
    `replay --from earliest --into v2 --state fork -r state -s 10 -b 0`.
    """
    given: dict[str, object] = {"start_from": start, "replay": state.value, "follow": follow}
    try:
        parse_start(start)
        if into is not None:
            settings = load_settings()
            names = (*_OUTPUTS, "consumer_group")
            given |= {name: f"{getattr(settings, name)}-{into}" for name in names}
        settings = load_settings(**given)
    except ValueError as error:
        raise UsageError(f"--from: {error}") from None
    except SettingsError as error:
        raise UsageError(f"settings: {error}") from None
    if into is not None:
        _make_outputs(settings)
    ours = {f"STREAMREC_{name.upper()}": str(value) for name, value in given.items()}
    command = [sys.executable, "-m", "bytewax.run", flow, *context.args]
    sys.stdout.flush()
    os.execve(sys.executable, command, {**os.environ, **ours})


def _make_outputs(settings: Settings) -> None:
    log = open_log(settings)
    outputs = {getattr(settings, name) for name in _OUTPUTS}
    topics = {n: t for n, t in topics_as_named(settings).items() if n in outputs}
    report = ensure_topics(
        log, [t.spec for t in topics.values()], {n: t.schema() for n, t in topics.items()}
    )
    for name in report.created:
        say(f"topic {name}: made")
