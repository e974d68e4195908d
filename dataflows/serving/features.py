"""User features of the main job as inputs of a model: by name, from the recommendation's list."""

from collections.abc import Callable
from typing import Any

from streamrec.models.users.features import FeatureSet


def named_features(features: FeatureSet) -> Callable[[Any], dict[str, Any]]:
    """From a record of `recommendations` to `{"user_id", "item_id", <feature>: value, ...}`. What
    it returns raises ValueError for a record whose features are declared otherwise."""
    names, digest = features.names, features.digest

    def named(record: Any) -> dict[str, Any]:
        is_one = isinstance(record, dict) and {"user_id", "item_id"} <= record.keys()
        if not is_one or not isinstance(record.get("features"), list):
            raise ValueError(f"value expected a recommendation with features, got {record!r}")
        found = record.get("feature_set")
        if found != digest:
            raise ValueError(
                f"field feature_set expected {digest!r}, as features are declared here, "
                f"got {found!r}"
            )
        values = zip(names, record["features"], strict=True)
        return {"user_id": record["user_id"], "item_id": record["item_id"], **dict(values)}

    return named


__all__ = ["named_features"]
