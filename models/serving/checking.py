"""One `Checker` for a schema of any kind, told apart by what the schema can do.

| what it can do | what it is | what the model gets |
|---|---|---|
| it is a mapping, true or false | JSON Schema | the value as it is |
| `model_validate`, `model_json_schema` | a class of pydantic's | an instance |
| `validate_python`, `dump_python` | pydantic's TypeAdapter | what it makes |
| `validate` | an object of the package `schema`, or any other | what `validate` returns |
| nothing: None | no schema | the value as it is |
"""

from collections.abc import Mapping
from typing import Any, Protocol

from streamrec.models.serving.contract import JsonSchema, Raw
from streamrec.models.serving.json_checks import BadSchemaError, JsonChecker
from streamrec.models.serving.misfit import Misfit, shown


class Checker(Protocol):
    """Checks values before a model is asked, or its answers. User code in it may raise anything."""

    @property
    def json_schema(self) -> JsonSchema | None: ...

    def check(self, value: Any) -> Any:
        """What the model is given for an input, or the Misfit that says what is wrong."""


class AnyJson:
    """Takes every JSON value."""

    json_schema: JsonSchema | None = None

    def check(self, value: Any) -> Any:
        return Misfit("$", "JSON", "bytes") if type(value) is Raw else value


def checker_of(schema: Any, *, is_output: bool = False) -> Checker:
    """The checker of a schema. Raises BadSchemaError where it is none that is known."""
    if schema is None:
        return AnyJson()
    if isinstance(schema, Mapping | bool):
        return JsonChecker(schema)
    if _can(schema, "model_validate", "model_json_schema") or _can(
        schema, "validate_python", "dump_python", "json_schema"
    ):
        from streamrec.models.serving.pydantic_checks import PydanticChecker

        return PydanticChecker(schema, is_output=is_output)
    if _can(schema, "validate") and not isinstance(schema, type):
        from streamrec.models.serving.schema_objects import SchemaObjectChecker

        return SchemaObjectChecker(schema)
    raise BadSchemaError(
        "expected a JSON Schema (a dict), a pydantic class or an object with validate, "
        f"got {shown(schema)}"
    )


def _can(schema: Any, *names: str) -> bool:
    return all(callable(getattr(schema, name, None)) for name in names)


__all__ = ["AnyJson", "BadSchemaError", "Checker", "checker_of"]
