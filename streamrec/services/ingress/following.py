"""Waits for records that answer requests: one thread follows the topics on which they come.

A topic is followed from its end, as it is when the first request asks, and no more once nobody has
waited for a while. An answer is found by its key and its header `streamrec-request-id`, an error by
those of the original that it holds.
"""

import asyncio
import logging
import threading
import time
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple

from streamrec.connectors.log import (
    Headers,
    Log,
    LogReader,
    RawBatch,
    RegistryUnavailableError,
    SchemaError,
    schema_named,
)
from streamrec.dataflows.serving.request_ids import REQUEST_ID
from streamrec.schemas.header_ids import key_in
from streamrec.schemas.json_codec import JsonDecoder, UnreadableError, decode_json
from streamrec.services.http.problems import Problem

_logger = logging.getLogger(__name__)

_POLL_S = 0.02
_POLL_MESSAGES = 1_000
_IDLE_S = 30.0  # so long topics are followed though nobody waits
_WAITING = 2_000  # requests at once
_AGAIN_S = 0.5

# Key of the record and request id: what a client calls its requests says nothing of another's.
RequestKey = tuple[bytes | None, bytes]
_Answered = tuple[str, bytes | None, bytes]  # topic, and these


class PipelineAnswer(NamedTuple):
    """What came for a request."""

    value: Any
    is_error: bool


class Wish(NamedTuple):
    """A request that waits for its answer: `followed` is told when its topics are."""

    own: RequestKey
    topics: tuple[tuple[str, bool], ...]  # with whether errors stand there
    followed: "asyncio.Future[None]"
    answered: "asyncio.Future[PipelineAnswer]"

    @property
    def places(self) -> list[_Answered]:
        """What the record that answers it is known by, on either topic."""
        return [(topic, *self.own) for topic, _ in self.topics]


class Following:
    """Owned by one event loop."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._wake = threading.Condition()
        self._new: list[Wish] = []
        self._waiting: dict[_Answered, Wish] = {}  # each under both of its topics
        self._closing = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def expect(self, own: RequestKey, outputs: str, errors: str) -> "Wish":
        """What will be answered to a request that is not written yet; `forget` it afterwards.
        Raises Problem (409, 503)."""
        if len(self._waiting) >= 2 * _WAITING:
            raise Problem(503, f"{_WAITING} requests wait already", retry_after_s=1)
        loop = self._loop = asyncio.get_running_loop()
        wish = Wish(
            own,
            ((outputs, False), (errors, True)),
            loop.create_future(),
            loop.create_future(),
        )
        with self._wake:
            if wish.places[0] in self._waiting:
                raise Problem(409, "another request waits for the output of the same input")
            self._new.append(wish)
            self._waiting |= dict.fromkeys(wish.places, wish)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="ingress-answers", daemon=True
                )
                self._thread.start()
            self._wake.notify()
        try:
            await wish.followed
        except BaseException:  # of who stopped to wait, too
            self.forget(wish)
            raise
        return wish

    def forget(self, wish: "Wish") -> None:
        """Nobody waits for it any more."""
        with self._wake:
            self._forget(wish)

    def _forget(self, wish: "Wish") -> None:
        for place in wish.places:
            if self._waiting.get(place) is wish:
                del self._waiting[place]

    def stop(self) -> None:
        """To be called outside the loop's thread."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(10.0)

    def _run(self) -> None:
        while not self._closing:
            try:
                with closing(self._log.registry()) as registry:
                    _Round(self, JsonDecoder(partial(schema_named, registry))).run()
            except Exception as error:  # noqa: BLE001  # the thread must live on, and who waits be told
                _logger.warning("answers cannot be followed: %s", error)
                self._give_up_all()
                with self._wake:
                    self._wake.wait_for(lambda: self._closing, _AGAIN_S)

    def _give_up_all(self) -> None:
        problem = Problem(503, "answers cannot be followed now", retry_after_s=1)
        with self._wake:
            wishes = set(self._waiting.values())
            self._waiting.clear()
            self._new.clear()
        for wish in wishes:
            self._tell(wish.followed, problem)
            self._tell(wish.answered, problem)

    def _tell(self, future: "asyncio.Future[Any]", result: Any) -> None:
        assert self._loop is not None

        def settle() -> None:
            if future.done():
                return
            if isinstance(result, Exception):
                future.set_exception(result)
                future.exception()  # somebody may have stopped to wait for it
            else:
                future.set_result(result)

        try:
            self._loop.call_soon_threadsafe(settle)
        except RuntimeError:  # the loop has gone
            _logger.debug("nobody waits any more")

    # What the thread asks for.

    def new_wishes(self, has_nothing: bool) -> list[Wish] | None:
        """Those that came; waits for some where nothing is followed. None: this was stopped."""
        with self._wake:
            while has_nothing and not self._new and not self._closing:
                self._wake.wait()
            found, self._new = self._new, []
            return None if self._closing else found

    def followed(self, wish: Wish) -> None:
        self._tell(wish.followed, None)

    def taken(self, topic: str, own: RequestKey) -> Wish | None:
        """Whoever waits for what stands on a topic, who then does no more."""
        with self._wake:
            wish = self._waiting.get((topic, *own))
            if wish is not None:
                self._forget(wish)
            return wish

    def answer(self, wish: Wish, answer: "PipelineAnswer | Problem") -> None:
        self._tell(wish.answered, answer)

    @property
    def somebody_waits(self) -> bool:
        return bool(self._waiting)


class _Round:
    """From the first who waits until nobody has for a while."""

    def __init__(self, following: Following, decoder: JsonDecoder) -> None:
        self._following = following
        self._decoder = decoder
        self._topics: dict[str, bool] = {}  # that are followed: whether errors stand there

    def run(self) -> None:
        """Raises LogError."""
        log = self._following._log
        first = self._following.new_wishes(has_nothing=True)
        if first is None:
            return
        with closing(log.reader()) as reader:
            wishes: list[Wish] | None = first
            waited_at_s = time.monotonic()
            while wishes is not None:
                for wish in wishes:
                    self._follow(log, reader, wish)
                for batch in reader.poll(_POLL_MESSAGES, _POLL_S):
                    self._look(batch)
                if self._following.somebody_waits:
                    waited_at_s = time.monotonic()
                elif time.monotonic() - waited_at_s > _IDLE_S:
                    return
                wishes = self._following.new_wishes(has_nothing=False)

    def _follow(self, log: Log, reader: LogReader, wish: Wish) -> None:
        for topic, has_errors in wish.topics:
            if topic not in self._topics:
                with closing(log.admin()) as admin:
                    reader.assign(topic, admin.ends(topic))
                self._topics[topic] = has_errors
        self._following.followed(wish)

    def _look(self, batch: RawBatch) -> None:
        if not self._following.somebody_waits:
            return
        has_errors = self._topics[batch.topic]
        for index, value in enumerate(batch.values):
            detail = batch.detail(index)
            headers = detail.headers
            if has_errors:
                self._look_at_error(batch.topic, detail.key, value, headers)
                continue
            wish = self._wish_of(batch.topic, detail.key, headers)
            if wish is not None:
                self._following.answer(wish, self._answer(value, headers))

    def _look_at_error(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers
    ) -> None:
        try:
            fields = self._decoder.decode(value or b"", headers)
            original = [(each["name"], each["value"]) for each in fields["headers"]]
        except (UnreadableError, SchemaError, RegistryUnavailableError, KeyError, TypeError):
            return  # by whom it was asked cannot be said
        wish = self._wish_of(topic, key, original)
        if wish is not None:
            told = {name: fields.get(name) for name in ("reason", "message", "stage")}
            self._following.answer(wish, PipelineAnswer(told, True))

    def _wish_of(self, topic: str, key: bytes | None, headers: Headers) -> Wish | None:
        for name, content in headers:
            if name == REQUEST_ID and content is not None:
                return self._following.taken(topic, (key, content))
        return None

    def _answer(self, value: bytes | None, headers: Headers) -> "PipelineAnswer | Problem":
        try:
            if value is None:
                return PipelineAnswer(None, False)
            if value[:1] == b"\0" or key_in(headers) is not None:
                return PipelineAnswer(self._decoder.decode(value, headers), False)
            return PipelineAnswer(decode_json(value, headers), False)
        except (UnreadableError, SchemaError, RegistryUnavailableError):
            return Problem(500, "the output could not be read as JSON or Avro")


__all__ = ["Following", "PipelineAnswer"]
