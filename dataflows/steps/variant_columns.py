"""What records tell of the experiment that they are part of."""

from typing import NamedTuple

import numpy as np

from streamrec.schemas.columns import Columns, Numbers, constant, nulls
from streamrec.schemas.served import nullable_numbers


class InVariant(NamedTuple):
    """A variant of an experiment, and how probable it was."""

    experiment: str
    name: str
    propensity: float  # above 0 to 1


def variant_columns(variant: InVariant | None, n: int) -> Columns:
    """The fields `experiment`, `variant`, `propensity` and `mode` of n records that are served;
    None: they are part of no experiment."""
    mode = constant("served", n)
    if variant is None:
        none, chance = nulls(n), nullable_numbers(None, n)
        return {"experiment": none, "variant": none, "propensity": chance, "mode": mode}
    return {
        "experiment": constant(variant.experiment, n),
        "variant": constant(variant.name, n),
        "propensity": Numbers(np.full(n, variant.propensity)),
        "mode": mode,
    }


__all__ = ["InVariant", "variant_columns"]
