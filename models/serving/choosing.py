"""A variant chosen by hand: by a header or a field of a record that has it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from streamrec.models.serving.contract import Fault
from streamrec.models.serving.split import Assigned
from streamrec.schemas.reasons import Reason

Headers = Sequence[tuple[str, Any]]  # names and bytes, as connectors give them


def chosen_by_header(
    name: str, headers: Headers | None, variants: Sequence[str]
) -> int | Fault | None:
    """The index of the variant that a header names, the last where it stands there twice; None
    where the record has no such header; a Fault where it names no variant.

    >>> chosen_by_header("variant", [("variant", b"b")], ("a", "b"))
    1
    """
    for each, value in reversed(headers or ()):
        if each == name:
            text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
            return _index(text, variants, f"header {name!r}")
    return None


def chosen_by_field(path: str, value: Any, variants: Sequence[str]) -> int | Fault | None:
    """The index of the variant that a field names, by its path (`context.variant`); None where the
    record has no such field, or null in it; a Fault where it names no variant.

    >>> chosen_by_field("context.variant", {"context": {"variant": "a"}}, ("a", "b"))
    0
    """
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return None if value is None else _index(value, variants, f"field {path}")


def choose_by_hand(
    assigned: Assigned, chosen: Sequence[int | Fault | None]
) -> tuple[Assigned, dict[int, Fault]]:
    """What a split assigned, with what was chosen by hand in its place; and the rows whose choice
    names no variant. What was chosen by hand has no propensity (nan)."""
    variants, propensities = assigned.variants.copy(), assigned.propensities.copy()
    faults: dict[int, Fault] = {}
    for row, each in enumerate(chosen):
        if isinstance(each, Fault):
            faults[row] = each
        elif each is not None:
            variants[row], propensities[row] = each, np.nan
    return Assigned(variants, propensities), faults


def _index(got: Any, variants: Sequence[str], where: str) -> int | Fault:
    if isinstance(got, str) and got in variants:
        return variants.index(got)
    told = f"{where} expected a variant of {', '.join(variants)}, got {got!r}"
    return Fault(Reason.INVALID_VALUE, told)


__all__ = ["Headers", "choose_by_hand", "chosen_by_field", "chosen_by_header"]
