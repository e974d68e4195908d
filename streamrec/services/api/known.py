"""What the store holds of a user, decoded."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from streamrec.connectors.log import SchemaRegistry
from streamrec.schemas.json_codec import JsonDecoder, UnreadableError
from streamrec.schemas.registry import RegistryUnavailableError, SchemaError
from streamrec.services.api.quick_answers import QuickAnswers
from streamrec.services.http.problems import Problem
from streamrec.services.store.contract import StoreAwayError, StoreError, ValueStore
from streamrec.services.store.users import USERS, record_of, user_key

_logger = logging.getLogger(__name__)

_TELL_S = 30.0
_AWAY_S = 1.0  # after a failure, for so long nobody tries; then one does
_ANSWER_S = 1.0  # so long a request waits for a store that is not local
_UNREADABLE = "the store cannot be read now"  # where it is, no stranger is told
_READERS = 16  # threads that ask it


class KnownUsers:
    """Reads the store for requests: what it cannot do now is a Problem."""

    def __init__(self, store: ValueStore, registry: SchemaRegistry, is_local: bool = True) -> None:
        """A store that is not local is asked in threads: nobody else waits for its answer."""
        self._store = store
        self._is_local = is_local
        self._try_at_s: float | None = None  # when it may be asked again; None: it answers
        self._readers = ThreadPoolExecutor(_READERS, "store-read")
        self._looked: Future[str | None] | None = None
        self._looks = ThreadPoolExecutor(1, "store-look")
        self._decode = JsonDecoder(_schema_of(registry)).decode
        self._quick = QuickAnswers(registry)
        self._told_s = -_TELL_S

    async def value(self, user_id: str) -> bytes | None:
        """What is kept of a user; None: nothing. Raises Problem (503): at once while a store has
        just been found away."""
        key = user_key(user_id.encode("utf-8", "replace"))
        try:
            if self._is_local:
                return self._store.get(USERS, (key,))[0]
            return await self._asked(key)
        except StoreError as error:
            self._tell(error)
        raise Problem(503, _UNREADABLE, retry_after_s=1)

    async def _asked(self, key: bytes) -> bytes | None:
        """What a store that is not local says. Raises StoreError."""
        now_s = time.monotonic()
        if self._try_at_s is not None:
            if now_s < self._try_at_s:
                raise StoreAwayError("the store has not answered a moment ago")
            self._try_at_s = now_s + _AWAY_S  # for others, while this one tries
        asking = asyncio.get_running_loop().run_in_executor(
            self._readers, self._store.get, USERS, (key,)
        )
        try:
            (found,) = await asyncio.wait_for(asking, _ANSWER_S)
        except (StoreError, TimeoutError) as error:
            self._try_at_s = time.monotonic() + _AWAY_S
            if isinstance(error, StoreError):
                raise
            raise StoreAwayError(f"the store has not answered in {_ANSWER_S:g} s") from error
        self._try_at_s = None
        return found

    def record(self, value: bytes) -> dict[str, Any]:
        """The recommendation in a value, field by field. Raises Problem (500, 503)."""
        try:
            record: dict[str, Any] = self._decode(record_of(value))
        except RegistryUnavailableError as error:
            raise Problem(503, "the registry is away", retry_after_s=1) from error
        except (UnreadableError, SchemaError) as error:
            raise Problem(500, "the store holds a record that cannot be read") from error
        return record

    def quick_answer(self, user_id: str, value: bytes, n: int, now_ms: int) -> bytes | None:
        """The first `n` items of a recommendation as JSON; None: the general way must make it.
        Raises Problem (503)."""
        try:
            return self._quick.answer(user_id, record_of(value), n, now_ms)
        except RegistryUnavailableError as error:
            raise Problem(503, "the registry is away", retry_after_s=1) from error
        except SchemaError:
            return None  # which the general way tells

    def _tell(self, error: StoreError) -> None:
        """Where it is and what it says is for who runs the service, not for who asks it."""
        now_s = time.monotonic()
        if now_s - self._told_s >= _TELL_S:
            self._told_s = now_s
            _logger.warning("%s", error)

    def complaint(self) -> str | None:
        """Why the store cannot be read now, or could not when it was looked at last; None: it
        can. Waits for nobody."""
        if self._is_local:
            return self._look()
        said: str | None = "the store has not answered yet"
        if self._looked is not None and self._looked.done():
            said = self._looked.result()
        if self._looked is None or self._looked.done():
            self._looked = self._looks.submit(self._look)
        return said

    def close(self) -> None:
        self._looks.shutdown()
        self._readers.shutdown(cancel_futures=True)

    def _look(self) -> str | None:
        try:
            self._store.get(USERS, (b"",))
        except StoreError as error:
            self._tell(error)
            return f"{_UNREADABLE}; this service's log says why"
        return None


def _schema_of(registry: SchemaRegistry) -> Callable[[int | str], str]:
    def schema_of(key: int | str) -> str:
        return registry.by_guid(key) if isinstance(key, str) else registry.by_id(key)

    return schema_of


__all__ = ["KnownUsers"]
