"""What the API is told by the environment, beside what all HTTP services are."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ApiSettings(BaseSettings):
    """Each is an environment variable: `port` is `STREAMREC_API_PORT`."""

    model_config = SettingsConfigDict(
        env_prefix="STREAMREC_API_", frozen=True, extra="ignore", env_ignore_empty=True
    )

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8_081, ge=0, le=65_535, description="port to listen on; 0: a free one")


__all__ = ["ApiSettings"]
