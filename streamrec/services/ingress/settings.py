"""What ingress is told by the environment, beside what all HTTP services are."""

from typing import Any

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from streamrec.services.http.settings import Names, names_of


class IngressSettings(BaseSettings):
    """Each is an environment variable: `port` is `STREAMREC_INGRESS_PORT`."""

    model_config = SettingsConfigDict(
        env_prefix="STREAMREC_INGRESS_", frozen=True, extra="ignore", env_ignore_empty=True
    )

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8_080, ge=0, le=65_535, description="port to listen on; 0: a free one")
    topics: Names = Field(
        (), description="topics that `POST /topics/{name}` writes, with commas between them"
    )
    pipelines: bool = Field(True, description="take inputs of pipelines that are kept on the log")
    queue_events: int = Field(
        20_000, ge=1, description="events that may wait for the log; more are refused"
    )
    ack_timeout_s: float = Field(
        10.0, gt=0, le=300, description="how long one event waits for the log"
    )
    wait_max_s: float = Field(
        30.0, gt=0, le=300, description="how long a pipeline's output is waited for, at most"
    )
    cookie: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="name of a first-party cookie that says who the user is; unset: none",
    )
    cookie_days: int = Field(365, ge=1, le=400, description="how long the cookie is kept")
    keep_untracked: bool = Field(
        False, description="keep the user id of those who ask not to be tracked (DNT, GPC)"
    )

    @field_validator("topics", mode="before")
    @classmethod
    def _parse_names(cls, value: Any) -> Any:
        return names_of(value)


__all__ = ["IngressSettings"]
