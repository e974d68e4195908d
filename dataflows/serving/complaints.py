"""What is wrong with a list of models, told with its place: `models[1].timeout_s expected ...`."""

import re
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from streamrec.dataflows.serving.entries import (
    TOLD,
    ExperimentKeys,
    FileKeys,
    GatherKeys,
    ModelKeys,
    VariantKeys,
)
from streamrec.dataflows.serving.profiles import Place, did_you_mean

_PLAIN = re.compile(r"[A-Za-z0-9_-]+")
_SHOWN_MAX = 200  # characters of a value

# How pydantic names kinds of values, and how we do.
_KINDS = {
    "a valid string": "a string",
    "a valid integer": "an integer",
    "a valid number": "a number",
    "a valid boolean": "true or false",
    "a valid list": "a list",
    "a valid dictionary": "a table",
    "a finite number": "a finite number",
}


class Complaint(NamedTuple):
    """A mistake."""

    place: Place  # in what was checked
    told: str
    of_key: bool = False  # the last of the place is a key that is missing, or one too many


def complaints_in(error: ValidationError) -> list[Complaint]:
    """Each mistake that pydantic found, in our words."""
    return [_complaint(each) for each in error.errors(include_url=False)]


def place_text(place: Place) -> str:
    """A place as messages say it.

    >>> place_text(("models", 1, "configs", "retention.ms"))
    "models[1].configs.'retention.ms'"
    """
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += "." * bool(text) + (part if _PLAIN.fullmatch(part) else repr(part))
    return text


def shown(value: Any) -> str:
    """A value in a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..."


def _complaint(error: ErrorDetails) -> Complaint:
    place, kind = error["loc"], error["type"]
    if kind == "extra_forbidden":
        known, got = _keys_at(place[:-1]), place[-1]
        meant = did_you_mean(str(got), known)
        wanted = "a key that there is" if meant else f"one of the keys {', '.join(known)}"
        return Complaint(place, f"expected {wanted}, got {got!r}{meant}", of_key=True)
    if kind == "missing":
        return Complaint(place, f"expected a key {place[-1]!r}, got none", of_key=True)
    if kind == "invalid_key" or place[-1:] == ("[key]",):
        name = place[-2] if place[-1] == "[key]" else place[-1]
        before = place[: place.index(name)]
        return Complaint(before, f"expected names as keys, got {name!r}")
    return Complaint(place, f"expected {_expected(error)}, got {shown(error['input'])}")


def _expected(error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "string_pattern_mismatch":
        return TOLD[context["pattern"]]
    if kind == "string_too_short":
        return "a text that is not empty"
    if kind == "string_too_long":
        return f"at most {context['max_length']} characters"
    if kind == "too_short":
        return "one at least"
    if kind in ("model_type", "model_attributes_type"):
        return "a table of keys"
    wanted = error["msg"].removeprefix("Input should be ")
    if wanted.startswith(("greater", "less")):
        return f"a number {wanted}"
    return _KINDS.get(wanted, wanted[0].lower() + wanted[1:])


def _keys_at(place: Place) -> list[str]:
    names = [part for part in place if isinstance(part, str)]
    classes: dict[str, type[BaseModel]] = {
        "models": ModelKeys,
        "experiments": ExperimentKeys,
        "variants": VariantKeys,
        "gather": GatherKeys,
    }
    keys: type[BaseModel] = classes[names[-1]] if names else FileKeys
    return list(keys.model_fields)


__all__ = ["Complaint", "complaints_in", "place_text", "shown"]
