"""JSON web tokens (RFC 7519): one algorithm, chosen by setting and never by the token."""

from pathlib import Path
from typing import Literal

import jwt

from streamrec.services.http.access import Caller
from streamrec.services.http.problems import Problem

Algorithm = Literal["HS256", "RS256", "ES256"]
_SECRET_BYTES = 32  # RFC 7518: as long as the hash
_LEEWAY_S = 5


class TokenKeyError(Exception):
    """A secret or a public key cannot be used; the message holds none of it."""


class Tokens:
    """Reads tokens: the signature, `exp` (required), `nbf`, and `aud` and `iss` where they are set;
    scopes stand in the claim `scope`, with spaces, and who it is in `sub`."""

    def __init__(
        self,
        key: str | bytes,
        algorithm: Algorithm,
        audience: str | None = None,
        issuer: str | None = None,
    ) -> None:
        """Raises TokenKeyError."""
        if algorithm == "HS256" and len(key) < _SECRET_BYTES:
            raise TokenKeyError(
                f"secret expected at least {_SECRET_BYTES} bytes for HS256, got {len(key)}"
            )
        try:
            # Parsed once; a public key is refused where a secret is expected, and so is one of
            # another kind.
            self._key = jwt.get_algorithm_by_name(algorithm).prepare_key(key)
        except (jwt.InvalidKeyError, ValueError, TypeError) as error:
            raise TokenKeyError(
                f"key expected one for {algorithm}, got another ({type(error).__name__})"
            ) from None
        self._raw = key
        self._algorithm = algorithm
        self._audience = audience
        self._issuer = issuer

    def read(self, token: str) -> Caller:
        """Raises Problem (401)."""
        required = ["exp"]
        required += ["aud"] if self._audience else []
        required += ["iss"] if self._issuer else []
        try:
            claims = jwt.decode(
                token,
                self._key if self._algorithm != "HS256" else self._raw,
                algorithms=[self._algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=_LEEWAY_S,
                options={"require": required, "verify_aud": self._audience is not None},
            )
            scopes = claims.get("scope", "")
            if not isinstance(scopes, str):
                raise _refused("one whose claim scope is a string")
            expires_s = float(claims["exp"]) + _LEEWAY_S
        except jwt.ExpiredSignatureError:
            raise _refused("one that is valid", "one that has expired") from None
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            raise _refused("one that was signed for this service") from None
        return Caller(str(claims.get("sub", "token")), frozenset(scopes.split()), expires_s)


def tokens_of(
    algorithm: Algorithm,
    secret: str | None,
    public_key: Path | None,
    audience: str | None,
    issuer: str | None,
) -> Tokens | None:
    """By setting; None: neither a secret nor a key is set. Raises TokenKeyError."""
    if secret is None and public_key is None:
        return None
    if algorithm == "HS256":
        if secret is None:
            raise TokenKeyError("algorithm HS256 expected a secret, got a public key file")
        return Tokens(secret.encode(), algorithm, audience, issuer)
    if public_key is None:
        raise TokenKeyError(f"algorithm {algorithm} expected a public key file, got a secret")
    try:
        key = public_key.read_bytes()
    except OSError as error:
        raise TokenKeyError(f"public key file expected to be readable: {error}") from error
    return Tokens(key, algorithm, audience, issuer)


def _refused(expected: str, got: str = "another") -> Problem:
    return Problem(
        401, f"token expected {expected}, got {got}", headers=[(b"www-authenticate", b"Bearer")]
    )


__all__ = ["Algorithm", "TokenKeyError", "Tokens", "tokens_of"]
