"""What `STREAMREC_RANKER_VARIANTS` says: rankers with names and weights."""

from math import isfinite, nan
from typing import NamedTuple

from streamrec.models.serving.contract import NAME

_FORM = "NAME=artifact:WEIGHT or NAME=FOLDER:WEIGHT, with commas between them"


class VariantSpec(NamedTuple):
    """What the setting says of a variant."""

    name: str
    model: str  # `artifact`: the one that the other settings name; or an artifact's folder
    weight: float


def parse_variants(text: str) -> tuple[VariantSpec, ...]:
    """The variants of `STREAMREC_RANKER_VARIANTS`. Raises ValueError.

    >>> parse_variants("a=artifact:0.9, b=/models/b:0.1")[1]
    VariantSpec(name='b', model='/models/b', weight=0.1)
    """
    specs: list[VariantSpec] = []
    for part in filter(None, map(str.strip, text.split(","))):
        name, _, rest = part.partition("=")
        model, _, number = rest.rpartition(":")
        try:
            weight = float(number)
        except ValueError:
            weight = nan
        if not (NAME.fullmatch(name) and model and isfinite(weight) and weight > 0):
            raise ValueError(f"expected {_FORM}, weights above 0, got {part!r}")
        if any(name == spec.name for spec in specs):
            raise ValueError(f"expected names that differ, got {name!r} twice")
        specs.append(VariantSpec(name, model, weight))
    if len(specs) < 2:
        raise ValueError(f"expected two variants at least, as {_FORM}, got {text!r}")
    return tuple(specs)


__all__ = ["VariantSpec", "parse_variants"]
