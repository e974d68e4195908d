"""A trained file to be fed with Avro: a skops pipeline that tells flowers by four measures."""

import json
from collections.abc import Callable
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import numpy as np

from benchmarks.place import Place
from benchmarks.scorer.records import FLOWER
from streamrec.schemas.header_ids import HEADER_BYTES

LABELS = ("setosa", "versicolor", "virginica")
_ROWS = 600


def train(folder: Path) -> Path:
    """Scaling and a logistic regression, with the description beside it: its path."""
    import skops.io  # here, since these take seconds
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(1)
    measures = rng.uniform(0.1, 7.9, (_ROWS, len(FLOWER)))
    labels = np.array(LABELS)[np.digitize(measures[:, 2], (2.5, 4.9))]
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(measures, labels)
    skops.io.dump(pipeline, folder / "flower.skops")
    described = folder / "flower.toml"
    described.write_text(
        'file = "flower.skops"\n'
        + "".join(f'[[inputs]]\nname = "{name}"\ntype = "number"\n' for name in FLOWER)
        + '[output]\nname = "species"\n'
    )
    return described


def names_a_flower(place: Place, outputs: str) -> Callable[[bytes], bool]:
    """Whether a value is an answer of the model in Avro, read by fastavro."""
    with closing(place.log.registry()) as registry:
        schema: Any = json.loads(registry.latest(f"{outputs}-value").schema)
    parsed = fastavro.parse_schema(schema)

    def is_right(value: bytes) -> bool:
        found: Any = fastavro.schemaless_reader(BytesIO(value[HEADER_BYTES:]), parsed, None)
        return found["species"] in LABELS

    return is_right
