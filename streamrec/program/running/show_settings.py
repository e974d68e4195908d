"""`settings`: every setting, what it means and what it is now."""

from typing import Annotated, Any

import typer

from streamrec.connectors.log_settings import without_passwords
from streamrec.dataflows.job.settings import Settings, variable_of
from streamrec.program.shared import opened


def settings_table() -> str:
    """Every setting as a Markdown table."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.is_required() else _shown(field.get_default(), None)
        if field.default_factory is not None:
            default = "none"
        variable = "KAFKA_OPTION_*" if name == "kafka_options" else variable_of(name)
        lines.append(f"| `{variable}` | {default} | {field.description} |")
    return "\n".join(lines)


def settings(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="As the table of docs/settings.md, with defaults.")
    ] = False,
) -> None:
    """Print every setting as it is now. Connects to nothing; secrets are not shown."""
    if markdown:
        typer.echo(settings_table())
        return
    with opened() as (_, now):
        for name in Settings.model_fields:
            typer.echo(f"{variable_of(name)}={_shown(getattr(now, name), '')}")


def _shown(value: Any, none: str | None) -> str:
    if value is None:
        return "unset" if none is None else none
    if isinstance(value, frozenset):
        return ",".join(sorted(value))
    if isinstance(value, tuple):
        return ",".join(label for label, _ in value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return ",".join(sorted(value))
    return without_passwords(str(getattr(value, "kind", value)))
