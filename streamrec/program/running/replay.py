"""`replay`: a dataflow once more over the clicks that the log holds."""

import os
import sys
from enum import StrEnum
from typing import Annotated

import typer

from streamrec.connectors.backend import open_log, require_log
from streamrec.connectors.starts import parse_start
from streamrec.dataflows.job.settings import Settings, SettingsError, load_settings
from streamrec.dataflows.job.topics import Topic, make_all
from streamrec.program.shared import UsageError, hand_on_debug, say


class SavedState(StrEnum):
    """What becomes of the state in a recovery directory."""

    REFUSE = "refuse"
    RESET = "reset"
    FORK = "fork"


def _into(topic: Topic, settings: Settings, suffix: str) -> str:
    if not topic.named_by_setting:
        if not topic.name.endswith(f"-{suffix}"):
            raise UsageError(
                f"--into expected topics that settings can call otherwise, got {topic.name!r}, "
                "which is called so in the dataflow"
            )
        return topic.name
    if topic.beside is None:
        return f"{settings.topic(topic)}-{suffix}"
    return _into(topic.beside, settings, suffix) + topic.name.removeprefix(topic.beside.name)


def _warn(topics: list[str], yes: bool) -> None:
    """What is written twice cannot be taken back: whoever is there is asked first."""
    say(
        f"warning: what this replay writes goes to {', '.join(topics)}, beside what stands there "
        "already of the same clicks; --into SUFFIX writes to topics of its own"
    )
    if not yes and sys.stdin.isatty() and sys.stderr.isatty():
        typer.confirm("write to the same topics once more?", abort=True, err=True)


def replay(
    context: typer.Context,
    start: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="START",
            help="earliest, latest, a time (Unix ms or ISO 8601), PARTITION:OFFSET,... or "
            "TOPIC:PARTITION:OFFSET,...",
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
    flow: Annotated[str, typer.Option(help="Module of the dataflow.")] = (
        "streamrec.dataflows.recommender"
    ),
    yes: Annotated[
        bool,
        typer.Option("--yes", "-y", help="Do not ask before the same topics are written again."),
    ] = False,
) -> None:
    """Run the dataflow again from some place in the topic of clicks.

    The same range gives the same features. Without --into its answers go to the same topics once
    more: that is said, and asked first where there is a terminal. What comes after the options
    goes to the engine: `replay --from earliest --into v2 --state fork -r state -s 10 -b 0`.
    """
    # Here and not above: the other commands need not wait for the engine.
    from streamrec.dataflows.job.module_names import FlowError, module_name
    from streamrec.dataflows.job.modules import topics_of

    hand_on_debug(context)
    outputs: dict[Topic, str] = {}
    given: dict[str, object] = {"start_from": start, "replay": state.value, "follow": follow}
    try:
        parse_start(start)
        module = module_name(flow)
        if into is not None:
            given["into"] = into
        # Topics of a list of models are called so when the dataflow is wired.
        written = topics_of(flow, into=into)[1]
        if into is not None:
            settings = load_settings()
            given["consumer_group"] = f"{settings.consumer_group}-{into}"
            outputs = {topic: _into(topic, settings, into) for topic in written}
            # What is named beside another goes with it.
            given |= {topic.setting: name for topic, name in outputs.items() if topic.setting}
        settings = load_settings(**given)
    except ValueError as error:
        raise UsageError(f"--from: {error}") from None
    except FlowError as error:
        raise UsageError(f"--flow: {error}") from None
    except SettingsError as error:
        raise UsageError(f"settings: {error}") from None
    require_log(settings)
    if outputs:
        made = make_all(open_log(settings), {name: topic for topic, name in outputs.items()})
        for name in made.created:
            say(f"topic {name}: made")
    elif start != "latest":  # with which nothing is read again
        _warn([settings.topic(topic) for topic in written], yes)
    ours = {f"STREAMREC_{name.upper()}": str(value) for name, value in given.items()}
    command = [sys.executable, "-m", "bytewax.run", module, *context.args]
    sys.stdout.flush()
    os.execve(sys.executable, command, {**os.environ, **ours})
