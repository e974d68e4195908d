"""The split holds its weights, sticks, moves no more than it must, and salts are independent."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, chisquare

from streamrec.models.serving.split import split_of
from streamrec.schemas.columns import strings

N = 100_000
KEYS = strings([f"user-{number}" for number in range(N)])
P_MIN = 0.001


def given_to(salt: str, weights: Mapping[str, float]) -> NDArray[np.str_]:
    """By key, the name of its variant."""
    split = split_of(salt, weights)
    return np.array(split.names)[split.of_keys(KEYS).variants]


@pytest.mark.parametrize("salt", ["", "2026-11", "other"])
@pytest.mark.parametrize(
    "weights",
    [
        {"a": 0.5, "b": 0.5},
        {"a": 0.9, "b": 0.1},
        {"control": 999, "tried": 1},
        {"a": 1, "b": 2, "c": 3, "d": 4},
        {f"v{number}": 1 for number in range(20)},
    ],
    ids=str,
)
def test_split_holds_its_weights(salt: str, weights: dict[str, float]) -> None:
    names, counts = np.unique(given_to(salt, weights), return_counts=True)
    assert set(names.tolist()) == set(weights)
    total = sum(weights.values())
    expected = [N * weights[name] / total for name in names.tolist()]
    assert chisquare(counts, expected).pvalue >= P_MIN


@pytest.mark.parametrize("salts", [("a", "b"), ("2026-11", "2026-12"), ("", "x")])
def test_two_experiments_are_independent(salts: tuple[str, str]) -> None:
    weights = {"a": 0.6, "b": 0.3, "c": 0.1}
    first, second = (given_to(salt, weights) for salt in salts)
    table = [[np.sum((first == a) & (second == b)) for b in weights] for a in weights]
    assert chi2_contingency(table).pvalue >= P_MIN


def test_places_without_keys_hold_weights_too() -> None:
    split = split_of("s", {"a": 0.9, "b": 0.1})
    places = np.stack([np.arange(N) % 8, np.arange(N) // 8], axis=1)
    counts = np.bincount(split.of_places("clicks", places).variants)
    assert chisquare(counts, [0.9 * N, 0.1 * N]).pvalue >= P_MIN
    others = split.of_places("carts", places).variants
    table = np.histogram2d(split.of_places("clicks", places).variants, others, 2)[0]
    assert chi2_contingency(table).pvalue >= P_MIN


def test_keys_stick_to_their_variants_for_good() -> None:
    """Another version or machine that says otherwise would give users other variants."""
    keys = strings([b"", b"u1", b"u2", b"u3", b"u4", b"\xff\x00", "ü".encode(), b"k" * 100])
    split = split_of("2026-11", {"a": 0.5, "b": 0.3, "c": 0.2})
    places = np.array([[0, 0], [0, 1], [1, 0], [7, 2**40], [3, 418], [3, 419]])
    assert split.of_keys(keys).variants.tolist() == [0, 1, 1, 0, 1, 1, 1, 0]
    assert split.of_places("clicks", places).variants.tolist() == [1, 1, 1, 0, 2, 1]


def test_records_without_a_key_go_by_their_place_and_tell_their_chance() -> None:
    split = split_of("s", {"a": 1, "b": 3})
    keys = [f"u{number}".encode() if number % 3 else None for number in range(60)]
    places = np.stack([np.zeros(60, np.int64), np.arange(60)], axis=1)
    found = split.of_records(keys, "clicks", places)
    by_place = split.of_places("clicks", places)
    by_key = split.of_keys(strings(keys))
    for row, key in enumerate(keys):
        expected = by_place if key is None else by_key
        assert found.variants[row] == expected.variants[row]
        assert found.propensities[row] == [0.25, 0.75][found.variants[row]]
    assert set(found.variants.tolist()) == {0, 1}


def test_the_order_of_variants_and_the_scale_of_weights_do_not_matter() -> None:
    ours = given_to("s", {"a": 1, "b": 2, "c": 5})
    assert (ours == given_to("s", {"c": 50, "a": 10, "b": 20})).all()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"a": 0.9, "b": 0.1}, {"a": 0.5, "b": 0.5}),
        ({"a": 1, "b": 1, "c": 1}, {"a": 1, "b": 1, "c": 4}),
        ({"a": 1, "b": 1, "c": 1}, {"a": 1, "b": 1}),
        ({"a": 3, "b": 1}, {"a": 3, "b": 1, "c": 2}),
    ],
    ids=str,
)
def test_one_changed_weight_moves_the_least_possible(
    before: dict[str, float], after: dict[str, float]
) -> None:
    old, new = given_to("s", before), given_to("s", after)
    names = before.keys() | after.keys()
    least = sum(abs(share(before, name) - share(after, name)) for name in names) / 2
    assert abs(np.mean(old != new) - least) < 5 * np.sqrt(least * (1 - least) / N)
    grown = {name for name in names if share(after, name) > share(before, name)}
    moved = old != new
    # All that moves goes to what grew, or all comes from what shrank: nothing moves between others.
    assert set(new[moved].tolist()) <= grown
    assert set(old[moved].tolist()).isdisjoint(grown)


def share(weights: Mapping[str, float], name: str) -> float:
    return weights.get(name, 0.0) / sum(weights.values())


_WEIGHTS = st.lists(st.floats(0.01, 100), min_size=2, max_size=6)


@settings(max_examples=25, deadline=None)
@given(_WEIGHTS, st.data())
def test_keys_only_go_where_weights_grew_by_more_and_as_many_as_is_said(
    before: list[float], data: st.DataObject
) -> None:
    after = data.draw(st.lists(st.floats(0.01, 100), min_size=len(before), max_size=len(before)))
    names = [f"v{number}" for number in range(len(before))]
    old = split_of("s", dict(zip(names, before, strict=True))).of_keys(KEYS).variants
    new = split_of("s", dict(zip(names, after, strict=True))).of_keys(KEYS).variants
    grew = np.array(after) / np.array(before)
    moved = old != new
    assert (grew[new[moved]] > grew[old[moved]]).all()
    for a in range(len(names)):
        ratios = [
            max(before[v] / before[a], after[v] / after[a]) for v in range(len(names)) if v != a
        ]
        kept = 1 / (1 + sum(ratios))
        found = np.mean((old == a) & (new == a))
        assert abs(found - kept) < 6 * np.sqrt(kept * (1 - kept) / N) + 1e-9


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        ({}, "weights expected those of one variant at least, got none"),
        ({"a": 0.0}, "weight of variant 'a' expected a number > 0, got 0.0"),
        ({"a": 1, "b": -1}, "weight of variant 'b' expected a number > 0, got -1"),
        ({"a": float("nan")}, "weight of variant 'a' expected a number > 0, got nan"),
        ({"a": float("inf")}, "weight of variant 'a' expected a number > 0, got inf"),
    ],
)
def test_weights_that_split_nothing_are_refused(weights: dict[str, float], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        split_of("s", weights)


def test_no_keys_are_given_to_nobody() -> None:
    assert len(split_of("s", {"a": 1}).of_keys(strings([]))) == 0
    assert len(split_of("s", {"a": 1}).of_places("t", np.empty((0, 2), np.int64))) == 0
