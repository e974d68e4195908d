"""`errors`: what failed, why, and back to the source topic with it."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Annotated

import typer

from streamrec.connectors.log import Log
from streamrec.dataflows.errors.redrive import (
    ErrorRecord,
    Ledger,
    Origin,
    Redriver,
    read_errors,
    redrives_topic,
)
from streamrec.dataflows.job.topics import ERRORS
from streamrec.program.shared import CommandError, UsageError, opened, say
from streamrec.program.times import FORMS, parse_time_ms, show_time_ms
from streamrec.schemas.json_codec import UnreadableError, to_json
from streamrec.schemas.reasons import Reason

errors = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="List, show and redrive records that failed. An error is named by where its original "
    "stands: TOPIC/PARTITION/OFFSET.",
)

Reasons = Annotated[
    list[str] | None,
    typer.Option("--reason", "-r", help="Only this reason (repeatable), such as invalid_value."),
]
Topic = Annotated[str | None, typer.Option(help="Only originals of this topic.")]
Partition = Annotated[int | None, typer.Option(help="Only originals of this partition.")]
Offsets = Annotated[
    str | None, typer.Option(help="Only originals at this offset, or FROM-TO, both included.")
]
Since = Annotated[str | None, typer.Option(help="Only failed at or after: " + FORMS + ".")]
Held = Annotated[
    str | None,
    typer.Option(
        "--errors-topic",
        help="The topic that holds the errors, as one model's does.  [default: the one of the "
        "settings]",
        show_default=False,
    ),
]
Until = Annotated[str | None, typer.Option(help="Only failed before: a time as for --since.")]


@dataclass(frozen=True, slots=True)
class _Filter:
    """Which errors are meant."""

    reasons: frozenset[str]
    topic: str | None
    partition: int | None
    offsets: range | None
    since_ms: int | None
    until_ms: int | None

    def admits(self, failed: ErrorRecord) -> bool:
        failed_at = failed.fields["failed_at"]
        return (
            (not self.reasons or failed.fields["reason"] in self.reasons)
            and self.topic in (None, failed.origin.topic)
            and self.partition in (None, failed.origin.partition)
            and (self.offsets is None or failed.origin.offset in self.offsets)
            and (self.since_ms is None or failed_at >= self.since_ms)
            and (self.until_ms is None or failed_at < self.until_ms)
        )

    def admits_all(self) -> bool:
        return self == _EVERYTHING


_EVERYTHING = _Filter(frozenset(), None, None, None, None, None)


def _filter(
    reasons: list[str] | None,
    topic: str | None,
    partition: int | None,
    offsets: str | None,
    since: str | None,
    until: str | None,
) -> _Filter:
    for name in sorted(set(reasons or ()) - set(Reason)):
        say(f"note: no reason {name!r} is known; there are {', '.join(Reason)}")
    return _Filter(
        frozenset(reasons or ()),
        topic,
        partition,
        _parse_offsets(offsets),
        _parse_time("--since", since),
        _parse_time("--until", until),
    )


def _parse_offsets(text: str | None) -> range | None:
    if text is None:
        return None
    first, dash, last = text.partition("-")
    if not (first.isdecimal() and (last.isdecimal() or not dash)):
        raise UsageError(f"--offsets expected OFFSET or FROM-TO, got {text!r}")
    return range(int(first), int(last or first) + 1)


def _parse_time(option: str, text: str | None) -> int | None:
    try:
        return None if text is None else parse_time_ms(text)
    except ValueError as error:
        raise UsageError(f"{option} {error}") from None


@errors.command("list")
def list_errors(
    reason: Reasons = None,
    topic: Topic = None,
    partition: Partition = None,
    offsets: Offsets = None,
    since: Since = None,
    until: Until = None,
    count: Annotated[
        bool, typer.Option("--count", help="Print how many there are by reason instead.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each error whole, a JSON object a line.")
    ] = False,
    errors_topic: Held = None,
) -> None:
    """Print errors, one a line: name, reason, step, time, whether it was redriven, message."""
    wanted = _filter(reason, topic, partition, offsets, since, until)
    with opened() as (log, settings):
        held = errors_topic or settings.topic(ERRORS)
        found = (failed for failed in _read(log, held) if wanted.admits(failed))
        if count:
            for name, number in Counter(f.fields["reason"] for f in found).most_common():
                typer.echo(f"{number}\t{name}")
            return
        done = _redriven(log, held)
        for failed in found:
            typer.echo(to_json(failed.fields) if as_json else _line(failed, failed.origin in done))


@errors.command()
def show(
    names: Annotated[list[str], typer.Argument(help="Errors, as TOPIC/PARTITION/OFFSET.")],
    errors_topic: Held = None,
) -> None:
    """Print everything that is known of errors, with the original's bytes."""
    origins = _parse_names(names)
    with opened() as (log, settings):
        held = errors_topic or settings.topic(ERRORS)
        found = _find(log, held, origins)
        done = _redriven(log, held)
        typer.echo("\n\n".join(_page(found[origin], origin in done) for origin in origins))


@errors.command()
def redrive(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Errors, as TOPIC/PARTITION/OFFSET.", show_default=False),
    ] = None,
    reason: Reasons = None,
    topic: Topic = None,
    partition: Partition = None,
    offsets: Offsets = None,
    since: Since = None,
    until: Until = None,
    everything: Annotated[bool, typer.Option("--all", help="All errors that there are.")] = False,
    again: Annotated[
        bool,
        typer.Option("--again", help="Also those that failed again after they were redriven."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be redriven.")
    ] = False,
    errors_topic: Held = None,
) -> None:
    """Put originals back on their source topic, with their key, bytes and headers.

    A header redriven_from names the error. Redriving the same error again does nothing, also after
    a kill and from several processes at once. What fails again is a new error: filters and --all
    leave it out unless --again, and redrive_attempts counts how often it was put back.
    """
    wanted = _filter(reason, topic, partition, offsets, since, until)
    if sum((bool(names), not wanted.admits_all(), everything)) != 1:
        raise UsageError("errors redrive expected either names, or filters, or --all")
    with opened() as (log, settings):
        held = errors_topic or settings.topic(ERRORS)
        if names:
            chosen = list(_find(log, held, _parse_names(names)).values())
        else:
            chosen = [failed for failed in _read(log, held) if wanted.admits(failed)]
            if not again:
                failed_again = sum(failed.attempts > 0 for failed in chosen)
                chosen = [failed for failed in chosen if not failed.attempts]
                if failed_again:
                    say(f"left out {failed_again} that failed again; --again redrives them")
        if dry_run:
            done = _redriven(log, held)
            for failed in chosen:
                if failed.origin not in done:
                    typer.echo(_line(failed, is_redriven=False))
            return
        outcome = Redriver(log, held).redrive(chosen)
    typer.echo(f"redriven {outcome.redriven}, were already {outcome.already}")


def _parse_names(names: list[str]) -> list[Origin]:
    try:
        return [Origin.parse(name) for name in names]
    except ValueError as error:
        raise UsageError(str(error)) from None


def _read(log: Log, held: str) -> Iterator[ErrorRecord]:
    """Every error of a topic of errors, which is called `held`."""
    try:
        yield from read_errors(log, held)
    except UnreadableError as error:
        raise CommandError(f"topic {held!r} holds what is no error: {error}") from error


def _find(log: Log, held: str, origins: list[Origin]) -> dict[Origin, ErrorRecord]:
    wanted = set(origins)
    found = {failed.origin: failed for failed in _read(log, held) if failed.origin in wanted}
    if missing := [str(origin) for origin in origins if origin not in found]:
        raise CommandError(
            f"expected errors that the log holds, got {', '.join(missing)}; "
            "`errors list` names those that it holds"
        )
    return found


def _redriven(log: Log, held: str) -> set[Origin]:
    ledger = Ledger(redrives_topic(held))
    with closing(log.admin()) as admin:
        if ledger.topic not in admin.topics():
            say(f"note: no topic {ledger.topic!r}, so none was redriven; see `topics create`")
            return set()
    ledger.read_on(log)
    return ledger.done


def _line(failed: ErrorRecord, is_redriven: bool) -> str:
    fields = failed.fields
    return "\t".join(
        (
            str(failed.origin),
            fields["reason"],
            fields["stage"],
            show_time_ms(fields["failed_at"]),
            _attempts(failed, is_redriven),
            fields["message"],
        )
    )


def _attempts(failed: ErrorRecord, is_redriven: bool) -> str:
    """Whether it was redriven, and how often its original was before."""
    before = f" after {failed.attempts}" if failed.attempts else ""
    return ("redriven" if is_redriven else "-") + before


def _page(failed: ErrorRecord, is_redriven: bool) -> str:
    fields = failed.fields
    lines = [
        str(failed.origin),
        f"  reason:    {fields['reason']}",
        f"  message:   {fields['message']}",
        f"  exception: {fields['exception']}",
        f"  step:      {fields['stage']}",
        f"  failed at: {show_time_ms(fields['failed_at'])}",
        f"  redriven:  {'yes' if is_redriven else 'no'}",
        f"  attempts:  {failed.attempts} before this",
    ]
    if fields["timestamp"] is not None:
        lines.append(f"  timestamp: {show_time_ms(fields['timestamp'])} (the original's)")
    lines.append(f"  key:       {fields['key']!r}")
    lines += [f"  header:    {name}: {value!r}" for name, value in failed.headers]
    if fields["value"] is None:
        lines.append("  value:     none (a tombstone)")
    else:
        lines.append(f"  value:     {len(fields['value'])} bytes")
        lines += [f"    {line}" for line in _hex_dump(fields["value"])]
    if fields["stacktrace"] is not None:
        lines += ["  stacktrace:", *(f"    {line}" for line in fields["stacktrace"].splitlines())]
    return "\n".join(lines)


def _hex_dump(value: bytes) -> Iterator[str]:
    for start in range(0, len(value), 16):
        row = value[start : start + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"{start:06x}  {row.hex(' '):<47}  {text}"
