"""What the store holds of a user, decoded."""

from collections.abc import Callable
from typing import Any

from streamrec.connectors.log import SchemaRegistry
from streamrec.schemas.json_codec import JsonDecoder, UnreadableError
from streamrec.schemas.registry import RegistryUnavailableError, SchemaError
from streamrec.services.api.quick_answers import QuickAnswers
from streamrec.services.http.problems import Problem
from streamrec.services.store.contract import StoreError, ValueStore
from streamrec.services.store.users import USERS, record_of, user_key


class KnownUsers:
    """Reads the store for requests: what it cannot do now is a Problem."""

    def __init__(self, store: ValueStore, registry: SchemaRegistry) -> None:
        self._store = store
        self._decode = JsonDecoder(_schema_of(registry)).decode
        self._quick = QuickAnswers(registry)

    def value(self, user_id: str) -> bytes | None:
        """What is kept of a user; None: nothing. Raises Problem (503)."""
        try:
            return self._store.get(USERS, (user_key(user_id.encode()),))[0]
        except StoreError as error:
            raise Problem(503, str(error), retry_after_s=1) from error

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

    def complaint(self) -> str | None:
        """Why the store cannot be read now; None: it can."""
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
