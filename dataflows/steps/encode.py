"""What the main job writes, as columns: recommendations, and what was learned for others."""

from collections.abc import Iterator
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from streamrec.dataflows.job.encoding import Records
from streamrec.dataflows.steps.recommend import Learned, LoggedInputs, Recommended
from streamrec.dataflows.steps.variant_columns import InVariant, variant_columns
from streamrec.models.contract import spans
from streamrec.models.users import kernels
from streamrec.schemas.columns import (
    Bytes,
    Columns,
    Lists,
    Numbers,
    constant,
    join_bytes,
    nulls,
    take,
)
from streamrec.schemas.place_texts import place_texts

_SESSION_CLICKS_MAX = 2_000  # in a record of sessions: half a megabyte of the longest ids


def recommendation_columns(batch: list[Recommended]) -> Iterator[Records]:
    """Joins the shards of a batch again; one record for each click that asked."""
    for _, group in groupby(batch, key=lambda part: id(part.clicks)):
        # A user's clicks are ranked by one variant, so that they keep their order.
        by_variant: dict[InVariant | None, list[Recommended]] = {}
        for part in group:
            by_variant.setdefault(part.variant, []).append(part)
        for parts in by_variant.values():
            yield _recommendations(parts)


def _recommendations(parts: list[Recommended]) -> Records:
    clicks, info = parts[0].clicks, parts[0].info
    rows = np.concatenate([part.rows for part in parts])
    lengths = np.concatenate([np.diff(part.ranking.bounds) for part in parts])
    n = len(rows)
    item_bounds = np.zeros(n + 1, np.int64)
    np.cumsum(lengths, out=item_bounds[1:])
    n_features = clicks.features.shape[1]
    columns: Columns = {
        "user_id": take(clicks.user_ids, rows),
        "source_topic": constant(clicks.topic, n),
        "source_partition": Numbers(clicks.matrix[kernels.PARTITION, rows].astype(np.int32)),
        "source_offset": Numbers(clicks.offsets[rows]),
        "requested_at": Numbers(clicks.matrix[kernels.TIME_MS, rows]),
        "item_id": take(clicks.item_ids, rows),
        "items": Lists(
            item_bounds,
            {
                "item_id": join_bytes([part.ranking.item_ids for part in parts]),
                "score": Numbers(np.concatenate([part.ranking.scores for part in parts])),
                "methods": Numbers(np.concatenate([part.ranking.methods for part in parts])),
            },
        ),
        "model_name": constant(info.name, n),
        "model_version": constant(info.version, n),
        "method_names": constant(",".join(info.methods), n),
        "feature_set": constant(clicks.feature_set, n),
        "features": Lists(
            np.arange(n + 1) * n_features, {"": Numbers(clicks.features[rows].reshape(-1))}
        ),
        "recommendation_id": place_texts(clicks.topic, clicks.places(rows)),
        **variant_columns(parts[0].variant, n),
    }
    return Records(columns, clicks, rows)


def ranker_input_columns(batch: list[Recommended]) -> Iterator[Records]:
    """One record for each answer whose ranker's inputs were kept, best item first."""
    for _, group in groupby(batch, key=lambda part: id(part.clicks)):
        by_variant: dict[InVariant | None, list[tuple[Recommended, LoggedInputs]]] = {}
        for part in group:
            if part.inputs is not None:
                by_variant.setdefault(part.variant, []).append((part, part.inputs))
        for parts in by_variant.values():
            yield _ranker_inputs(parts)


def _ranker_inputs(parts: list[tuple[Recommended, LoggedInputs]]) -> Records:
    first, inputs = parts[0]
    clicks, info = first.clicks, first.info
    rows = np.concatenate([part.rows[logged.of] for part, logged in parts])
    found = [(part.ranking, *spans(part.ranking.bounds, logged.of)) for part, logged in parts]
    n = len(rows)
    bounds = np.zeros(n + 1, np.int64)
    np.cumsum(np.concatenate([np.diff(own) for _, own, _ in found]), out=bounds[1:])
    columns: Columns = {
        "user_id": take(clicks.user_ids, rows),
        "recommendation_id": place_texts(clicks.topic, clicks.places(rows)),
        "source_topic": constant(clicks.topic, n),
        "source_partition": Numbers(clicks.matrix[kernels.PARTITION, rows].astype(np.int32)),
        "source_offset": Numbers(clicks.offsets[rows]),
        "requested_at": Numbers(clicks.matrix[kernels.TIME_MS, rows]),
        "model_name": constant(info.name, n),
        "model_version": constant(info.version, n),
        "variant": nulls(n) if first.variant is None else constant(first.variant.name, n),
        "weight": Numbers(np.full(n, inputs.weight)),
        "input_names": constant(",".join(info.features), n),
        "item_ids": Lists(
            bounds,
            {"": join_bytes([take(ranking.item_ids, flat) for ranking, _, flat in found])},
        ),
        "inputs": _as_bytes([own.values for _, own in parts], bounds),
    }
    return Records(columns, clicks, rows)


def _as_bytes(values: list[NDArray[np.float32]], bounds: NDArray[np.int64]) -> Bytes:
    """Rows (total, width) of all parts as bytes of float32, little-endian: rows `bounds[i]` to
    `bounds[i + 1]` are value i. Lists of floats would be encoded one by one."""
    whole = values[0] if len(values) == 1 else np.concatenate(values)
    octets = np.ascontiguousarray(whole, "<f4").reshape(-1).view(np.uint8)
    row_bytes = 4 * whole.shape[1]
    return Bytes(octets, bounds[:-1] * row_bytes, np.diff(bounds) * row_bytes)


def session_columns(batch: list[Learned]) -> Iterator[Records]:
    """Packs the clicks that a process learned from into records for the other processes."""
    ids = join_bytes([part.item_ids for part in batch])
    bounds = np.append(np.arange(0, len(ids), _SESSION_CLICKS_MAX), len(ids))
    keys = np.concatenate([part.session_keys for part in batch])
    times_ms = np.concatenate([part.times_ms for part in batch])
    yield Records(
        {
            "writer": constant(batch[0].writer, len(bounds) - 1),
            "session_keys": Lists(bounds, {"": Numbers(keys)}),
            "timestamps": Lists(bounds, {"": Numbers(times_ms)}),
            "item_ids": Lists(bounds, {"": ids}),
        }
    )


__all__ = ["ranker_input_columns", "recommendation_columns", "session_columns"]
