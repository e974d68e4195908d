import json
from pathlib import Path

import numpy as np
import pytest

from streamrec.models.artifact import (
    BadArtifact,
    read_arrays,
    read_manifest,
    write_arrays,
    write_manifest,
)
from streamrec.models.sessions.recommender import SessionRecommender
from tests.models.session_logs import learn_log, made_log


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    model = SessionRecommender()
    learn_log(model, made_log(30, 10, seed=0))
    model.save(tmp_path / "model")
    return tmp_path / "model"


def test_a_changed_file_is_refused(saved: Path) -> None:
    path = saved / "index.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadArtifact, match=r"index.npz expected sha256 .*, got"):
        SessionRecommender.load(saved)


def test_a_missing_file_is_named(saved: Path) -> None:
    (saved / "items.npz").unlink()
    with pytest.raises(BadArtifact, match=r"expected the file 'items\.npz'"):
        SessionRecommender.load(saved)


def test_a_folder_without_a_manifest_is_no_artifact(tmp_path: Path) -> None:
    with pytest.raises(BadArtifact, match=r"expected a model artifact with a manifest.json"):
        SessionRecommender.load(tmp_path)


def test_an_artifact_for_other_inputs_is_refused(saved: Path) -> None:
    manifest = json.loads((saved / "manifest.json").read_text())
    manifest["about"]["features"][0] = "something_else"
    (saved / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BadArtifact, match="other ranker inputs"):
        SessionRecommender.load(saved)


def test_arrays_of_objects_are_never_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "evil.npz"
    with path.open("wb") as file:
        np.savez(file, a=np.array([{"run": "me"}], object))
    with pytest.raises(BadArtifact, match=r"evil.npz expected an NPZ file of plain arrays"):
        read_arrays(path)


def test_a_manifest_cannot_point_outside_its_folder(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.npz", {"x": np.zeros(1)})
    write_manifest(tmp_path, {}, ["a.npz"])
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["files"] = {"../a.npz": manifest["files"]["a.npz"]}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BadArtifact, match="expected the file"):
        read_manifest(tmp_path)


def test_equal_models_have_equal_versions(saved: Path, tmp_path: Path) -> None:
    other = SessionRecommender()
    learn_log(other, made_log(30, 10, seed=0))
    other.save(tmp_path / "other")
    versions = [SessionRecommender.load(path).info.version for path in (saved, tmp_path / "other")]
    assert versions[0] == versions[1]
