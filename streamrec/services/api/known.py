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
from streamrec.services.store.contract import StoreError, ValueStore
from streamrec.services.store.users import USERS, record_of, user_key

_logger = logging.getLogger(__name__)

_TELL_S = 30.0
_AWAY_S = 1.0  # after a failure, for so long nobody tries


class KnownUsers:
    """Reads the store for requests: what it cannot do now is a Problem."""

    def __init__(self, store: ValueStore, registry: SchemaRegistry, is_local: bool = True) -> None:
        """A store that is not local is asked in threads: nobody else waits for its answer."""
        self._store = store
        self._is_local = is_local
        self._away_until_s = 0.0
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
            if time.monotonic() >= self._away_until_s:
                return (await asyncio.to_thread(self._store.get, USERS, (key,)))[0]
        except StoreError as error:
            self._away_until_s = time.monotonic() + _AWAY_S
            self._tell(error)
        raise Problem(503, "the store cannot be read now", retry_after_s=1)

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

    def _look(self) -> str | None:
        try:
            self._store.get(USERS, (b"",))
        except StoreError as error:
            return str(error)
        return None


def _schema_of(registry: SchemaRegistry) -> Callable[[int | str], str]:
    def schema_of(key: int | str) -> str:
        return registry.by_guid(key) if isinstance(key, str) else registry.by_id(key)

    return schema_of


__all__ = ["KnownUsers"]
