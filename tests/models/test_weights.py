"""Weights and bounds that the kernels have no room for are refused."""

from pathlib import Path

import pytest

from streamrec.models.artifact import BadArtifact, read_manifest
from streamrec.models.sessions.candidates.scores import HOPS_MAX
from streamrec.models.sessions.recommender import SessionRecommender
from streamrec.models.sessions.weights import Weights


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("hops", HOPS_MAX + 1, "hops expected an integer from 0 to 16, got 17"),
        ("hops", 8.5, "hops expected an integer from 0 to 16, got 8.5"),
        ("hops", -1, "hops expected >= 0, got -1"),
        ("neighbours", 0, "neighbours expected an integer from 1 to 100000, got 0"),
        ("sampled", 10**9, "sampled expected an integer from 0 to 100000, got 1000000000"),
        ("idf_power", float("nan"), "idf_power expected >= 0, got nan"),
    ],
)
def test_weight_out_of_range_is_named(name: str, value: float, expected: str) -> None:
    with pytest.raises(ValueError, match=expected.replace(".", r"\.")):
        Weights(**{name: value})  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("hops", [0, 1, HOPS_MAX])
def test_weights_at_the_edge_are_good(hops: int) -> None:
    assert Weights(hops=hops).as_ints(("two_hop",))[2] == hops


def test_artifact_with_such_a_weight_is_refused_by_its_folder(tmp_path: Path) -> None:
    SessionRecommender().save(tmp_path)
    manifest = tmp_path / "manifest.json"
    text = manifest.read_text()
    assert '"hops": 8' in text
    manifest.write_text(text.replace('"hops": 8', '"hops": 99'))
    assert read_manifest(tmp_path)

    with pytest.raises(BadArtifact) as raised:
        SessionRecommender.load(tmp_path)

    assert str(raised.value) == f"{tmp_path}: hops expected an integer from 0 to 16, got 99"
