"""Writes events once each, and says of each where it stands or why it does not."""

import asyncio
from collections.abc import Sequence

from streamrec.connectors.log import LogError, Place, TooLargeError, UnknownTopicError
from streamrec.services.http.problems import Problem
from streamrec.services.http.replies import Reply, json_bytes
from streamrec.services.ingress.event_ids import EventIds
from streamrec.services.ingress.events import Event
from streamrec.services.ingress.writer import Writer, Written

Result = bytes | Problem  # JSON of where it stands, or why it does not
_ALL_GOOD, _NOT_ALL = 200, 207
DUPLICATE = b',"duplicate":true}'  # ends what is said of an event that was written before


class EventWriter:
    """One list of events after the other, or several at once."""

    def __init__(self, writer: Writer, ids: EventIds, ack_timeout_s: float) -> None:
        self._writer = writer
        self._ids = ids
        self._ack_timeout_s = ack_timeout_s

    async def write_one(self, event: Event) -> bytes:
        """Where it stands, as JSON. Raises Problem."""
        if event.event_id is None:
            (written,) = await self._writer.append(((event.topic, event.message),))
            if isinstance(written, LogError):
                raise problem_of(written)
            return _said(event.topic, written)
        (result,) = await self._write_once([event])
        if isinstance(result, Problem):
            raise result
        return result

    async def write(self, events: Sequence[Event]) -> list[Result]:
        """The same of many, each by itself. Raises Problem (503) where the log takes none."""
        if all(event.event_id is None for event in events):
            written = await self._writer.append([(e.topic, e.message) for e in events])
            return [
                _said(event.topic, each) if isinstance(each, Place) else problem_of(each)
                for event, each in zip(events, written, strict=True)
            ]
        return await self._write_once(events)

    async def _write_once(self, events: Sequence[Event]) -> list[Result]:
        """Of events that have ids: those that were written, or are being written, are not again."""
        new: list[int] = []
        results: list[Result | None] = [None] * len(events)
        others: dict[int, asyncio.Future[Place | None]] = {}
        for index, event in enumerate(events):
            own = event.id
            if own is None:
                new.append(index)
                continue
            place = self._ids.place_of(own)
            if place is not None:
                results[index] = _said(event.topic, place, is_duplicate=True)
                continue
            other = self._ids.under_way(own)
            if other is not None:
                others[index] = other
                continue
            self._ids.begin(own)
            new.append(index)
        if new:
            await self._write_new([events[index] for index in new], new, results)
        if others:
            self._writer.check()  # nobody waits for a log that is away
            await asyncio.wait(others.values(), timeout=self._ack_timeout_s)
        for index, other in others.items():
            place = other.result() if other.done() else None
            results[index] = self._of_other(events[index], place)
        return [each for each in results if each is not None]

    async def _write_new(
        self, events: Sequence[Event], indexes: Sequence[int], results: list[Result | None]
    ) -> None:
        """Raises Problem, and then they may be sent again, unless it comes out later what has
        become of them."""
        handed_over = False

        def settled(written: Sequence[Written]) -> None:
            for event, each in zip(events, written, strict=True):
                if event.id is not None:
                    self._ids.end(event.id, each if isinstance(each, Place) else None)

        def began() -> None:
            nonlocal handed_over
            handed_over = True

        try:
            written = await self._writer.append(
                [(event.topic, event.message) for event in events], settled, began
            )
        finally:
            if not handed_over:
                for event in events:
                    if event.id is not None:
                        self._ids.end(event.id, None)
        for index, event, each in zip(indexes, events, written, strict=True):
            results[index] = (
                _said(event.topic, each) if isinstance(each, Place) else problem_of(each)
            )

    def _of_other(self, event: Event, place: Place | None) -> Result:
        if place is None:
            return Problem(
                503,
                "the same event was sent before, and is not acknowledged; send it again",
                retry_after_s=1,
            )
        return _said(event.topic, place, is_duplicate=True)


def list_reply(results: Sequence[Result], headers: Sequence[tuple[bytes, bytes]] = ()) -> Reply:
    """A result for each, in order; 207 where not all are good."""
    good = sum(isinstance(each, bytes) for each in results)
    parts = [each if isinstance(each, bytes) else json_bytes(each.as_object()) for each in results]
    body = b'{"written":%d,"results":[%s]}' % (good, b",".join(parts))
    return Reply(_ALL_GOOD if good == len(results) else _NOT_ALL, body, headers=headers)


def problem_of(error: LogError) -> Problem:
    """What a client is told: not where the log is."""
    if isinstance(error, TooLargeError):
        return Problem(413, "record expected to be as small as its topic takes, got a larger one")
    if isinstance(error, UnknownTopicError):
        return Problem(
            503, "the topic is not there: `streamrec topics create NAME`", retry_after_s=5
        )
    return Problem(
        503,
        "the log did not take it: it may be written, or not; send it again with the same event id",
        retry_after_s=1,
    )


_names: dict[str, bytes] = {}  # topics as JSON


def _said(topic: str, place: Place, is_duplicate: bool = False) -> bytes:
    name = _names.get(topic)
    if name is None:
        name = _names[topic] = json_bytes(topic)
    return b'{"topic":%s,"partition":%d,"offset":%d' % (name, *place) + (
        DUPLICATE if is_duplicate else b"}"
    )


__all__ = ["DUPLICATE", "EventWriter", "Result", "list_reply", "problem_of"]
