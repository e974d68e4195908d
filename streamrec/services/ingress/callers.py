"""What a request says about who sent it: bots, wishes not to be tracked, and a cookie."""

import re
import secrets
from collections.abc import Sequence

from streamrec.connectors.log import Headers
from streamrec.services.http.requests import Request
from streamrec.services.ingress.events import Context
from streamrec.services.ingress.settings import IngressSettings
from streamrec.services.traces.spans import HEADER

BOT = "bot"  # header of a record whose sender seems to be one

_BOTS = re.compile(
    rb"bot|crawl|spider|slurp|scrape|headless|lighthouse|facebookexternalhit|preview|monitor"
    rb"|pingdom|uptime|phantomjs|selenium",
    re.IGNORECASE,
)
_TRACE_HEADER = HEADER.encode()
_TRACE = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_COOKIE_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
_AGENTS = 10_000


class Callers:
    """Makes the context of a request's events, and the cookie of its answer."""

    def __init__(self, settings: IngressSettings, is_secure: bool) -> None:
        """`is_secure`: the cookie goes over HTTPS only."""
        self._settings = settings
        self._is_secure = is_secure
        self._agents: dict[bytes, bool] = {}  # whether it is a bot

    def context(self, request: Request, now_ms: int) -> tuple[Context, str | None]:
        """And the id of a cookie that is to be set; None: none is."""
        found = request.headers
        headers: Headers = []
        agent = found.get(b"user-agent")
        if agent is not None and self._is_bot(agent):
            headers.append((BOT, b"1"))
        own = request.traceparent
        trace = found.get(_TRACE_HEADER) if own is None else own.encode()
        if trace is not None and _TRACE.fullmatch(trace):
            headers.append((HEADER, trace))
        event_id = request.header(b"idempotency-key")
        if self._hides(found.get(b"dnt"), found.get(b"sec-gpc")):
            return Context(now_ms, headers, None, secrets.token_hex(16), event_id), None
        if self._settings.cookie is None:
            return Context(now_ms, headers, None, None, event_id), None
        known = self._cookie_of(found.get(b"cookie", b""))
        user_id = known or secrets.token_urlsafe(16)
        return Context(now_ms, headers, user_id, None, event_id), None if known else user_id

    def cookie_headers(self, new_id: str | None) -> Sequence[tuple[bytes, bytes]]:
        """What sets the cookie."""
        if new_id is None:
            return ()
        parts = [
            f"{self._settings.cookie}={new_id}",
            f"Max-Age={self._settings.cookie_days * 86_400}",
            "Path=/",
            "HttpOnly",
            "SameSite=Lax",
        ]
        if self._is_secure:
            parts.append("Secure")
        return ((b"set-cookie", "; ".join(parts).encode()),)

    def _hides(self, dnt: bytes | None, gpc: bytes | None) -> bool:
        return (dnt == b"1" or gpc == b"1") and not self._settings.keep_untracked

    def _is_bot(self, agent: bytes) -> bool:
        found = self._agents.get(agent)
        if found is None:
            if len(self._agents) >= _AGENTS:
                self._agents.clear()
            found = self._agents[agent] = _BOTS.search(agent) is not None
        return found

    def _cookie_of(self, header: bytes) -> str | None:
        for part in header.decode("latin-1").split(";"):
            name, _, value = part.strip().partition("=")
            if name == self._settings.cookie and _COOKIE_ID.fullmatch(value):
                return value
        return None


__all__ = ["BOT", "Callers"]
