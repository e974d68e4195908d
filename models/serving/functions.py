"""A function `predict(value) -> value` as a predictor, by `@streamrec.model` or bare.

    @streamrec.model(version="2.1", input_schema={...}, output_schema={...})
    def churn(customer: dict) -> dict: ...

    @streamrec.model
    def churn(customer: Customer) -> Risk: ...   # pydantic classes, dataclasses, TypedDicts

What is not said is read of the function: its name, its docstring, and schemas from its type hints
where they are pydantic classes, dataclasses or TypedDicts; without these it takes and gives any
JSON object. The version is 1.0. The function stays as it is and can be called as before.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any, TypeVar, get_type_hints, is_typeddict, overload

from streamrec.models.loading import BadModel
from streamrec.models.serving.calling import CallPredictor
from streamrec.models.serving.checking import AnyJson, BadSchemaError, Checker, checker_of
from streamrec.models.serving.contract import NAME, Metadata
from streamrec.models.serving.described import complaint_of_call, whole
from streamrec.models.serving.misfit import shown
from streamrec.models.serving.raw import RawChecker, of_raw
from streamrec.user_code import told

_ATTRIBUTE = "__streamrec_model__"
_ANY_OBJECT = {"type": "object"}
_UNSAID: Any = object()

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Said:
    """What the decorator was told."""

    name: str | None = None
    version: str | float | None = None
    input_schema: Any = _UNSAID
    output_schema: Any = _UNSAID
    display_name: str | None = None
    description: str | None = None
    content_types: str | Sequence[str] = ()


@overload
def model(function: F, /) -> F: ...


@overload
def model(
    *,
    name: str | None = None,
    version: str | float | None = None,
    input_schema: Any = ...,
    output_schema: Any = ...,
    display_name: str | None = None,
    description: str | None = None,
    content_types: str | Sequence[str] = (),
) -> Callable[[F], F]: ...


def model(function: Any = None, /, **said: Any) -> Any:
    """Make a function a model that can be served as `module:function`; see the module.

    >>> @model(version="2.1", output_schema={"type": "number"})
    ... def twice(number: dict) -> float:
    ...     return 2.0 * number["n"]
    >>> twice({"n": 3})
    6.0
    """
    told_of = Said(**said)

    def marked(found: Any) -> Any:
        setattr(found, _ATTRIBUTE, told_of)
        return found

    return marked if function is None else marked(function)


def function_predictor(name: str, function: Callable[..., Any]) -> CallPredictor:
    """Raises BadModel that names all that is wrong."""
    said: Said = getattr(function, _ATTRIBUTE, Said())
    problems: list[str] = []
    if complaint := complaint_of_call(function):
        problems.append(complaint)
    types = (said.content_types,) if isinstance(said.content_types, str) else said.content_types
    content_types = tuple(types)
    takes, gives = _hints(function)
    given = None if content_types and said.input_schema is _UNSAID else said.input_schema
    inputs = _checker(problems, "input_schema", given, takes)
    if content_types and inputs.json_schema is not None:
        problems.append("expected content_types or an input_schema, got both")
    outputs = _checker(problems, "output_schema", said.output_schema, gives)
    own_name = str(said.name or getattr(function, "__name__", type(function).__name__))
    if not NAME.fullmatch(own_name):
        problems.append(f"name expected letters, digits, - and _ only, got {own_name!r}")
    version = version_of("1.0" if said.version is None else said.version)
    if version is None:
        problems.append(f"version expected major.minor, as '1.0', got {shown(said.version)}")
    if problems:
        raise BadModel(f"model {name!r} " + "; ".join(problems))
    assert version is not None  # or it would have been refused
    metadata = Metadata(
        qualified_name=own_name,
        display_name=said.display_name or own_name.replace("_", " "),
        description=said.description or inspect.getdoc(function) or "",
        major_version=version[0],
        minor_version=version[1],
        input_schema=inputs.json_schema,
        output_schema=outputs.json_schema,
        content_types=content_types,
    )
    one = function
    if content_types:
        inputs, one = RawChecker(content_types), of_raw(function)
    return CallPredictor(metadata, one, inputs=inputs, outputs=outputs)


def version_of(said: Any) -> tuple[int, int] | None:
    """Major and minor of a version as text or number; None: it is none.

    >>> version_of("2.1"), version_of(3), version_of("new")
    ((2, 1), (3, 0), None)
    """
    parts = str(said).split(".") if isinstance(said, str | int | float) else []
    numbers = [whole(part) for part in parts]
    if not 1 <= len(numbers) <= 2 or isinstance(said, bool):
        return None
    major, minor = numbers[0], numbers[1] if len(numbers) == 2 else 0
    return None if major is None or minor is None else (major, minor)


def _checker(problems: list[str], what: str, said: Any, hint: Any) -> Checker:
    try:
        if said is not _UNSAID:
            return checker_of(said, is_output=what == "output_schema")
        if hint is None:
            return checker_of(_ANY_OBJECT)
        from streamrec.models.serving.pydantic_checks import PydanticChecker

        return PydanticChecker(hint, is_output=what == "output_schema")
    except BadSchemaError as error:
        problems.append(f"{what} {error}")
    except (Exception, SystemExit) as error:  # noqa: BLE001  # user code
        problems.append(f"{what} raised {told(error)}")
    return AnyJson()


def _hints(function: Any) -> tuple[Any, Any]:
    """The hints of the first value and of the answer that say what there is in it, else None."""
    try:
        hints = get_type_hints(function)
        first = next(iter(inspect.signature(function).parameters), "")
    except Exception:  # noqa: BLE001  # a hint may name what is not there at run time
        return None, None
    return _telling(hints.get(first)), _telling(hints.get("return"))


def _telling(hint: Any) -> Any:
    is_known = hasattr(hint, "model_validate") or is_typeddict(hint) or is_dataclass(hint)
    return hint if is_known else None


__all__ = ["Said", "function_predictor", "model", "version_of"]
