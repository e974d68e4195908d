"""Our own models as predictors: `streamrec:propensity` and `streamrec:recommender`.

Both answer from what was trained and learn nothing: the same input has the same answer. An
artifact's folder (`streamrec train`) is a recommender, too; the one that is shipped knows no items,
and so answers none.
"""

from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from streamrec.models.artifact import BadArtifact
from streamrec.models.loading import SHIPPED_MODEL, BadModel
from streamrec.models.propensity import PROPENSITY_FILE, load_propensity, read_features
from streamrec.models.serving.calling import CallPredictor
from streamrec.models.serving.checking import checker_of
from streamrec.models.serving.contract import Metadata, Predictor
from streamrec.models.sessions.numbered import NumberedSessions
from streamrec.models.sessions.recommender import SessionRecommender
from streamrec.schemas.columns import strings
from streamrec.schemas.hashing import hash64

_ITEMS_MAX = 32  # of a session, the newest: as many as a flow keeps
_K = 20
_K_MAX = 100


def our_predictor(name: str) -> Predictor:
    """Raises BadModel for a name that is none of ours."""
    kind = name.partition(":")[2]
    if kind == "propensity":
        return propensity_predictor(PROPENSITY_FILE)
    if kind == "recommender":
        return recommender_predictor(SHIPPED_MODEL)
    raise BadModel(
        f"model {name!r} expected streamrec:propensity or streamrec:recommender, got {kind!r}"
    )


def propensity_predictor(path: Path) -> Predictor:
    """How likely a user buys within the hour, by the counts that the model names. Raises
    BadModel."""
    try:
        model = load_propensity(path, read_features(path))
    except BadArtifact as error:
        raise BadModel(str(error)) from error
    metadata = Metadata(
        qualified_name="propensity",
        display_name="Purchase propensity",
        description=f"Odds that a user buys within the hour; {path.name} {model.version}.",
        major_version=1,
        minor_version=0,
        input_schema={
            "type": "object",
            "properties": {
                each: {"type": "number", "minimum": 0, "description": "events"}
                for each in model.features
            },
            "required": [*model.features],
        },
        output_schema={
            "type": "object",
            "properties": {"score": {"type": "number", "minimum": 0, "maximum": 1}},
            "required": ["score"],
        },
    )

    def many(values: list[Any]) -> list[Any]:
        rows = [[value[each] for each in model.features] for value in values]
        scores = model.scores(np.array(rows, np.float32), np.arange(len(rows)))
        return [{"score": score} for score in scores.tolist()]

    return _called(metadata, many)


def recommender_predictor(folder: Path) -> Predictor:
    """What comes next after some items, by an artifact as training left it. Raises BadModel."""
    try:
        model = SessionRecommender.load(folder)
    except BadArtifact as error:
        raise BadModel(str(error)) from error
    lock = Lock()  # its calls share working memory
    metadata = Metadata(
        qualified_name="recommender",
        display_name="Session recommender",
        description=f"Items that come next, best first; artifact {model.info.version}, "
        f"which knows {len(model.items)} items.",
        major_version=1,
        minor_version=0,
        input_schema={
            "type": "object",
            "properties": {
                "items": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": f"ids, oldest first; the newest {_ITEMS_MAX} count",
                },
                "k": {"type": "integer", "minimum": 1, "maximum": _K_MAX, "default": _K},
            },
            "required": ["items"],
        },
        output_schema={
            "type": "object",
            "properties": {
                "items": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"item_id": {"type": "string"}, "score": {"type": "number"}},
                        "required": ["item_id", "score"],
                    },
                }
            },
            "required": ["items"],
        },
    )

    def many(values: list[Any]) -> list[Any]:
        wanted = [int(value.get("k", _K)) for value in values]
        with lock:
            ranking = model.recommend(_numbered(model, values), max(wanted))
            ids = [each.decode() for each in _ids(model, ranking.items)]
        made = []
        for row, k in enumerate(wanted):
            found = int((ranking.items[row] >= 0).sum())
            names, ids = ids[:found], ids[found:]
            scores = ranking.scores[row].tolist()
            pairs = zip(names[:k], scores, strict=False)
            made.append({"items": [{"item_id": name, "score": score} for name, score in pairs]})
        return made

    return _called(metadata, many)


def _numbered(model: SessionRecommender, values: list[Any]) -> NumberedSessions:
    lists = [value["items"][-_ITEMS_MAX:] for value in values]
    flat = [each for items in lists for each in items]
    keys = hash64(strings(flat))
    return NumberedSessions(
        # Nobody's: the neighbours of a session that was learned leave itself out.
        keys=np.full(len(lists), -1, np.int64),
        items=model.items.numbers(keys, None, add=False),
        times_ms=np.zeros(len(flat), np.int64),
        bounds=np.cumsum([0, *map(len, lists)]),
        positions=np.array([len(value["items"]) for value in values], np.int32),
        user_features=np.zeros((len(lists), len(model.info.user_features)), np.float32),
    )


def _ids(model: SessionRecommender, items: Any) -> list[bytes]:
    """The ids of all items that were found, row after row."""
    found = model.items.ids(items[items >= 0])
    return [found.bytes_at(row) for row in range(len(found))]


def _called(metadata: Metadata, many: Any) -> CallPredictor:
    return CallPredictor(
        metadata,
        lambda value: many([value])[0],
        many,
        inputs=checker_of(metadata.input_schema),
        outputs=checker_of(metadata.output_schema, is_output=True),
    )


__all__ = ["our_predictor", "propensity_predictor", "recommender_predictor"]
