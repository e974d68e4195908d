"""What every HTTP service is told by the environment: keys, tokens, limits, rates, origins."""

import difflib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from streamrec.dataflows.job.settings import SettingsError
from streamrec.services.http.access import Access
from streamrec.services.http.app import Guard
from streamrec.services.http.cors import Cors
from streamrec.services.http.keys_file import KeysFile, KeysFileError
from streamrec.services.http.limits import RequestLimits
from streamrec.services.http.rates import Rates

_logger = logging.getLogger(__name__)

Names = Annotated[tuple[str, ...], NoDecode]  # in the environment with commas between them
WORKER = "STREAMREC_HTTP_WORKER"  # which of several processes this is, from 0; unset: the only one
_LOOPBACK = frozenset({"localhost", "::1"})


class HttpSettings(BaseSettings):
    """Shared by all HTTP services. Each is an environment variable: `keys_file` is
    `STREAMREC_HTTP_KEYS_FILE`."""

    model_config = SettingsConfigDict(
        env_prefix="STREAMREC_HTTP_", frozen=True, extra="ignore", env_ignore_empty=True
    )

    keys_file: Path | None = Field(
        None, description="file of API keys, which `streamrec keys create` writes"
    )
    jwt_algorithm: Literal["HS256", "RS256", "ES256"] = Field(
        "HS256", description="of JSON web tokens: HS256, RS256, ES256"
    )
    jwt_secret: SecretStr | None = Field(None, description="secret of HS256, 32 bytes or more")
    jwt_public_key: Path | None = Field(
        None, description="PEM file of the public key of RS256 or ES256"
    )
    jwt_audience: str | None = Field(None, description="what a token's `aud` must hold")
    jwt_issuer: str | None = Field(None, description="what a token's `iss` must be")
    open: bool = Field(
        False, description="serve others than this machine without any key (`--open`)"
    )

    body_bytes: int = Field(1_048_576, ge=1_024, description="largest body, in bytes")
    body_s: float = Field(10.0, gt=0, le=600, description="how long a body may take to arrive")
    json_depth: int = Field(32, ge=1, le=500, description="levels of lists and objects in a body")
    list_events: int = Field(10_000, ge=1, description="events in one list")

    rate_of_key: float = Field(0.0, ge=0, description="requests a second of one key; 0: any")
    rate_of_address: float = Field(
        0.0, ge=0, description="requests a second of one address; 0: any"
    )
    rate_burst_s: float = Field(
        1.0, ge=0, le=3_600, description="for how long unused requests are saved up"
    )
    proxies: Names = Field(
        (), description="addresses of proxies whose X-Forwarded-For is believed, with commas"
    )
    cors_origins: Names = Field(
        (), description="origins whose pages may ask, with commas; `*`: all, without credentials"
    )
    cors_credentials: bool = Field(
        False, description="let pages of these origins send cookies along"
    )
    access_log: bool = Field(
        False, description="a line for each request: method, route, status, bytes, milliseconds"
    )
    drain_s: float = Field(
        0.0, ge=0, le=600, description="when asked to stop: how long to say `not ready` and go on"
    )
    workers: int = Field(1, ge=1, le=256, description="processes that serve one address")

    @field_validator("proxies", "cors_origins", mode="before")
    @classmethod
    def _parse_names(cls, value: Any) -> Any:
        return names_of(value)

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin != "*" and ("://" not in origin or origin.count("/") != 2):
                raise ValueError(f"expected origins as https://shop.example, or *, got {origin!r}")
        return value


def names_of(value: Any) -> Any:
    """Names with commas between them."""
    if isinstance(value, str):
        return tuple(name.strip() for name in value.split(",") if name.strip())
    return value


S = TypeVar("S", bound=BaseSettings)


def load_service(kind: type[S], **given: Any) -> S:
    """Settings of a service from the environment; keyword arguments win. Raises SettingsError."""
    try:
        return kind(**given)
    except ValidationError as error:
        prefix = kind.model_config.get("env_prefix", "")
        told = "; ".join(_explain(prefix, each) for each in error.errors())
        raise SettingsError(told) from None


def unknown_services(environ: Mapping[str, str], *kinds: type[BaseSettings]) -> list[str]:
    """What each variable that looks like a setting of these kinds, and is none, may be meant for.

    >>> unknown_services({"STREAMREC_HTTP_KEY_FILE": "keys"}, HttpSettings)
    ['STREAMREC_HTTP_KEY_FILE is no setting; did you mean STREAMREC_HTTP_KEYS_FILE?']
    """
    told = []
    for kind in kinds:
        prefix = kind.model_config.get("env_prefix", "")
        known = {f"{prefix}{name}".upper() for name in kind.model_fields} | {WORKER}
        for name in sorted(set(environ) - known):
            if name.startswith(prefix):
                near = difflib.get_close_matches(name, known, 1, 0.8)
                meant = f"did you mean {near[0]}?" if near else "`streamrec settings` lists them"
                told.append(f"{name} is no setting; {meant}")
    return told


def guard_of(settings: HttpSettings, host: str) -> Guard:
    """What the settings say that a request must pass. Raises SettingsError, also for a server that
    others can reach and that nobody needs a key for."""
    from streamrec.services.http.tokens import TokenKeyError, tokens_of  # brings cryptography

    try:
        keys = None if settings.keys_file is None else KeysFile(settings.keys_file, _logger.error)
        secret = settings.jwt_secret
        tokens = tokens_of(
            settings.jwt_algorithm,
            None if secret is None else secret.get_secret_value(),
            settings.jwt_public_key,
            settings.jwt_audience,
            settings.jwt_issuer,
        )
    except KeysFileError as error:
        raise SettingsError(f"STREAMREC_HTTP_KEYS_FILE: {error}") from None
    except TokenKeyError as error:
        raise SettingsError(f"STREAMREC_HTTP_JWT_...: {error}") from None
    access = Access(keys, tokens)
    if access.is_open and not settings.open and not is_loopback(host):
        raise SettingsError(
            f"host expected this machine alone (127.0.0.1) without keys, got {host!r}; make keys "
            "with `streamrec keys create` and set STREAMREC_HTTP_KEYS_FILE, or give --open"
        )
    burst_s = settings.rate_burst_s
    return Guard(
        access=access,
        limits=RequestLimits(
            settings.body_bytes, settings.json_depth, settings.body_s, settings.list_events
        ),
        rates_of_keys=Rates(settings.rate_of_key, settings.rate_of_key * burst_s),
        rates_of_addresses=Rates(settings.rate_of_address, settings.rate_of_address * burst_s),
        cors=Cors(settings.cors_origins, settings.cors_credentials),
        proxies=frozenset(settings.proxies),
        access_log=settings.access_log,
    )


def is_loopback(host: str) -> bool:
    """
    >>> is_loopback("127.0.0.1"), is_loopback("0.0.0.0")
    (True, False)
    """
    return host in _LOOPBACK or host.startswith("127.")


def _explain(prefix: str, error: Any) -> str:
    name = prefix + "_".join(str(part) for part in error["loc"]).upper()
    message = error["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if "got" in message:
        return f"{name}: {message}"
    return f"{name}: {message}, got {'a secret' if 'SECRET' in name else repr(error['input'])}"


__all__ = ["WORKER", "HttpSettings", "Names", "guard_of", "is_loopback", "load_service", "names_of"]
