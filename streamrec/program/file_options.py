"""The options of all commands that read click files: what a file does not say of itself."""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from streamrec.program.shared import CommandError, UsageError
from streamrec.program.times import FORMS, parse_time_ms

if TYPE_CHECKING:
    from streamrec.connectors.click_files.reading import ReadAs

_EVENT_TYPES = ("view", "cart", "favorite", "purchase", "other")


@dataclass(frozen=True, slots=True)
class FileOptions:
    """As they were typed."""

    user: Annotated[str | None, typer.Option(help="Column of the user.")] = None
    item: Annotated[
        str | None, typer.Option("--item", "--item-column", help="Column of the item.")
    ] = None
    at: Annotated[
        str | None, typer.Option("--time", "--time-column", help="Column of the event time.")
    ] = None
    event_type: Annotated[
        str | None, typer.Option("--type", help="Column of the event type; without one all view.")
    ] = None
    price: Annotated[str | None, typer.Option(help="Column of the price.")] = None
    category: Annotated[str | None, typer.Option(help="Column of the item's category.")] = None
    session: Annotated[
        str | None, typer.Option("--session", "--session-column", help="Column of the session.")
    ] = None
    time_unit: Annotated[
        Literal["s", "ms", "us", "ns"] | None,
        typer.Option(help="Unit of times that are numbers.  [default: by name, else by size]"),
    ] = None
    time_format: Annotated[
        str | None,
        typer.Option(help="How times are written: '%d/%m/%Y %H:%M', as strptime has it."),
    ] = None
    start: Annotated[
        str | None,
        typer.Option(
            help=f"For a log without times: when it begins, {FORMS}; a second from click to click."
        ),
    ] = None
    price_scale: Annotated[
        float | None,
        typer.Option(help="Factor to cents.  [default: 1 for a column ...cents, else 100]"),
    ] = None
    mapping: Annotated[
        str | None,
        typer.Option("--map", help="Event types: pv=view,fav=favorite,... beside common names."),
    ] = None
    nothing: Annotated[
        str | None,
        typer.Option(
            help="Texts that stand for no id, with commas; '' for none.  [default: NA,null,NaN,...]"
        ),
    ] = None
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Reject rows whose price, category or session cannot be read; else the click is "
            "kept without it.",
        ),
    ] = False
    form: Annotated[
        Literal["csv", "jsonl", "parquet"] | None,
        typer.Option(
            "--format", help="What the file is.  [default: by content, else by its ending]"
        ),
    ] = None
    delimiter: Annotated[
        str | None,
        typer.Option(help="What separates columns, '::' too.  [default: the likeliest]"),
    ] = None
    columns: Annotated[
        str | None, typer.Option(help="Names, with commas, for a CSV file without a header.")
    ] = None
    encoding: Annotated[
        str | None, typer.Option(help="Such as latin-1.  [default: UTF-8, or what a mark says]")
    ] = None

    def read_as(self) -> "ReadAs":
        """What they mean. Raises UsageError, and UnclearError within `file_errors`."""
        from streamrec.connectors.click_files.forms import FileForm
        from streamrec.connectors.click_files.ids import NOTHING
        from streamrec.connectors.click_files.meaning import Meaning
        from streamrec.connectors.click_files.names import Names
        from streamrec.connectors.click_files.reading import ReadAs
        from streamrec.connectors.click_files.times import TimeForm

        delimiter = {"\\t": "\t", "tab": "\t"}.get(self.delimiter or "", self.delimiter)
        nothing = NOTHING if self.nothing is None else self.nothing.split(",")
        return ReadAs(
            Names(
                self.user, self.item, self.at, self.event_type, self.price, self.category,
                self.session,
            ),
            FileForm(
                self.form,
                delimiter,
                [name.strip() for name in self.columns.split(",")] if self.columns else None,
                self.encoding,
            ),
            Meaning(
                TimeForm(self.time_unit, self.time_format),
                self.price_scale,
                parse_mapping(self.mapping),
                [word for word in nothing if word],
                None if self.start is None else _start_ms(self.start),
                self.strict,
            ),
        )  # fmt: skip


def _start_ms(text: str) -> int:
    try:
        return parse_time_ms(text)
    except ValueError as error:
        raise UsageError(f"--start {error}") from None


def parse_mapping(text: str | None) -> dict[str, str]:
    """Of `--map`. Raises UsageError."""
    pairs = {}
    for part in text.split(",") if text else ():
        theirs, _, ours = part.partition("=")
        if ours not in _EVENT_TYPES:
            raise UsageError(f"--map expected NAME={'|'.join(_EVENT_TYPES)},..., got {part!r}")
        pairs[theirs] = ours
    return pairs


def with_file_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command all of them, and the command its parameter `options` of them."""
    hints = get_type_hints(FileOptions, include_extras=True)
    ours = [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=each.default,
            annotation=hints[each.name],
        )
        for each in fields(FileOptions)
    ]
    signature = inspect.signature(command)
    theirs = [each for each in signature.parameters.values() if each.name != "options"]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        mine = {each.name: given.pop(each.name) for each in ours}
        command(**given, options=FileOptions(**mine))

    run.__signature__ = signature.replace(parameters=[*theirs, *ours])  # type: ignore[attr-defined]  # what typer looks at
    run.__annotations__ = {each.name: each.annotation for each in [*theirs, *ours]}
    return run


@contextmanager
def file_errors(command: str) -> Iterator[None]:
    """What is wrong with a file, or has to be said of it, as an error of the command."""
    from streamrec.connectors.click_files.rejecting import ClickFileError, UnclearError

    try:
        yield
    except UnclearError as error:
        raise UsageError(f"{command}: {error}") from error
    except ClickFileError as error:
        raise CommandError(f"{command}: {error}") from error
