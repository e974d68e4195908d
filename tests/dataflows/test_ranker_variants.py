"""Rankers that are compared over one session index: who is given which, and what it answers."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from streamrec.dataflows.job.settings import SettingsError, load_settings
from streamrec.dataflows.job.start_error import StartError
from streamrec.dataflows.job.topics import SESSIONS
from streamrec.dataflows.steps.batches import ShardClicks
from streamrec.dataflows.steps.decode import DecodeClicks
from streamrec.dataflows.steps.encode import recommendation_columns
from streamrec.dataflows.steps.recommend import (
    Recommended,
    RecommendOptions,
    RecommendShard,
    make_variants,
)
from streamrec.dataflows.steps.serving import Serving
from streamrec.dataflows.steps.user_features import user_features
from streamrec.models.loading import BadModel, Model, ModelOptions
from streamrec.models.serving.split import split_of
from streamrec.models.sessions.model import SessionModel
from streamrec.models.sessions.recommender import SessionRecommender
from streamrec.models.sessions.variant_specs import parse_variants
from streamrec.models.sessions.variants import RankerVariant, Variants, load_variants
from streamrec.models.sessions.weights import Bounds, Weights
from streamrec.models.users.features import declared
from streamrec.schemas import load
from streamrec.schemas.columns import Bytes, Numbers, strings
from streamrec.schemas.wire import WireDecoder, WireEncoder
from tests.dataflows.click_batches import START_MS, click, raw_batch
from tests.dataflows.main_job import MainJob

SETTINGS = load_settings()
FEATURES = declared(SETTINGS.windows)
BOUNDS = Bounds(sessions_max=1_024, items_max=1_000)
OPTIONS = RecommendOptions(np.ones(8, np.bool_), top_k=5, writer=None)
WEIGHTS = {"a": 0.7, "b": 0.3}

Answer = tuple[bytes, list[bytes], list[float], list[int]]


class ByFeatures:
    """Ranks by the sum of some inputs, so that what a ranker is given shows."""

    def __init__(self, *columns: int) -> None:
        self.columns = list(columns)

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        summed: NDArray[np.float32] = features[..., self.columns].sum(axis=-1)
        return summed

    def learn(self, features: NDArray[np.float32], labels: NDArray[np.bool_]) -> None:
        raise TypeError("learns nothing online")


def batches() -> list[list[ShardClicks]]:
    """2,000 clicks of 60 users on 40 items, in 8 batches, with features and sessions."""
    random = np.random.default_rng(5)
    decoder = WireDecoder(load("clicks"), lambda _: load("clicks"))
    decode = DecodeClicks(lambda: decoder, len(FEATURES), 1, 10**9, FEATURES.digest)
    shard = user_features(SETTINGS, FEATURES)()
    found = []
    for first in range(0, 2_000, 250):
        values = [
            click(
                user_id=f"u{random.integers(60)}",
                item_id=f"i{int(random.exponential(8)) % 40}",
                timestamp=START_MS + 1_000 * number,
            )
            for number in range(first, first + 250)
        ]
        raw = raw_batch(values, offsets=range(first, first + 250))
        decoded = [part for part in decode([raw]) if isinstance(part, ShardClicks)]
        found.append([part for part in shard.update(decoded) if isinstance(part, ShardClicks)])
    return found


def recommender(*columns: int, reads: tuple[str, ...] = ()) -> SessionRecommender:
    """One that ranks by these inputs."""
    made = SessionRecommender(BOUNDS, ranker=ByFeatures(*columns), user_features=reads)
    made.info = replace(made.info, version=f"by {columns}")
    return made


def answers(serving: Serving) -> list[Recommended]:
    """What comes of the clicks, each batch learned after it was answered."""
    shard = RecommendShard(serving, OPTIONS)
    out = [each for batch in batches() for each in shard.on_batch(batch)]
    assert all(isinstance(each, Recommended) for each in out)
    return [each for each in out if isinstance(each, Recommended)]


def by_offset(found: list[Recommended]) -> dict[int, tuple[Answer, Recommended]]:
    told = {}
    for each in found:
        bounds = each.ranking.bounds.tolist()
        for at, row in enumerate(each.rows.tolist()):
            part = slice(bounds[at], bounds[at + 1])
            ids = [each.ranking.item_ids.bytes_at(i) for i in range(bounds[at], bounds[at + 1])]
            answer = (
                each.clicks.user_ids.bytes_at(row),
                ids,
                each.ranking.scores[part].tolist(),
                each.ranking.methods[part].tolist(),
            )
            told[int(each.clicks.offsets[row])] = answer, each
    return told


def columns_of(*names: str) -> NDArray[np.int64]:
    return np.array([FEATURES.names.index(name) for name in names], np.int64)


def alone(made: SessionRecommender) -> Serving:
    model = Model(SessionModel(made))
    return Serving(model, made.info, columns_of(*made.info.user_features))


def together(first: SessionRecommender, second: SessionRecommender) -> Serving:
    """Both over the first one's index, as `load_variants` puts them together."""
    second.items, second.index = first.items, first.index
    base = SessionModel(first)
    names = (*second.info.user_features, *first.info.user_features)
    rankers = tuple(
        RankerVariant(
            name,
            WEIGHTS[name],
            made,
            base,
            np.array([names.index(each) for each in made.info.user_features], np.int64),
        )
        for name, made in (("a", first), ("b", second))
    )
    variants = Variants("tried", split_of("tried", WEIGHTS), rankers, names)
    return Serving(Model(base), first.info, columns_of(*names), variants)


def test_each_variant_answers_bit_by_bit_as_it_would_alone() -> None:
    x, y = FEATURES.names[0], FEATURES.names[-1]
    first = [recommender(0, -1, reads=(x,)) for _ in range(2)]
    second = [recommender(3, -1, reads=(y,)) for _ in range(2)]
    expected = [by_offset(answers(alone(made))) for made in (first[0], second[0])]

    found = by_offset(answers(together(first[1], second[1])))

    assert len(found) == 2_000
    given: dict[bytes, set[str]] = {}
    for offset, (answer, each) in found.items():
        assert each.variant is not None
        is_b = each.variant.name == "b"
        assert answer == expected[is_b][offset][0]
        assert (each.variant.experiment, each.variant.propensity) == ("tried", WEIGHTS["ab"[is_b]])
        assert each.info.version == (second if is_b else first)[0].info.version
        given.setdefault(answer[0], set()).add(each.variant.name)
    # Each user keeps to one, as the split says; and the two do differ.
    assert all(len(names) == 1 for names in given.values())
    users = sorted(given)
    split = split_of("tried", WEIGHTS)
    assert [given[user] for user in users] == [
        {split.names[index]} for index in split.of_keys(strings(users)).variants.tolist()
    ]
    assert {name for names in given.values() for name in names} == {"a", "b"}
    assert sum(expected[0][at][0] != expected[1][at][0] for at in found) > 500


def test_records_tell_experiment_variant_and_chance_and_without_one_nothing() -> None:
    decoder = WireDecoder(load("recommendations"), lambda _: load("recommendations"))
    encoder = WireEncoder(load("recommendations"), 1)

    def told(serving: Serving) -> list[tuple[object, ...]]:
        found: list[tuple[object, ...]] = []
        for records in recommendation_columns(answers(serving)):
            columns = decoder.decode([*encoder.encode(records.columns).values]).columns
            count = len(columns["user_id"])
            texts = [
                [text_at(columns[name], row) for row in range(count)]
                for name in ("recommendation_id", "experiment", "variant", "mode", "model_version")
            ]
            chances = columns["propensity"]
            assert isinstance(chances, Numbers)
            assert chances.valid is not None
            given = np.where(chances.valid, chances.values, np.nan).tolist()
            found += zip(*texts, given, strict=True)
        return found

    def text_at(column: object, row: int) -> str | None:
        assert isinstance(column, Bytes)
        return column.bytes_at(row).decode() if column.valid is None or column.valid[row] else None

    found = told(together(recommender(0), recommender(3)))
    assert {each[0] for each in found} == {f"clicks/0/{offset}" for offset in range(2_000)}
    assert {each[1:] for each in found} == {
        ("tried", "a", "served", "by (0,)", 0.7),
        ("tried", "b", "served", "by (3,)", 0.3),
    }
    plain = told(alone(recommender(0)))
    assert {each[0] for each in plain} == {f"clicks/0/{offset}" for offset in range(2_000)}
    assert {each[1:5] for each in plain} == {(None, None, "served", "by (0,)")}
    assert all(np.isnan(np.float64(str(each[5]))) for each in plain)


def test_a_users_clicks_keep_their_order_over_shards_and_variants() -> None:
    found = answers(together(recommender(0), recommender(3)))
    seen: dict[bytes, list[int]] = {}
    for records in recommendation_columns(found):
        offsets, users = records.columns["source_offset"], records.columns["user_id"]
        assert isinstance(offsets, Numbers)
        assert isinstance(users, Bytes)
        for row, offset in enumerate(offsets.values.tolist()):
            seen.setdefault(users.bytes_at(row), []).append(offset)
    assert all(offsets == sorted(offsets) for offsets in seen.values())
    assert sum(map(len, seen.values())) == 2_000


def artifact(folder: Path, bounds: Bounds = BOUNDS, **weights: float) -> str:
    SessionRecommender(bounds, Weights(**weights)).save(folder)  # type: ignore[arg-type]  # floats
    return str(folder)


def test_all_variants_rank_over_one_index_and_its_content_is_the_firsts(tmp_path: Path) -> None:
    a = artifact(tmp_path / "a")
    b = artifact(tmp_path / "b", repeat_decay=0.1)
    specs = parse_variants(f"a={a}:1, b={b}:3")

    model, variants = load_variants("x", specs, ModelOptions())

    assert isinstance(model.shared, SessionModel)
    one, other = (ranker.recommender for ranker in variants.rankers)
    assert other.index is one.index is model.shared.recommender.index
    assert other.items is one.items is model.shared.recommender.items
    assert (one.weights.repeat_decay, other.weights.repeat_decay) == (0.8, 0.1)
    assert [ranker.weight for ranker in variants.rankers] == [0.25, 0.75]
    assert one.info.version == SessionRecommender.load(Path(a)).info.version


@pytest.mark.parametrize(
    ("bounds", "weights", "told"),
    [
        (Bounds(sessions_max=2_048, items_max=1_000), {}, "sessions_max 2048 (a: 1024)"),
        (BOUNDS, {"pair_clicks": 5.0}, "pair_clicks 5.0 (a: 200000.0)"),
        (BOUNDS, {"short_clicks": 5.0, "long_clicks": 6.0}, "short_clicks 5.0 (a: 20000.0), long_"),
    ],
)
def test_variants_of_other_indexes_are_refused_with_what_differs(
    tmp_path: Path, bounds: Bounds, weights: dict[str, float], told: str
) -> None:
    a, b = artifact(tmp_path / "a"), artifact(tmp_path / "b", bounds, **weights)
    with pytest.raises(BadModel) as raised:
        load_variants("x", parse_variants(f"a={a}:1,b={b}:1"), ModelOptions())
    start = "variant 'b' expected an artifact for the session index of 'a', which all variants "
    assert str(raised.value).startswith(f"{start}share, got {told}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a=artifact:1", "expected two variants at least"),
        ("a=artifact:1,a=artifact:2", "expected names that differ, got 'a' twice"),
        (
            "a=artifact:1,b=artifact",
            "NAME=FOLDER:WEIGHT, with commas between them, weights above 0",
        ),
        ("a=artifact:0,b=artifact:1", "weights above 0, got 'a=artifact:0'"),
        ("a=artifact:nan,b=artifact:1", "weights above 0, got 'a=artifact:nan'"),
        ("a b=artifact:1,b=artifact:1", "weights above 0, got 'a b=artifact:1'"),
        ("=artifact:1,b=:1", "weights above 0, got '=artifact:1'"),
    ],
)
def test_variants_that_are_none_are_refused_by_the_setting(text: str, told: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings(ranker_variants=text)
    assert told in str(raised.value)
    assert str(raised.value).startswith("STREAMREC_RANKER_VARIANTS: expected ")


def test_variants_beside_another_model_are_refused() -> None:
    with pytest.raises(SettingsError, match="STREAMREC_MODEL expected artifact beside"):
        load_settings(ranker_variants="a=artifact:1,b=artifact:1", model="none")


def test_the_main_job_ranks_by_variants_and_starts_with_no_other(
    embedded_job: Callable[..., MainJob], tmp_path: Path
) -> None:
    a, b = artifact(tmp_path / "a"), artifact(tmp_path / "b", repeat_decay=0.1)
    given = {"model": "artifact", "experiment": "spring"}
    job = embedded_job(ranker_variants=f"a={a}:0.5,b={b}:0.5", **given)
    job.send_clicks({"user_id": f"u{n % 40}", "item_id": f"i{n % 7}"} for n in range(200))
    job.run()

    found = job.recommendations()
    assert len(found) == 200
    assert {(f.fields["experiment"], f.fields["propensity"]) for f in found} == {("spring", 0.5)}
    assert {f.fields["variant"] for f in found} == {"a", "b"}

    wrong = job.settings.model_copy(update={"ranker_variants": f"a={a}:1,b=nowhere:1"})
    with pytest.raises(StartError, match="variant 'b' expected artifact or an artifact's folder"):
        make_variants(job.log, wrong, job.settings.topic(SESSIONS))
