"""`model`: what somebody's own model gets wrong, what it says of itself, and what a name means."""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from streamrec.program.shared import CommandError, UsageError

if TYPE_CHECKING:
    from streamrec.models.serving.contract import Metadata

model = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Look at a model of one's own before it is served.",
)

_Name = Annotated[
    str,
    typer.Argument(
        help="module:Thing, module:Thing.method, module:function, a trained file or its "
        "description, streamrec:propensity or streamrec:recommender; `check` also takes a "
        "recommender of the main job: module:Class, artifact, river or none."
    ),
]


class _Found(Protocol):
    """A check as both batteries tell it."""

    @property
    def name(self) -> str: ...
    @property
    def complaint(self) -> str | None: ...


@model.command()
def check(name: _Name) -> None:
    """Check a model against its contract, a line for each check. Connects to nothing.

    A class that has `recommend` is checked as a recommender of the main job, any other as a model
    that is served on topics.

    Exit status 0: it can be served; 1: a check failed; 2: it cannot be made.
    """
    # Here and not above: the other commands need not wait for the kernels.
    from streamrec.dataflows.job.settings import SettingsError
    from streamrec.models.loading import BadArtifact, BadModel

    try:
        with _told_aside():
            checks = _recommender_checks(name) if _is_recommender(name) else _served_checks(name)
            failed = _told(checks)
    except (BadArtifact, BadModel) as error:
        raise UsageError(str(error)) from None
    except SettingsError as error:
        raise UsageError(f"settings: {error}") from None
    if failed:
        raise CommandError(f"model {name!r}: {failed} checks failed")


@model.command()
def describe(name: _Name) -> None:
    """Tell what a model is, what it takes and what it answers, for people."""
    from streamrec.program.learning.model_page import page_of

    for place, metadata in enumerate(_loaded(name)):
        typer.echo(("\n" if place else "") + page_of(metadata))


@model.command()
def metadata(name: _Name) -> None:
    """Print what a model says of itself as one JSON document, inputs and outputs as JSON Schema."""
    from streamrec.program.learning.model_page import document_of

    first, *others = _loaded(name)
    document = document_of(first)
    if others:
        document["methods"] = [each.method for each in (first, *others)]
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _loaded(name: str) -> "list[Metadata]":
    """What a name says of itself; of a class with several predict methods, of each."""
    from streamrec.models.loading import BadModel
    from streamrec.models.serving.loading import load_predictor, predictors_named

    try:
        with _told_aside():
            return [load_predictor(each).metadata for each in predictors_named(name)]
    except BadModel as error:
        raise UsageError(str(error)) from None


def _is_recommender(name: str) -> bool:
    """Whether a name means a recommender of the main job. Raises BadModel."""
    from streamrec.models.kinds import KINDS
    from streamrec.models.serving.classes import methods_of
    from streamrec.models.serving.finding import thing_named
    from streamrec.models.serving.loading import OURS, file_path

    if name in KINDS or ":" not in name:
        path = None if name in KINDS else file_path(name, None)
        return path is None or path.is_dir()
    if name.startswith(f"{OURS}:") or file_path(name, None):
        return False
    thing, method = thing_named(name)
    if method is not None or methods_of(thing):
        return False
    return isinstance(thing, type) and (hasattr(thing, "recommend") or hasattr(thing, "learn"))


def _recommender_checks(name: str) -> Iterable[_Found]:
    from streamrec.dataflows.job.settings import load_settings
    from streamrec.models.checks import Check, checks_of
    from streamrec.models.loading import load_model
    from streamrec.models.users.features import declared

    known = declared(load_settings().windows).names
    reads = load_model(name).for_shard().info.user_features
    unknown = [feature for feature in reads if feature not in known]
    complaint = f"expected some of {', '.join(known)}, got {', '.join(unknown)}"
    yield Check("user features are declared", complaint if unknown else None)
    yield from checks_of(lambda: load_model(name).for_shard())


def _served_checks(name: str) -> Iterable[_Found]:
    from streamrec.models.serving.checks import predictor_checks
    from streamrec.models.serving.loading import load_predictor, predictors_named

    names = predictors_named(name)
    for each in names:
        if len(names) > 1:
            _line(f"{each}")
        load_predictor(each)  # what is no model at all is the command's own fault
        yield from predictor_checks(lambda each=each: load_predictor(each))  # type: ignore[misc]


def _told(checks: Iterable[_Found]) -> int:
    """Tell each check; returns how many failed."""
    failed = 0
    known: set[str] = set()
    for found in checks:
        _line(f"{'ok    ' if found.complaint is None else 'BROKEN'}  {found.name}")
        if note := getattr(found, "note", ""):
            _line(f"        {note}")
        if found.complaint is not None:
            failed += 1
            _line(f"        {found.complaint if found.complaint not in known else 'the same'}")
            known.add(found.complaint)
    return failed


_OUT: list[Any] = []


def _line(text: str) -> None:
    """On the command's own output, whatever becomes of the user's meanwhile."""
    typer.echo(text, file=_OUT[-1] if _OUT else None)


@contextmanager
def _told_aside() -> Iterator[None]:
    """What user code prints goes to stderr: stdout is the command's."""
    _OUT.append(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _OUT.pop()
