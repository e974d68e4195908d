"""Cross-origin requests: which pages of other origins may ask."""

from collections.abc import Iterable, Sequence

from streamrec.services.http.replies import HeaderPairs, Reply

_ALLOWED_HEADERS = (
    b"authorization, content-type, idempotency-key, x-api-key, x-record-key, traceparent"
)
_MAX_AGE_S = b"600"


class Cors:
    """Answers for some origins, or for all (`*`), which then never get credentials."""

    def __init__(self, origins: Sequence[str], credentials: bool = False) -> None:
        self._all = "*" in origins
        self._origins = frozenset(origin.encode() for origin in origins)
        self._credentials = credentials and not self._all

    @property
    def is_on(self) -> bool:
        return bool(self._origins)

    def headers(self, origin: bytes | None) -> HeaderPairs:
        """What an answer to a page of this origin says."""
        if not self._origins:
            return ()
        if self._all:
            return ((b"access-control-allow-origin", b"*"),)
        if origin is None or origin not in self._origins:
            return ((b"vary", b"origin"),)
        allowed: list[tuple[bytes, bytes]] = [
            (b"access-control-allow-origin", origin),
            (b"vary", b"origin"),
        ]
        if self._credentials:
            allowed.append((b"access-control-allow-credentials", b"true"))
        return allowed

    def preflight(self, origin: bytes | None, methods: Iterable[str]) -> Reply:
        """The answer to a browser that asks whether it may ask, but for what `headers` says."""
        if not self._all and origin not in self._origins:
            return Reply(204)
        return Reply(
            204,
            headers=(
                (b"access-control-allow-methods", ", ".join(sorted(methods)).encode()),
                (b"access-control-allow-headers", _ALLOWED_HEADERS),
                (b"access-control-max-age", _MAX_AGE_S),
            ),
        )


__all__ = ["Cors"]
