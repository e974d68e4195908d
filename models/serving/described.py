"""What somebody's class says of itself, read leniently; all that is missing is told at once."""

import inspect
from collections.abc import Callable
from typing import Any

from streamrec.models.loading import BadModel
from streamrec.models.serving.checking import AnyJson, BadSchemaError, Checker, checker_of
from streamrec.models.serving.contract import NAME, Metadata
from streamrec.models.serving.misfit import shown
from streamrec.user_code import told

_MISSING = object()


class Facts:
    """Reads attributes of one object and gathers what is wrong with them."""

    def __init__(self, name: str, thing: Any) -> None:
        self._name = name
        self._thing = thing
        self.problems: list[str] = []

    def refuse(self) -> None:
        """Raises BadModel with all problems."""
        if self.problems:
            raise BadModel(f"model {self._name!r} " + "; ".join(self.problems))

    def get(self, *attributes: str) -> Any:
        """The first of them that there is, or _MISSING. A property may raise: that is told."""
        for attribute in attributes:
            try:
                return getattr(self._thing, attribute)
            except AttributeError as error:
                if inspect.getattr_static(self._thing, attribute, None) is not None:
                    self.problems.append(f"{attribute} raised {told(error)}")
                    return None
            except (Exception, SystemExit) as error:  # noqa: BLE001  # user code
                self.problems.append(f"{attribute} raised {told(error)}")
                return None
        return _MISSING

    def text(self, attribute: str, default: str | None = None) -> str:
        found = self.get(attribute)
        if found is _MISSING or found is None:
            found = default
        if isinstance(found, str) and (found or default is not None):
            return str(found)
        self._expected(attribute, "text", None if found is None else found)
        return ""

    def identifier(self, attribute: str) -> str:
        found = self.text(attribute)
        if found and not NAME.fullmatch(found):
            self._expected(attribute, "letters, digits, - and _ only (it names topics)", found)
        return found

    def version(self, attribute: str) -> int:
        found = self.get(attribute)
        number = whole(found)
        if number is None:
            self._expected(attribute, "a whole number >= 0", None if found is _MISSING else found)
        return number or 0

    def schema(self, *attributes: str, may_be_missing: bool, is_output: bool) -> Checker:
        found = self.get(*attributes)
        if found is _MISSING:
            if not may_be_missing:
                self._expected(attributes[-1], "a schema (or None)", None)
            return AnyJson()
        try:
            return checker_of(found, is_output=is_output)
        except BadSchemaError as error:
            self.problems.append(f"{attributes[-1]} {error}")
        except (Exception, SystemExit) as error:  # noqa: BLE001  # user code
            self.problems.append(f"{attributes[-1]} raised {told(error)}")
        return AnyJson()

    def content_types(self) -> tuple[str, ...]:
        found = self.get("content_types")
        if found is _MISSING or found is None:
            return ()
        if isinstance(found, str):
            return (found,)
        if isinstance(found, list | tuple | set | frozenset) and all(
            isinstance(each, str) and each for each in found
        ):
            return tuple(sorted(found) if isinstance(found, set | frozenset) else found)
        self._expected("content_types", "a tuple of text", found)
        return ()

    def method(self, name: str) -> Callable[..., Any] | None:
        """A method that takes what is predicted, or None with the problem noted."""
        found = self.get(name)
        if found is _MISSING or found is None:
            self.problems.append(f"expected {name}(data), got none")
            return None
        if complaint := complaint_of_call(found):
            self.problems.append(f"{name} {complaint}")
            return None
        call: Callable[..., Any] = found
        return call

    def _expected(self, attribute: str, what: str, got: Any) -> None:
        self.problems.append(
            f"{attribute} expected {what}, got {'none' if got is None else shown(got)}"
        )


def whole(value: Any) -> int | None:
    """A version's number, given as a number or as text.

    >>> whole("2"), whole(1.0), whole(-1), whole(True)
    (2, 1, None, None)
    """
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        return int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        return None
    return int(value)


def complaint_of_call(found: Any) -> str | None:
    """Why something cannot be called with one value; None: it can."""
    if not callable(found):
        return f"expected a method, got {shown(found)}"
    if inspect.iscoroutinefunction(found) or inspect.isasyncgenfunction(found):
        return "expected a plain function, got an async one"
    try:
        inspect.signature(found).bind(None)
    except TypeError as error:
        try:
            inspect.signature(found).bind(None, "")
        except TypeError:
            return f"expected to be called with one value: {error}"
    except ValueError:  # without a signature, as some of C are
        return None
    return None


def description_of(facts: Facts, thing: Any) -> str:
    """`description`, or else the class's own docstring."""
    made_of = thing if inspect.isclass(thing) or inspect.isfunction(thing) else type(thing)
    return facts.text("description", inspect.getdoc(made_of) or None)


def metadata_of(
    facts: Facts, thing: Any, method: str, inputs: Checker, outputs: Checker
) -> Metadata:
    """All that a class says. What is wrong is noted in `facts`."""
    return Metadata(
        qualified_name=facts.identifier("qualified_name"),
        display_name=facts.text("display_name"),
        description=description_of(facts, thing),
        major_version=facts.version("major_version"),
        minor_version=facts.version("minor_version"),
        input_schema=inputs.json_schema,
        output_schema=outputs.json_schema,
        content_types=facts.content_types(),
        method=method,
    )


__all__ = ["Facts", "complaint_of_call", "description_of", "metadata_of", "whole"]
