"""Models that take bytes with their content type: images, sounds, text."""

import inspect
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from streamrec.models.serving.contract import JsonSchema, Raw
from streamrec.models.serving.misfit import Misfit, shown


class RawChecker:
    """Takes bytes of some content types; `image/*` stands for all images. Bytes of which nothing
    says the type are taken for the only one that there is."""

    json_schema: JsonSchema | None = None

    def __init__(self, content_types: tuple[str, ...]) -> None:
        self._patterns = [each.lower() for each in content_types]
        only = content_types[0] if len(content_types) == 1 and "*" not in content_types[0] else ""
        self._only = only

    def check(self, value: Any) -> Any:
        """A Raw with its content type, or a Misfit."""
        if type(value) is not Raw:
            return Misfit("$", "bytes", f"JSON: {shown(value)}")
        if not value.content_type:
            return Raw(value.content, self._only)
        kind = value.content_type.partition(";")[0].strip().lower()
        if any(fnmatchcase(kind, pattern) for pattern in self._patterns):
            return value
        return Misfit("content-type", " or ".join(self._patterns), repr(value.content_type))


def takes_type(method: Callable[..., Any]) -> bool:
    """Whether a method is given the content type, too: where it asks for a second value, or has one
    that is called `content_type`."""
    try:
        parameters = list(inspect.signature(method).parameters.values())
    except ValueError:  # without a signature, as some of C are
        return False
    by_place = [
        each
        for each in parameters
        if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
    ]
    if len(by_place) < 2:
        return (
            any(each.kind is each.VAR_POSITIONAL for each in parameters[1:2]) and not by_place[1:]
        )
    second = by_place[1]
    return second.default is second.empty or second.name == "content_type"


def of_raw(method: Callable[..., Any]) -> Callable[[Raw], Any]:
    """The method as one that is given a Raw."""
    if takes_type(method):
        return lambda raw: method(raw.content, raw.content_type)
    return lambda raw: method(raw.content)


def of_raws(method: Callable[..., Any]) -> Callable[[list[Raw]], Any]:
    """The same of a method for batches: a list of bytes, and maybe one of content types."""
    if takes_type(method):
        return lambda raws: method([r.content for r in raws], [r.content_type for r in raws])
    return lambda raws: method([r.content for r in raws])


__all__ = ["RawChecker", "of_raw", "of_raws", "takes_type"]
