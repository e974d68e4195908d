"""Values checked by pydantic: its classes, and whatever hints a `TypeAdapter` takes."""

from typing import Any

from pydantic import PydanticSchemaGenerationError, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticSerializationError

from streamrec.models.serving.contract import JsonSchema, Raw
from streamrec.models.serving.json_checks import BadSchemaError
from streamrec.models.serving.misfit import ABSENT, Misfit, path_of, shown, walk

_INPUT = "Input should be "


class PydanticChecker:
    """Checks by pydantic's own compiled validator."""

    def __init__(self, hint: Any, *, is_output: bool) -> None:
        """`hint` is a class of pydantic's, a dataclass, a TypedDict or a TypeAdapter. Raises
        BadSchemaError."""
        try:
            adapter = hint if hasattr(hint, "validate_python") else TypeAdapter(hint)
            self.json_schema: JsonSchema = adapter.json_schema(
                mode="serialization" if is_output else "validation"
            )
        except (PydanticSchemaGenerationError, PydanticUserError) as error:
            said = str(error).splitlines()[0]
            raise BadSchemaError(
                f"expected what pydantic can check, got {hint!r}: {said}"
            ) from None
        self._validate = adapter.validate_python
        self._dump = adapter.dump_python
        self._instances = hint if isinstance(hint, type) and hasattr(hint, "model_dump") else None

    def check(self, value: Any) -> Any:
        """What pydantic made of an input, or a Misfit."""
        if type(value) is Raw:
            return Misfit("$", "JSON", "bytes")
        try:
            return self._validate(value)
        except ValidationError as error:
            return _told(error, value)

    def check_answer(self, answer: Any) -> Any:
        """What an answer says as JSON, or a Misfit. `answer` is an instance, or what makes one."""
        try:
            # An instance is not validated again by pydantic: its serializer tells wrong types.
            return self._dump(self._validate(answer), mode="json", by_alias=True, warnings="error")
        except ValidationError as error:
            return _told(error, answer)
        except PydanticSerializationError as error:
            said = " ".join(str(error).split())
            return Misfit("$", f"what its output schema says ({said})", shown(answer))


def _told(error: ValidationError, value: Any) -> Misfit:
    """The first of pydantic's errors; its names of branches are left out of the path."""
    first = error.errors(include_url=False, include_context=False)[0]
    location = first["loc"]
    path, here = walk(value, location)
    if first["type"] == "missing":
        return Misfit(path_of([*path, location[-1]]), "a value", ABSENT)
    if first["type"] == "extra_forbidden":
        return Misfit(path_of(path), "no such field", shown(here))
    said = first["msg"]
    expected = said.removeprefix(_INPUT) if said.startswith(_INPUT) else f"valid input ({said})"
    return Misfit(path_of(path), expected, shown(here))


__all__ = ["PydanticChecker"]
