"""Who may do what: API keys and JSON web tokens, and the scopes that each has.

A scope is a path of what may be done, `clicks` or `topics/orders`; one that ends in `*` stands for
all that begin so. Nothing here says a key, or why exactly a token was refused.
"""

import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol

from streamrec.services.http.problems import Problem

# What only writes, and so may stand in a query, which others can read in a history or a log.
WRITE_SCOPES = ("clicks", "impressions", "outcomes", "topics/", "pipelines/")
_KNOWN_TOKENS = 10_000


@dataclass(frozen=True, eq=False)
class Caller:
    """Who was let in."""

    name: str
    scopes: frozenset[str]
    expires_s: float | None = None  # Unix seconds; None: never
    _known: dict[str, bool] = field(default_factory=dict, repr=False)

    def may(self, scope: str) -> bool:
        """Whether the scope is one of those given.

        >>> Caller("shop", frozenset({"topics/*"})).may("topics/orders")
        True
        """
        found = self._known.get(scope)
        if found is None:
            found = any(
                each == scope or (each.endswith("*") and scope.startswith(each[:-1]))
                for each in self.scopes
            )
            if len(self._known) < 1_000:  # names in scopes come from the outside
                self._known[scope] = found
        return found

    @property
    def only_writes(self) -> bool:
        """Whether all that it may do is write."""
        return all(
            any(each == s or (s.endswith("/") and each.startswith(s)) for s in WRITE_SCOPES)
            for each in self.scopes
        )


class KeyRing(Protocol):
    """Keys by the SHA-256 of each, as they are now."""

    def callers(self) -> Mapping[bytes, Caller]: ...


class TokenReader(Protocol):
    """Reads a JSON web token. Raises Problem (401)."""

    def read(self, token: str) -> Caller: ...


OPEN = Caller("anybody", frozenset({"*"}))


class Access:
    """Lets callers in. Without keys and tokens everybody is."""

    def __init__(self, keys: KeyRing | None = None, tokens: TokenReader | None = None) -> None:
        self._keys = keys
        self._tokens = tokens
        self._read: OrderedDict[str, Caller] = OrderedDict()  # tokens that were found good

    @property
    def is_open(self) -> bool:
        return self._keys is None and self._tokens is None

    def caller(
        self, headers: Mapping[bytes, bytes], scope: str, query_key: str | None = None
    ) -> Caller:
        """Who asks, if that one may do this. `query_key` is a key that stood in the query. Raises
        Problem (401, 403)."""
        if self.is_open:
            return OPEN
        given = _given(headers)
        found = self._known(query_key if given is None else given)
        if given is None and not found.only_writes:
            raise Problem(403, "key that may do more than write expected in a header, got a query")
        if not found.may(scope):
            raise Problem(403, f"key expected the scope {scope!r}, got one without it")
        return found

    def _known(self, given: str | None) -> Caller:
        if not given:
            raise _unknown("expected a key, got none")
        if self._tokens is not None and given.count(".") == 2:
            return self._of_token(given)
        found: Caller | None = None
        if self._keys is not None:
            # Looked up by its digest, of which whoever guesses keys can steer no bit.
            found = self._keys.callers().get(sha256(given.encode("latin-1", "replace")).digest())
        if found is None:
            raise _unknown("key expected one that is known, got another")
        if found.expires_s is not None and found.expires_s <= time.time():
            raise _unknown("key expected one that is valid, got one that has expired")
        return found

    def _of_token(self, token: str) -> Caller:
        assert self._tokens is not None
        found = self._read.get(token)
        if found is None:  # a signature costs what a small request does
            found = self._read[token] = self._tokens.read(token)
            if len(self._read) > _KNOWN_TOKENS:
                self._read.popitem(last=False)
        elif found.expires_s is not None and found.expires_s <= time.time():
            del self._read[token]
            raise _unknown("token expected one that is valid, got one that has expired")
        return found


def _given(headers: Mapping[bytes, bytes]) -> str | None:
    """The key or token of the headers. Raises Problem (401) for another way to say who one is."""
    said = headers.get(b"authorization")
    if said is not None:
        kind, _, token = said.decode("latin-1").partition(" ")
        if kind.lower() != "bearer":
            raise _unknown("header authorization expected 'Bearer KEY', got another scheme")
        return token.strip()
    key = headers.get(b"x-api-key")
    return None if key is None else key.decode("latin-1")


def _unknown(detail: str) -> Problem:
    return Problem(401, detail, headers=[(b"www-authenticate", b"Bearer")])


__all__ = ["OPEN", "WRITE_SCOPES", "Access", "Caller", "KeyRing", "TokenReader"]
