"""`settings`: every setting, what it means and what it is now."""

from typing import Annotated, Any

import typer
from pydantic_settings import BaseSettings

from streamrec.connectors.log_settings import without_passwords
from streamrec.dataflows.job.settings import Settings, SettingsError, variable_of
from streamrec.program.shared import UsageError, opened
from streamrec.services.api.settings import ApiSettings
from streamrec.services.http.settings import HttpSettings, load_service
from streamrec.services.ingress.settings import IngressSettings

SERVICES: tuple[type[BaseSettings], ...] = (HttpSettings, IngressSettings, ApiSettings)
_ALL: tuple[type[BaseSettings], ...] = (Settings, *SERVICES)


def settings_table(kind: type[BaseSettings] = Settings) -> str:
    """Every setting, of the dataflows or of a service, as a Markdown table."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in kind.model_fields.items():
        default = "" if field.is_required() else _shown(field.get_default(), None)
        if field.default_factory is not None:
            default = "none"
        variable = "KAFKA_OPTION_*" if name == "kafka_options" else _variable(kind, name)
        lines.append(f"| `{variable}` | {default} | {field.description} |")
    return "\n".join(lines)


def _variable(kind: type[BaseSettings], name: str) -> str:
    """The environment variable of a setting."""
    if kind is Settings:
        return variable_of(name)
    return f"{kind.model_config.get('env_prefix', '')}{name}".upper()


def settings(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="As the table of docs/settings.md, with defaults.")
    ] = False,
) -> None:
    """Print every setting as it is now. Connects to nothing; secrets are not shown."""
    if markdown:
        typer.echo("\n\n".join(settings_table(kind) for kind in _ALL))
        return
    with opened() as (_, now):
        try:
            services = [load_service(kind) for kind in SERVICES]
        except SettingsError as error:
            raise UsageError(f"settings: {error}") from None
        for each in (now, *services):
            for name in type(each).model_fields:
                typer.echo(f"{_variable(type(each), name)}={_shown(getattr(each, name), '')}")


def _shown(value: Any, none: str | None) -> str:
    if value is None:
        return "unset" if none is None else none
    if isinstance(value, frozenset):
        return ",".join(sorted(value))
    if isinstance(value, tuple):
        return ",".join(each if isinstance(each, str) else each[0] for each in value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return ",".join(sorted(value))
    return without_passwords(str(getattr(value, "kind", value)))
